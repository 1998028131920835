from __future__ import annotations

import pytest

from trimtab.errors import UsageError
from trimtab.monitor import budget as budgeting
from trimtab.monitor.budget import Budget
from trimtab.monitor.statistics import spread


def test_all_tests_of_a_month_add_up_to_the_inputs_share():
    budget = Budget(pages_per_month=0.2, windows_per_month=30, scales=6, inputs=0.5)
    level = budgeting.alpha(budget, 100)
    parts = budgeting.SHAPE + budgeting.SPIKE + budgeting.RATES
    assert parts == 1
    assert level * 101 * 30 * 6 == pytest.approx(0.1)


def test_shapes_are_judged_on_doublings_and_halves_between_for_the_same_sum():
    assert budgeting.merges(6) == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    assert [budgeting.merges(scales) for scales in (1, 2, 3)] == [(1,), (1, 2), (1, 2, 3, 4)]
    for scales in range(1, 9):
        each = budgeting.shape_level(1e-4, scales)
        total = 1e-4 * budgeting.SHAPE * scales
        assert each * len(budgeting.merges(scales)) == pytest.approx(total)


def test_the_rest_buys_the_run_length_of_errors():
    assert budgeting.run_length(Budget(), 15_000) == pytest.approx(300_000)


@pytest.mark.parametrize(
    "wrong", [{"pages_per_month": 0}, {"windows_per_month": -1}, {"scales": 0}, {"inputs": 1}]
)
def test_impossible_budgets_are_refused(wrong):
    with pytest.raises(UsageError):
        Budget(**wrong)


def test_spending_over_looks_adds_up_to_alpha():
    total = sum(spread.level(0.05, look) for look in range(1, 20_000))
    assert total < 0.05
    assert total == pytest.approx(0.05, rel=1e-3)
    assert spread.confidence(0.05, 1) == pytest.approx(0.9696, abs=1e-4)
    for look, alpha in ((0, 0.05), (1, 0.0), (1, 1.0)):
        with pytest.raises(UsageError):
            spread.level(alpha, look)
