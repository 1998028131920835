"""Confidence sequences of which each end holds alone: what a rollout decides by.

A rollout asks one question of a metric: does it keep its bound? Where the truth violates the bound
only a false promotion is possible, by the near end; where it satisfies, only a false rollback, by
the far one. So each end may be wrong at some look with probability 1 - level, not half of that.
Only the ends at the bound are used; as an interval of both ends it holds at 1 - 2 (1 - level).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from trimtab.evaluate import sequential
from trimtab.evaluate.policy import MIN_UNITS, bonferroni
from trimtab.evaluate.scored import Floats
from trimtab.evaluate.sequential import Interval

TUNED: Final = ((0.2, 500), (0.8, 10_000))
"""Weights and sizes of the mixture: mostly tight near ten thousand rows, and soon at clear harm."""


class Sequences(NamedTuple):
    """How intervals that hold at any look are made: the factor of a standard error, the interval
    of a share, and that of a mean between bounds.
    """

    factor: Callable[[int, float], float]
    share: Callable[[float, int, float], tuple[float, float]]
    mean: Callable[[Floats, float, float, float], Interval]


def end_factor(n: int, level: float) -> float:
    """What multiplies a standard error on n rows so that each end alone holds at any look.

    The sum of n centred values of unit variance is compared with a mixture of normal likelihood
    ratios over drifts of one sign: half-normal priors (the one-sided normal mixture of Howard,
    Ramdas, McAuliffe & Sekhon, Annals of Statistics 2021, proposition 6, solved instead of bounded;
    after Robbins, 1970), weighted by `TUNED`. It is a martingale, so by Ville's inequality it ever
    reaches 1 / (1 - level) with probability at most 1 - level. Estimated variances make that true in
    the limit (Waudby-Smith et al., Annals of Statistics 2024).
    """
    return _factor(n, level)


@lru_cache(maxsize=4096)
def _factor(n: int, level: float) -> float:
    return sequential.where_decided(lambda z: _log_normal_mixture(z, n, level), level)


def _log_normal_mixture(z: float, n: int, level: float) -> float:
    """The log of the mixture where the sum is `z` of its standard deviations."""
    tail = 2 * (1 - level)
    width = -2 * math.log(tail) + math.log(1 - 2 * math.log(tail))
    parts = []
    for weight, size in TUNED:
        seen = n * width / size
        square = z * z * seen / (seen + 1)
        above = math.log1p(math.erf(math.sqrt(square / 2)))
        parts.append(math.log(weight) - math.log1p(seen) / 2 + square / 2 + above)
    return sequential.log_total(parts)


def share_ends(successes: float, n: int, level: float) -> tuple[float, float]:
    """The mean of n independent values in [0, 1]; each end alone holds at any look, for every n.

    The mixture of `sequential.share_interval` over the shares on one side of p only: the Bayes
    factor of all shares, times the posterior over the prior chance of that side. The posterior
    chance is bounded from below, by Cantelli's inequality and by the sub-Gaussian tail of a beta
    (Marchal & Arbel, 2017), so that no incomplete beta function is needed.
    """
    if n <= 0:
        return 0.0, 1.0
    return _lower(successes, n, level), 1 - _lower(n - successes, n, level)


def share_arms(ours: tuple[int, int], theirs: tuple[int, int], level: float) -> Interval:
    """The difference of two arms' shares, each (successes, rows); each end alone holds at any look.

    Both shares' own ends together (Bonferroni), true for every n; from 20 of the rarer kind in each
    arm on the normal limit of the difference, which is narrower.
    """
    (x, a), (y, b) = ours, theirs
    p, q = x / a if a else 0.0, y / b if b else 0.0
    if min(x, a - x, y, b - y) >= MIN_UNITS:
        half = end_factor(arms_clock(a, b), level) * math.sqrt(p * (1 - p) / a + q * (1 - q) / b)
        return Interval(p - q, max(p - q - half, -1.0), min(p - q + half, 1.0), a + b)
    each = bonferroni(level, 2)
    mine, other = share_ends(x, a, each), share_ends(y, b, each)
    return Interval(p - q, min(mine[0] - other[1], p - q), max(mine[1] - other[0], p - q), a + b)


def arms_clock(a: int, b: int) -> int:
    """How far two arms have come, in information: so many rows in equal arms say as much."""
    return max(round(4 * a * b / (a + b)), 2)


def _lower(successes: float, n: int, level: float) -> float:
    """The lower end: the largest share below the mean that is refused."""
    if successes <= 0:
        return 0.0
    limit = -math.log1p(-level)
    low, high = 0.0, successes / n
    for _ in range(50):
        middle = (low + high) / 2
        if _log_share_mixture(successes, n, middle) >= limit:
            low = middle
        else:
            high = middle
    return low


def _log_share_mixture(successes: float, n: int, p: float) -> float:
    """A lower bound of the log mixture of likelihood ratios over shares above p."""
    if p <= 0:
        return math.inf
    a, b = 0.5 + successes, 0.5 + n - successes
    mean = a / (a + b)
    if mean <= p:
        return -math.inf
    ratio = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b) - math.log(math.pi)
    ratio -= successes * math.log(p) + (n - successes) * math.log1p(-p)
    variance, gap = mean * (1 - mean) / (a + b + 1), (mean - p) ** 2
    outside = min(variance / (variance + gap), math.exp(-2 * (a + b + 1) * gap))
    prior = 1 - 2 / math.pi * math.asin(math.sqrt(p))
    return ratio + math.log1p(-outside) - math.log(prior)


def mean_ends(values: Floats, level: float, lo: float, hi: float) -> Interval:
    """`sequential.bounded_mean`, which bets on each end with half of what its level allows."""
    return sequential.bounded_mean(values, 2 * level - 1, lo, hi)


BOTH: Final = Sequences(
    sequential.asymptotic_factor, sequential.share_interval, sequential.bounded_mean
)
"""The interval as a whole holds at the level: the monitor's."""
EACH: Final = Sequences(end_factor, share_ends, mean_ends)
"""Each end alone holds at the level: the rollout's."""
