"""A level that moved is called by its name, and a number is one that people read."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.findings import figure
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference

RARE = [f"rare {number % 30}" for number in range(300)]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ([], ["a"] * 100 + ["b"] * 300 + ["new"] * 400, "unseen levels 50 %, was 0 %"),
        (RARE[:90], ["a"] * 250 + ["b"] * 250 + RARE, "other levels 37.5 %, was 2.91 %"),
    ],
    ids=["one that nobody knows", "many"],
)
def test_what_moved_most_is_named(before, now, said):
    known = np.array(["a"] * 1500 + ["b"] * 1500 + before, dtype=object)
    reference = fit_reference({"town": known})
    found = judge(reference, [count(reference.bins, {"town": np.array(now, dtype=object)})])
    (drift,) = [one for one in found.findings if one.kind == "data drift"]
    assert said in [one.note for one in drift.features if one.statistic == "chi_square"]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (220_000.0, "mean 218,452, was 199,364,"),
        (1_000_000.0, "outside the training range 122,012 to 261,321"),
    ],
    ids=["moved", "outside"],
)
def test_large_numbers_are_written_out(now, said):
    prices = np.random.default_rng(0).normal(200_000.0, 20_000.0, 3_000)
    later = np.random.default_rng(1).normal(now, 20_000.0, 1_000)
    reference = fit_reference({"price": prices})
    (found,) = judge(reference, [count(reference.bins, {"price": later})]).findings
    assert said in found.text
    assert "e+" not in found.text


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (1_234.6, 3, "1,235"), (123.4, 2, "123"), (9_999.7, 4, "10,000"), (9_999.2, 4, "9999"),
        (0.34, 2, "0.34"), (99.4, 2, "99"), (-1_234.6, 3, "-1,235"), (1e300, 4, "1e+300"),
    ],
)  # fmt: skip
def test_no_number_that_is_rounded_turns_into_a_power_of_ten(value, digits, said):
    assert figure(value, digits) == said
