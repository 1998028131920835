"""Sequences of which each end holds alone: their level at every look, and what they gain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import Requirement
from trimtab.evaluate import ends, sequential
from trimtab.evaluate.anytime import measure_anytime
from trimtab.evaluate.scored import Scored

LEVEL = 0.95
REQUIRED = Requirement(metric="accuracy", better_than="champion")


def within(wrong: int, runs: int) -> bool:
    """At most 5 %, and three standard errors of so many runs."""
    return wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def critical(n: int, share: float) -> tuple[int, int]:
    """The most successes refused from above, and the fewest refused from below."""
    inside = [s for s in range(n + 1) if within_ends(s, n, share)]
    return inside[0] - 1, inside[-1] + 1


def within_ends(successes: int, n: int, share: float) -> bool:
    lo, hi = ends.share_ends(successes, n, LEVEL)
    return lo <= share <= hi


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_each_end_of_a_share_holds_after_every_row(share) -> None:
    runs, rows = 1000, 60
    edges = np.array([critical(n, share) for n in range(1, rows + 1)])
    counts = (np.random.default_rng(1).random((runs, rows)) < share).cumsum(axis=1)
    assert within(int((counts <= edges[:, 0]).any(axis=1).sum()), runs)
    assert within(int((counts >= edges[:, 1]).any(axis=1).sum()), runs)


def walks(runs: int, rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(runs, rows)).cumsum(axis=1)


@pytest.mark.slow
def test_each_end_of_a_mean_holds_after_every_row() -> None:
    runs, rows = 1000, 3000
    edge = np.array([ends.end_factor(n, LEVEL) * math.sqrt(n) for n in range(1, rows + 1)])
    sums = walks(runs, rows, 2)
    assert within(int((sums > edge).any(axis=1).sum()), runs)
    assert within(int((sums < -edge).any(axis=1).sum()), runs)
    # The same looks at an ordinary one-sided interval: the premise of all this.
    naive = 1.645 * np.sqrt(np.arange(1, rows + 1))
    assert (sums[:, 49:] > naive[49:]).any(axis=1).mean() > 0.2


def test_the_mixture_is_what_the_integral_says() -> None:
    # The half-normal mixture of likelihood ratios by quadrature, for one tuning.
    n, z = 400, 3.0
    limit = 2 * 0.05
    width = -2 * math.log(limit) + math.log(1 - 2 * math.log(limit))
    drift = np.linspace(0, 0.5, 200_001)
    total = 0.0
    for weight, size in ends.TUNED:
        scale = math.sqrt(width / size)
        prior = 2 * np.exp(-0.5 * (drift / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
        ratio = np.exp(drift * z * math.sqrt(n) - n * drift**2 / 2)
        total += weight * float(np.trapezoid(prior * ratio, drift))
    assert ends._log_normal_mixture(z, n, LEVEL) == pytest.approx(math.log(total), abs=1e-6)


@pytest.mark.slow
def test_the_bound_of_the_beta_mixture_is_below_the_integral() -> None:
    for successes, n, p in ((20, 100, 0.1), (3, 10, 0.05), (700, 1000, 0.66), (30, 30, 0.9)):
        theta = np.linspace(p, 1, 2_000_001)[1:-1]
        prior = 1 / (math.pi * np.sqrt(theta * (1 - theta)))
        prior /= 1 - 2 / math.pi * math.asin(math.sqrt(p))
        log = successes * np.log(theta / p) + (n - successes) * np.log((1 - theta) / (1 - p))
        exact = math.log(float((prior * np.exp(log)).sum() * (theta[1] - theta[0])))
        found = ends._log_share_mixture(successes, n, p)
        assert found <= exact + 1e-2
        assert found >= exact - 0.5


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.8, 0.99))
def test_ends_enclose_the_share_and_mirror(successes, n, level) -> None:
    successes = min(successes, n)
    lo, hi = ends.share_ends(successes, n, level)
    assert 0 <= lo <= successes / n <= hi <= 1
    other = ends.share_ends(n - successes, n, level)
    assert (1 - other[1], 1 - other[0]) == pytest.approx((lo, hi), abs=1e-9)


def test_each_end_alone_is_narrower_where_a_rollout_decides() -> None:
    for n in (1000, 5000, 20_000):
        assert ends.end_factor(n, LEVEL) < sequential.asymptotic_factor(n, 0.95) + 0.15
    assert ends.end_factor(20_000, LEVEL) < 0.97 * sequential.asymptotic_factor(20_000, LEVEL)
    lo, hi = ends.share_ends(1000, 10_000, LEVEL)
    wide = sequential.share_interval(1000, 10_000, LEVEL)
    assert hi - lo < wide[1] - wide[0]


def table(wrong: np.ndarray) -> Scored:
    truth = np.arange(len(wrong)) % 2 == 0
    return Scored(task="binary", truth=truth, score=None, decision=truth ^ wrong)


def gain(ours, theirs, **how):
    (found,) = measure_anytime(
        table(ours), [REQUIRED], subject="b", window="w", against=table(theirs), **how
    )
    return found


def test_arms_that_answered_the_same_requests_are_compared_pair_by_pair() -> None:
    random = np.random.default_rng(5)
    theirs = random.random(2000) < 0.2
    ours = theirs & (random.random(2000) < 0.8)  # wrong only where the other is
    links = np.arange(2000)
    apart = gain(ours, theirs, each_end=True)
    paired = gain(ours, theirs, each_end=True, links=links)
    assert apart.value == paired.value
    assert paired.hi - paired.lo < 0.6 * (apart.hi - apart.lo)
    none = gain(ours, theirs, each_end=True, links=np.full(2000, -1))
    assert (none.lo, none.hi) == pytest.approx((apart.lo, apart.hi))


def test_a_requirement_with_two_bounds_keeps_both_ends_together() -> None:
    wrong = np.random.default_rng(6).random(1000) < 0.2
    two = Requirement(metric="accuracy", min=0.5, max=0.99)
    one = Requirement(metric="accuracy", min=0.5)
    found = measure_anytime(table(wrong), [two, one], subject="b", window="w", each_end=True)
    plain = measure_anytime(table(wrong), [two], subject="b", window="w")
    assert (found[0].lo, found[0].hi) == (plain[0].lo, plain[0].hi)
    assert found[1].lo > found[0].lo


@pytest.mark.slow
def test_a_look_after_every_request_keeps_the_level_and_the_power() -> None:
    """Candidate and champion, 10,000 requests each, judged after every one."""
    runs, rows = 300, 10_000
    looks = np.arange(400, 2 * rows + 1)
    factor = np.array([ends.end_factor(int(n), LEVEL) for n in looks])

    def found(ours: float, theirs: float, seed: int) -> tuple[int, int]:
        random = np.random.default_rng(seed)
        better = worse = 0
        for _ in range(runs):
            x = (random.random(rows) < ours).cumsum().repeat(2)
            y = (random.random(rows) < theirs).cumsum().repeat(2)
            n = np.arange(1, rows + 1).repeat(2)
            p, q = (x / n)[looks - 1], (y / n)[looks - 1]
            m = n[looks - 1]
            half = factor * np.sqrt((p * (1 - p) + q * (1 - q)) / m)
            ample = np.minimum(x, y)[looks - 1] >= 20
            better += bool((ample & (q - p > half)).any())
            worse += bool((ample & (p - q >= half)).any())
        return better, worse

    better, worse = found(0.10, 0.10, 11)
    assert within(better, runs)
    assert within(worse, runs)
    better, worse = found(0.10, 0.12, 12)
    assert better / runs >= 0.95
    assert within(worse, runs)


def test_few_failures_need_no_normal_limit_and_many_get_one() -> None:
    few = ends.share_arms((20, 60), (0, 60), LEVEL)
    assert few.lo > 0.01
    none = ends.share_arms((5, 5), (0, 0), LEVEL)
    assert (none.value, none.hi) == (1.0, 1.0)
    assert none.lo < 0, "nothing is known of the other arm"
    many = ends.share_arms((60, 1000), (30, 1000), LEVEL)
    assert 0 < many.value - many.lo < 0.035
