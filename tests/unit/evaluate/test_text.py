"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.evaluate import text
from trimtab.evaluate.estimate import UNKNOWN
from trimtab.store.records import Evidence


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.8123, 0.7951, 0.8284), "0.812 [0.795, 0.828]"),
        ((0.62, 0.551, 0.698), "0.62 [0.55, 0.70]"),
        ((12.345, 11.9, 12.8), "12.35 [11.90, 12.80]"),
        ((51_234.0, 50_100.0, 52_900.0), "51,234 [50,100, 52,900]"),
        ((3.0, 3.0, 3.0), "3.000 [3.000, 3.000]"),
        ((4.0, 0.0, UNKNOWN), "4.000 [0.000, inf]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((1.5e-7, 1e-7, 2e-7), "0.00000015 [0.00000010, 0.00000020]"),
    ],
)
def test_intervals(numbers, said) -> None:
    assert text.interval(*numbers) == said


def test_a_number_is_not_written_as_the_bound_it_misses() -> None:
    assert text.interval(0.7996, 0.70, 0.90, 0.8) == "0.7996 [0.7000, 0.9000]"
    assert text.interval(0.8, 0.70, 0.90, 0.8) == "0.80 [0.70, 0.90]"


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e308), st.floats(0, 1e308))
def test_any_interval_is_written(value, down, up) -> None:
    assert text.interval(value, max(value - down, -UNKNOWN), min(value + up, UNKNOWN), 0.0)


def test_evidence_on_one_line() -> None:
    fields = {"id": "e", "metric": "m", "subject": "s", "method": ""}
    one = Evidence(**fields, value=0.8123, lo=0.7951, hi=0.8284, n=2400)
    assert text.render(one) == "0.812 [0.795, 0.828] n=2,400"
    none = Evidence(**fields, value=0, lo=0, hi=1, n=0, details={"undefined": "no rows"})
    assert text.render(none) == "undefined: no rows"
