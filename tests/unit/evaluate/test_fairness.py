"""Disparities: published intervals, coverage, and groups that cannot be judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats.contingency import relative_risk

from trimtab.errors import UndecidedError
from trimtab.evaluate import fairness, intervals, metrics
from trimtab.evaluate.estimate import Estimate
from trimtab.evaluate.scored import Scored

Z95 = intervals.normal_factor(0.95)
RATE = metrics.get("selection_rate")
ACCURACY = metrics.get("accuracy")
AREA = metrics.get("roc_auc")


def share(successes: int, n: int, level: float = 0.95) -> Estimate:
    value = successes / n
    lo, hi = intervals.wilson(value, n, intervals.normal_factor(level))
    return Estimate(value=value, lo=lo, hi=hi, n=n, method="wilson")


def decided(counts: dict[str, tuple[int, int]]) -> Scored:
    """A table in which each group has (selected, rows)."""
    column = np.concatenate([np.full(n, name, dtype=object) for name, (_, n) in counts.items()])
    decision = np.concatenate([np.arange(n) < k for k, n in counts.values()])
    return Scored("binary", None, None, decision, slices={"group": column})


# Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_gap_of_shares_is_newcombes(a, b, expected) -> None:
    assert fairness.mover_gap(share(*a), share(*b)) == pytest.approx(expected, abs=5e-5)


def test_ratio_of_shares_is_katz() -> None:
    theirs = relative_risk(31, 83, 78, 157).confidence_interval(0.95)
    assert fairness.katz(share(31, 83), share(78, 157), Z95) == pytest.approx(tuple(theirs))


def test_ratio_and_gap_of_two_groups() -> None:
    table = decided({"A": (785, 1570), "B": (257, 830)})
    ratio = fairness.disparity(RATE, table, "group", "ratio", 0.95)
    assert ratio.value == pytest.approx((257 / 830) / (785 / 1570))
    assert (ratio.lo, ratio.hi) == pytest.approx(
        fairness.katz(share(257, 830), share(785, 1570), Z95)
    )
    assert ratio.n == 2400
    assert ratio.details["smallest"] == "B"
    assert ratio.details["groups"]["A"]["n"] == 1570
    gap = fairness.disparity(RATE, table, "group", "gap", 0.95)
    assert gap.value == pytest.approx(785 / 1570 - 257 / 830)
    assert gap.lo < gap.value < gap.hi


def test_more_groups_widen_the_interval() -> None:
    two = fairness.disparity(
        RATE, decided({"A": (300, 600), "B": (200, 600)}), "group", "ratio", 0.95
    )
    three = fairness.disparity(
        RATE, decided({"A": (300, 600), "B": (200, 600), "C": (250, 600)}), "group", "ratio", 0.95
    )
    assert three.value == two.value
    assert three.lo < two.lo < two.hi < three.hi


def test_small_groups_are_listed_and_not_judged() -> None:
    table = decided({"A": (300, 600), "B": (200, 600), "C": (0, 49)})
    found = fairness.disparity(RATE, table, "group", "ratio", 0.95)
    assert found.details["small"] == {"C": 49}
    assert set(found.details["groups"]) == {"A", "B"}
    assert found.value == pytest.approx(2 / 3)


def test_a_group_without_selections_counts_as_zero() -> None:
    found = fairness.disparity(
        RATE, decided({"A": (300, 600), "B": (0, 60)}), "group", "ratio", 0.95
    )
    assert found.value == found.lo == 0.0
    assert 0 < found.hi < 0.3


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"A": (300, 600)}, "1 group has rows enough"),
        ({"A": (300, 600), "B": (9, 20)}, r"left out: B"),
        ({"A": (0, 600), "B": (0, 600)}, "a ratio needs positive values"),
        ({"A": (1, 2)}, "0 group"),
    ],
)
def test_what_cannot_be_compared_is_undecided(counts, said) -> None:
    with pytest.raises(UndecidedError, match=said):
        fairness.disparity(RATE, decided(counts), "group", "ratio", 0.95)


def test_a_group_in_which_the_metric_is_undefined_is_listed(binary) -> None:
    table = binary(600, groups={"A": 1, "B": 1, "C": 1})
    truth = np.where(table.slices["group"] == "C", True, table.truth)
    odd = Scored("binary", truth, table.score, table.decision, slices=table.slices)
    found = fairness.disparity(AREA, odd, "group", "gap", 0.95)
    assert found.details["unmeasured"] == {"C": "the truth holds only positives"}
    assert found.method == "mover"


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=2, max_size=5),
    st.floats(0.5, 0.99),
    st.sampled_from(["ratio", "gap"]),
)
def test_the_interval_contains_the_value_and_grows_with_the_level(counts, level, kind) -> None:
    table = decided({f"g{i}": (k, k + more + 50) for i, (k, more) in enumerate(counts)})
    if kind == "ratio" and not any(k for k, _ in counts):
        return
    found = fairness.disparity(RATE, table, "group", kind, level)
    wide = fairness.disparity(RATE, table, "group", kind, level + (1 - level) / 2)
    assert 0 <= wide.lo <= found.lo <= found.value <= found.hi <= wide.hi
    assert kind == "gap" or found.hi <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ratio", "gap"])
def test_the_interval_covers_the_true_disparity(kind) -> None:
    rates, sizes = [0.5, 0.4, 0.45], [400, 150, 80]
    true = 0.8 if kind == "ratio" else 0.1
    random, covered = np.random.default_rng(7), 0
    for _ in range(300):
        counts = {
            f"g{i}": (random.binomial(n, p), n)
            for i, (p, n) in enumerate(zip(rates, sizes, strict=True))
        }
        found = fairness.disparity(RATE, decided(counts), "group", kind, 0.95)
        covered += found.lo <= true <= found.hi
    assert covered / 300 >= 0.94


def test_ratio_of_an_area_uses_its_own_interval(binary) -> None:
    table = binary(1200, groups={"A": 2, "B": 1})
    found = fairness.disparity(AREA, table, "group", "ratio", 0.95)
    assert found.method == "mover-log"
    assert 0.8 < found.lo <= found.value <= found.hi <= 1


def test_mover_on_edges_knows_nothing_rather_than_failing() -> None:
    zero = Estimate(value=0.0, lo=0.0, hi=0.1, n=60, method="")
    some = Estimate(value=0.5, lo=0.4, hi=0.6, n=60, method="")
    vague = Estimate(value=0.5, lo=0.0, hi=0.9, n=60, method="")
    assert fairness.mover_ratio(zero, some) == pytest.approx((0.0, 0.25))
    assert fairness.mover_ratio(some, zero)[1] > 1e300
    lo, hi = fairness.mover_ratio(some, vague)
    assert 0 < lo < 1 < hi
