"""Confidence sequences: false exclusion at any look, width, and agreement of their forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import DataError, UndecidedError
from trimtab.evaluate import sequential

RUNS, ROWS, LEVEL = 300, 2000, 0.95
LOOKS = [50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000]
# Three standard errors of 300 runs above the promised 5 %.
MOST = 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)


def ever_excluded(exclusions) -> float:
    return float(np.mean([any(looks) for looks in exclusions]))


def test_peeking_at_fixed_intervals_is_what_this_is_for() -> None:
    # The premise: the ordinary interval, looked at eleven times, excludes the truth too often.
    values = np.random.default_rng(1).normal(size=(RUNS, ROWS))
    wrong = ever_excluded(
        [abs(row[:n].mean()) > 1.96 * row[:n].std() / n**0.5 for n in LOOKS] for row in values
    )
    assert wrong > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_shares_hold_at_every_look(share) -> None:
    counts = (np.random.default_rng(2).random((RUNS, ROWS)) < share).cumsum(axis=1)

    def excludes(total: int, n: int) -> bool:
        lo, hi = sequential.share_interval(int(total), n, LEVEL)
        return not lo <= share <= hi

    looks = [1, 2, 5, 10, 20, *LOOKS]
    assert ever_excluded([excludes(row[n - 1], n) for n in looks] for row in counts) <= MOST


@pytest.mark.parametrize(("a", "b"), [(2, 8), (0.2, 0.8), (30, 10)])
def test_betting_holds_at_every_row(a, b) -> None:
    values = np.random.default_rng(3).beta(a, b, size=(RUNS, ROWS))
    wrong = ever_excluded(
        sequential.bounded_mean_excludes(row, a / (a + b), LEVEL) for row in values
    )
    assert wrong <= MOST


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda r, n: r.normal(size=n), 0.0),
        (lambda r, n: r.exponential(size=n), 1.0),
        (lambda r, n: np.abs(r.normal(size=n)), math.sqrt(2 / math.pi)),
    ],
    ids=["normal", "exponential", "absolute error"],
)
def test_asymptotic_means_hold_at_every_look(draw, mean) -> None:
    random = np.random.default_rng(4)

    def excludes(row, n) -> bool:
        found = sequential.asymptotic_mean(row[:n], LEVEL)
        return not found.lo <= mean <= found.hi

    rows = (draw(random, ROWS) for _ in range(RUNS))
    assert ever_excluded([excludes(row, n) for n in LOOKS] for row in rows) <= MOST


@pytest.mark.slow
def test_arm_differences_hold_at_every_look() -> None:
    random = np.random.default_rng(5)

    def excludes(ours, theirs, n) -> bool:
        found = sequential.arm_difference(ours[: n // 4], theirs[:n], LEVEL)
        return not found.lo <= 0.0 <= found.hi

    pairs = ((random.normal(1, 2, ROWS), random.normal(1, 1, ROWS)) for _ in range(RUNS))
    looks = [n for n in LOOKS if n >= 200]
    assert ever_excluded([excludes(a, b, n) for n in looks] for a, b in pairs) <= MOST


@pytest.mark.slow
def test_auc_pairs_hold_at_every_look() -> None:
    random, wrong = np.random.default_rng(6), []
    for _ in range(RUNS):
        truth = random.random(1000) < 0.2
        score = random.normal(size=1000) + truth
        found = [
            sequential.auc_pairs(truth[:n], score[:n], LEVEL) for n in (20, 50, 100, 300, 1000)
        ]
        wrong.append([not one.lo <= 0.7602 <= one.hi for one in found])
    assert ever_excluded(wrong) <= MOST


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantiles_hold_at_every_look(share) -> None:
    ranks = {n: sequential.quantile_ranks(share, n, LEVEL) for n in LOOKS}
    values = np.random.default_rng(7).random((RUNS, ROWS))

    def excludes(row, n) -> bool:
        below = int((row[:n] <= share).sum())
        return not ranks[n][0] <= below < ranks[n][1]

    assert ever_excluded([excludes(row, n) for n in LOOKS] for row in values) <= MOST


def test_they_still_find_what_is_there() -> None:
    random = np.random.default_rng(8)
    lo, _ = sequential.share_interval(900, 1000, LEVEL)
    assert lo > 0.86
    ours, theirs = random.normal(0.3, 1, 1000), random.normal(0, 1, 1000)
    assert sequential.arm_difference(ours, theirs, LEVEL).lo > 0
    assert sequential.paired_difference(ours, theirs, LEVEL).lo > 0
    truth = np.arange(1000) % 2 == 0
    assert sequential.auc_pairs(truth, truth + random.normal(size=1000), LEVEL).lo > 0.6


@pytest.mark.slow
def test_widths_against_one_look() -> None:
    # What anytime costs: half as wide again at thousands of rows, more at hundreds.
    assert sequential.asymptotic_factor(15_000, 0.95) == pytest.approx(2.94, abs=0.01)
    assert sequential.asymptotic_factor(5000, 0.95) / 1.96 < 1.6
    assert sequential.asymptotic_factor(500, 0.95) / 1.96 < 1.85
    assert sequential.asymptotic_factor(500, 1 - 1e-15) > sequential.asymptotic_factor(500, 0.99)
    factors = [sequential.asymptotic_factor(n, 0.95) / n**0.5 for n in range(2, 3000)]
    assert (np.diff(factors) < 0).all()


@pytest.mark.parametrize(("n", "z"), [(400, 3.0), (20_000, 2.9), (100, -1.0)])
def test_the_mixture_is_what_the_integral_says(n, z) -> None:
    weight, soon, late = sequential.TUNED
    width = -2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))
    drift = np.linspace(-1.5, 1.5, 600_001)
    near, far = math.sqrt(width / soon), math.sqrt(1 / late)
    normal = np.exp(-0.5 * (drift / near) ** 2) / (near * math.sqrt(2 * math.pi))
    moment = (drift / far) ** 2 * np.exp(-0.5 * (drift / far) ** 2) / (far * math.sqrt(2 * math.pi))
    prior = weight * normal + (1 - weight) * moment
    assert float(np.trapezoid(prior, drift)) == pytest.approx(1, abs=1e-6)
    ratio = np.exp(drift * z * math.sqrt(n) - n * drift**2 / 2)
    total = float(np.trapezoid(prior * ratio, drift))
    assert sequential._log_normal_mixture(z, n, LEVEL) == pytest.approx(math.log(total), abs=1e-6)


@pytest.mark.slow
def test_a_walk_rarely_leaves_at_any_of_its_steps() -> None:
    rows = 20_000
    at = np.unique(np.geomspace(50, rows, 200).astype(int))
    edge = np.interp(
        np.arange(1, rows + 1),
        at,
        [sequential.asymptotic_factor(int(n), LEVEL) * n**0.5 for n in at],
    )
    random, wrong = np.random.default_rng(10), 0
    for _ in range(RUNS):
        wrong += bool((np.abs(random.normal(size=rows).cumsum())[49:] > edge[49:]).any())
    assert wrong / RUNS <= MOST


def test_betting_beats_counting_where_the_variance_is_small() -> None:
    values = np.random.default_rng(9).beta(40, 60, 1000)
    found = sequential.bounded_mean(values, LEVEL)
    lo, hi = sequential.share_interval(values.sum(), 1000, LEVEL)
    assert found.hi - found.lo < 0.4 * (hi - lo)


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0.5, 0.99))
def test_bounded_intervals_contain_the_mean_and_grow_with_the_level(values, level) -> None:
    array, higher = np.array(values), level + (1 - level) / 2
    total = min(max(float(array.sum()), 0.0), len(values))
    for wide, narrow in [
        (sequential.bounded_mean(array, higher)[1:3], sequential.bounded_mean(array, level)[1:3]),
        (
            sequential.share_interval(total, len(values), higher),
            sequential.share_interval(total, len(values), level),
        ),
    ]:
        assert wide[0] >= 0
        assert wide[1] <= 1
        assert narrow[0] <= (total / len(values) if values else 0.5) + 1e-12
        assert narrow[1] >= (total / len(values) if values else 0.5) - 1e-12


@given(st.integers(1, 200), st.data())
def test_share_intervals_are_symmetric_and_nested(n, data) -> None:
    successes = data.draw(st.integers(0, n))
    lo, hi = sequential.share_interval(successes, n, 0.95)
    turned = sequential.share_interval(n - successes, n, 0.95)
    assert turned == pytest.approx((1 - hi, 1 - lo), abs=1e-9)
    wide = sequential.share_interval(successes, n, 0.99)
    assert wide[0] <= lo <= successes / n <= hi <= wide[1]


def test_the_interval_of_bets_is_what_is_not_excluded() -> None:
    values = np.random.default_rng(10).beta(2, 5, 400) * 10 - 5
    found = sequential.bounded_mean(values, LEVEL, -5, 5)
    for mean, excluded in [
        (found.lo - 1e-6, True),
        (found.lo + 1e-6, False),
        (found.hi - 1e-6, False),
        (found.hi + 1e-6, True),
    ]:
        assert sequential.bounded_mean_excludes(values, mean, LEVEL, -5, 5)[-1] == excluded


def test_few_or_wrong_values() -> None:
    assert sequential.bounded_mean(np.array([]), LEVEL) == (0.5, 0.0, 1.0, 0)
    assert sequential.share_interval(0, 0, LEVEL) == (0.0, 1.0)
    assert sequential.bounded_mean(np.zeros(50), LEVEL).lo == 0.0
    assert sequential.bounded_mean(np.ones(50), LEVEL).hi == 1.0
    assert sequential.auc_pairs(np.ones(5, dtype=bool), np.ones(5), LEVEL) == (0.5, 0.0, 1.0, 0)
    with pytest.raises(DataError, match=r"value 1 is 1\.5, outside of 0 to 1"):
        sequential.bounded_mean(np.array([0.5, 1.5]), LEVEL)
    with pytest.raises(DataError, match="value 0 is nan"):
        sequential.bounded_mean(np.array([np.nan]), LEVEL)
    with pytest.raises(UndecidedError):
        sequential.asymptotic_mean(np.ones(1), LEVEL)
    with pytest.raises(UndecidedError):
        sequential.arm_difference(np.ones(1), np.ones(9), LEVEL)


def test_spent_levels_add_up() -> None:
    assert sequential.spend(0.95, 1) == pytest.approx(0.975)
    spent = sum(1 - sequential.spend(0.95, look) for look in range(1, 5000))
    assert 0.0499 < spent < 0.05
    with pytest.raises(DataError, match="from 1"):
        sequential.spend(0.95, 0)
