"""How soon what matters is found, at levels at which nothing else is: the design's own figures."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.budget import Budget, Margins
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference

LEVELS = np.array(["a", "b", "c", "d", "e"], dtype=object)
BUDGET = Budget(pages_per_month=0.024)
"""One feature, 30 windows and 6 scales: a level of 1e-4 for its shape over all scales together."""


def delay(random, rows: int, step: float, most: int = 32) -> int | None:
    """Windows until a step of so many sd is found, after 10 calm ones; None if never."""
    reference = fit_reference({"x": random.normal(size=10 * rows)})
    windows = [count(reference.bins, {"x": random.normal(size=rows)}) for _ in range(10)]
    assert judge(reference, windows, budget=BUDGET).findings == ()
    for number in range(1, most + 1):
        windows.append(count(reference.bins, {"x": random.normal(step, 1, rows)}))
        if judge(reference, windows, budget=BUDGET).findings:
            return number
    return None


@pytest.mark.slow
def test_a_tenth_of_a_deviation_is_found_in_three_windows_of_1_000_rows():
    found = [delay(np.random.default_rng([7, rep]), 1_000, 0.1) for rep in range(60)]
    assert None not in found
    assert np.median([one or 99 for one in found]) <= 3


@pytest.mark.slow
def test_a_twentieth_is_found_in_one_window_of_10_000_rows():
    found = [delay(np.random.default_rng([2, rep]), 10_000, 0.05, most=4) for rep in range(15)]
    assert np.median([one or 99 for one in found]) == 1


@pytest.mark.slow
def test_fifty_months_without_change_cost_next_to_no_page():
    """8 features, 30 windows of 1,000 rows, a reference of 10,000 of its own each month, seed 2.

    The budget is 0.1 pages a month: 2.5 for the inputs of 50 months.
    """
    pages = []
    for month in range(50):
        random = np.random.default_rng([2, month])

        def rows(number, random=random):
            return {f"x{i}": random.normal(size=number) for i in range(6)} | {
                f"c{i}": LEVELS[random.integers(0, 5, number)] for i in range(2)
            }

        reference = fit_reference(rows(10_000))
        windows, found = [], 0
        for _ in range(30):
            windows.append(count(reference.bins, rows(1_000)))
            found += len(judge(reference, windows).findings)
        pages.append(found)
    assert sum(pages) <= 2
    assert np.percentile(pages, 95) == 0


@pytest.mark.slow
def test_features_that_drifted_are_listed_at_a_false_discovery_rate():
    """Five of 30 features moved too little for an alarm: the list has them, and hardly others."""
    random = np.random.default_rng(3)
    wrong = listed = missed = 0
    reference = fit_reference({f"x{i}": random.normal(size=20_000) for i in range(30)})
    shift = np.where(np.arange(30) < 5, 0.15, 0.0)
    for _ in range(25):
        window = {f"x{i}": random.normal(shift[i], 1, 1_000) for i in range(30)}
        found = judge(reference, [count(reference.bins, window)], margins=Margins(shift=1.0))
        assert found.findings == ()
        assert found.false_discoveries == 0.05
        moved = {f"x{i}" for i in range(5)}
        listed += len(found.drifted)
        wrong += len(set(found.drifted) - moved)
        missed += len(moved - set(found.drifted))
    assert wrong <= 0.1 * listed
    assert missed <= 0.35 * 125


def test_missing_values_alone_put_a_feature_on_the_list():
    random = np.random.default_rng(4)
    reference = fit_reference({name: random.normal(size=5_000) for name in "ab"})
    a = random.normal(size=1_000)
    a[:30] = np.nan
    window = count(reference.bins, {"a": a, "b": random.normal(size=1_000)})
    assert judge(reference, [window]).drifted == ("a",)
    assert judge(reference, [window], altered={"a"}).drifted == ()
