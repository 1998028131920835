"""Intervals that hold at every look: confidence sequences, as pure functions of what was seen.

An interval for one look, looked at daily, excludes the truth far more often than it says. These
exclude it at *any* look with probability at most 1 - level, so a rollout or a monitor may look as
often as it likes and stop when it likes. Two kinds: finite-sample ones (`share_interval`,
`bounded_mean`, `auc_pairs`, `quantile_ranks`), true for every n, and asymptotic ones
(`asymptotic_factor` and what uses it), true in the limit and meant for 50 rows and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, UndecidedError
from trimtab.evaluate.scored import Floats

TUNED: Final = (0.2, 500, 5_000)
"""Of `asymptotic_factor`: the weight and the size of the part that decides soon, and the rows at
which the other part's prior weighs as much as the data; it is tightest at about three times that.
"""
# Strength of the prior at a known share, which makes `quantile_ranks` tightest near 500 values.
_PRIOR: Final = 64.0
_STEPS: Final = 50
_HALVINGS: Final = 60


class Interval(NamedTuple):
    """A value, its interval and the number of observations."""

    value: float
    lo: float
    hi: float
    n: int


def share_interval(successes: float, n: int, level: float) -> tuple[float, float]:
    """The mean of n independent values in [0, 1] with sum `successes`, at any look.

    The shares p at which a Beta(1/2, 1/2) mixture of likelihood ratios stays below 1 / (1 - level)
    (Robbins, 1970; the beta-binomial mixture of Howard et al., Annals of Statistics 2021). For
    values between 0 and 1 it stays a supermartingale, since the ratio is convex in the value. Only
    the counts matter, so windows merge by adding.
    """
    if n <= 0:
        return 0.0, 1.0
    share, limit = successes / n, -math.log1p(-level)

    def is_excluded(p: float) -> bool:
        return _log_mixture(successes, n, p, 0.5, 0.5) >= limit

    lo = 0.0 if successes <= 0 else _edge(is_excluded, 0.0, share)
    hi = 1.0 if successes >= n else _edge(is_excluded, 1.0, share)
    return lo, hi


def bounded_mean(values: Floats, level: float, lo: float = 0.0, hi: float = 1.0) -> Interval:
    """The mean of independent values in [lo, hi], in arrival order, at any look.

    The hedged capital process with predictable plug-in bets of Waudby-Smith & Ramdas, "Estimating
    means of bounded random variables by betting" (JRSS-B 2024, section 4.4), which adapts to small
    variance. Wealth is monotone in the mean bet against, so the edges are found by bisection:
    O(100 n). Raises DataError for a value outside.
    """
    n = len(values)
    if not n:
        return Interval((lo + hi) / 2, lo, hi, 0)
    unit = _unit(values, lo, hi)
    bets, limit = _bets(unit, level), math.log(2 / (1 - level))
    value = float(unit.mean())

    def is_below(m: float) -> bool:
        return float(_log_wealth(unit, bets, m).sum()) >= limit

    def is_above(m: float) -> bool:
        return float(_log_wealth(1 - unit, bets, 1 - m).sum()) >= limit

    lowest = _edge(is_below, 0.0, value)
    highest = _edge(is_above, 1.0, value)
    span = hi - lo
    return Interval(lo + span * value, lo + span * lowest, lo + span * highest, n)


def bounded_mean_excludes(
    values: Floats, mean: float, level: float, lo: float = 0.0, hi: float = 1.0
) -> NDArray[np.bool_]:
    """After each value (n,): whether `bounded_mean` of the values so far excludes `mean`."""
    unit, m = _unit(values, lo, hi), (mean - lo) / (hi - lo)
    bets, limit = _bets(unit, level), math.log(2 / (1 - level))
    up = _log_wealth(unit, bets, m).cumsum()
    down = _log_wealth(1 - unit, bets, 1 - m).cumsum()
    return np.asarray(np.maximum(up, down) >= limit)


def asymptotic_factor(n: int, level: float) -> float:
    """What multiplies a standard error on n rows to hold at any look, in the limit of large n.

    The sum of n centred values of unit variance is compared with a mixture of normal likelihood
    ratios over drifts of either sign, which is a martingale: by Ville's inequality it ever reaches
    1 / (1 - level) with probability at most 1 - level (Robbins, 1970; Johari et al., Operations
    Research 2022). A fifth of the prior is normal and tight at few rows; the rest is the normal
    moment prior of Johnson & Rossell (JRSS-B 2010), which has no mass at a drift of 0, where no
    number of rows would tell, and so decides sooner at thousands. Estimated variances make it true
    in the limit (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Annals of Statistics 2024).
    """
    return _factor(n, level)


@lru_cache(maxsize=4096)
def _factor(n: int, level: float) -> float:
    return where_decided(lambda z: _log_normal_mixture(z, n, level), level)


def where_decided(log_mixture: Callable[[float], float], level: float) -> float:
    """The least z at which a mixture that grows with z reaches 1 / (1 - level), by bisection."""
    limit = -math.log1p(-level)
    low, high = 0.0, 4.0
    while log_mixture(high) < limit:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if log_mixture(middle) < limit:
            low = middle
        else:
            high = middle
    return high


def log_total(parts: Sequence[float]) -> float:
    """The log of a sum of numbers that are given by their logs."""
    most = max(parts)
    return most + math.log(sum(math.exp(one - most) for one in parts))


def _log_normal_mixture(z: float, n: int, level: float) -> float:
    """The log of the mixture where the sum is `z` of its standard deviations."""
    weight, soon, late = TUNED
    alpha = 1 - level
    width = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    seen = n * width / soon
    square = z * z * seen / (seen + 1)
    normal = math.log(weight) - math.log1p(seen) / 2 + square / 2
    seen = n / late
    square = z * z * seen / (seen + 1)
    moment = math.log1p(-weight) - 1.5 * math.log1p(seen) + square / 2 + math.log1p(square)
    return log_total((normal, moment))


def asymptotic_mean(values: Floats, level: float) -> Interval:
    """The mean of independent values of any range, at any look; raises UndecidedError below 2."""
    n = len(values)
    if n < 2:
        raise UndecidedError(f"{n} rows count, it needs 2")
    value = float(values.mean())
    half = asymptotic_factor(n, level) * float(values.std()) / math.sqrt(n)
    return Interval(value, value - half, value + half, n)


def paired_difference(ours: Floats, theirs: Floats, level: float) -> Interval:
    """The mean of ours - theirs on the same rows, at any look."""
    return asymptotic_mean(ours - theirs, level)


def arm_difference(ours: Floats, theirs: Floats, level: float) -> Interval:
    """The mean of ours minus the mean of theirs, on different rows, at any look.

    The two arms are seen as one sequence in which each row moves the difference by its own arm's
    share, so the arms may grow at any fixed ratio. Raises UndecidedError below 2 rows in an arm.
    """
    if min(len(ours), len(theirs)) < 2:
        raise UndecidedError(f"{len(ours)} and {len(theirs)} rows count, it needs 2 of each")
    value, n = float(ours.mean() - theirs.mean()), len(ours) + len(theirs)
    error = math.hypot(ours.std() / math.sqrt(len(ours)), theirs.std() / math.sqrt(len(theirs)))
    half = asymptotic_factor(n, level) * error
    return Interval(value, value - half, value + half, n)


def auc_pairs(truth: NDArray[np.bool_], score: Floats, level: float) -> Interval:
    """The area under the ROC curve, at any look and for any number of rows.

    The i-th positive to arrive is paired with the i-th negative; each pair is won, tied or lost
    whatever the others do, so the wins are a mean of independent values in [0, 1]. It uses fewer
    comparisons than the asymptotic interval of the whole area, which is narrower.
    """
    positive = truth.astype(np.bool_)
    ups, downs = score[positive], score[~positive]
    n = min(len(ups), len(downs))
    won = np.where(ups[:n] > downs[:n], 1.0, np.where(ups[:n] == downs[:n], 0.5, 0.0))
    lo, hi = share_interval(float(won.sum()), n, level)
    return Interval(float(won.mean()) if n else 0.5, lo, hi, n)


def quantile_ranks(share: float, n: int, level: float) -> tuple[int, int]:
    """Ranks (from 1) of the order statistics that enclose the `share` quantile, at any look.

    The number of values up to the quantile is binomial with the known `share`; the ranks are those
    that a mixture martingale at it allows (Howard & Ramdas, "Sequential estimation of quantiles",
    Bernoulli 2022, beta-binomial form). Rank 0 or n + 1 means no bound on that side.
    """
    limit = -math.log1p(-level)

    def is_allowed(count: int) -> bool:
        return _log_mixture(count, n, share, _PRIOR * share, _PRIOR * (1 - share)) < limit

    middle = min(max(round(share * n), 0), n)
    lower = middle - _last(lambda step: is_allowed(middle - step), middle)
    upper = middle + _last(lambda step: is_allowed(middle + step), n - middle)
    return lower, upper + 1


def spend(level: float, look: int) -> float:
    """The level of the `look`-th look (from 1) that makes fixed intervals hold at all looks.

    Splits 1 - level as 1/2, 1/6, 1/12, ... (a union bound), for what has no sequence of its own.
    """
    if look < 1:
        raise DataError(f"looks are counted from 1, got {look}")
    return 1 - (1 - level) / (look * (look + 1))


def _log_mixture(successes: float, n: int, p: float, a: float, b: float) -> float:
    failures = n - successes
    if (p <= 0 and successes > 0) or (p >= 1 and failures > 0):
        return math.inf
    ratio = _log_beta(a + successes, b + failures) - _log_beta(a, b)
    ratio -= successes * math.log(p) if successes else 0.0
    return ratio - (failures * math.log1p(-p) if failures else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _edge(is_excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where exclusion ends between a point outside and the value inside; errs to the outside."""
    if not is_excluded(outside):
        return outside
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if is_excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _last(is_allowed: Callable[[int], bool], most: int) -> int:
    """The largest step up to `most` that is allowed, where allowed steps come first."""
    allowed, refused = 0, most + 1
    while refused - allowed > 1:
        middle = (allowed + refused) // 2
        if is_allowed(middle):
            allowed = middle
        else:
            refused = middle
    return allowed


def _unit(values: Floats, lo: float, hi: float) -> Floats:
    outside = np.flatnonzero(~((values >= lo) & (values <= hi)))
    if outside.size:
        raise DataError(f"value {outside[0]} is {values[outside[0]]}, outside of {lo:g} to {hi:g}")
    unit: Floats = (values - lo) / (hi - lo)
    return unit


def _bets(unit: Floats, level: float) -> Floats:
    # Each bet is made from the values before it: mean and variance lag by one.
    n = len(unit)
    seen = np.arange(1, n + 1)
    means = (0.5 + unit.cumsum()) / (seen + 1)
    variances = (0.25 + ((unit - means) ** 2).cumsum()) / (seen + 1)
    before = np.r_[0.25, variances[:-1]]
    return np.asarray(np.sqrt(2 * math.log(2 / (1 - level)) / (before * seen * np.log1p(seen))))


def _log_wealth(unit: Floats, bets: Floats, m: float) -> Floats:
    # A bet never risks more than half of the wealth on one value.
    capped = np.minimum(bets, 0.5 / m) if m > 0 else bets
    gains: NDArray[Any] = np.log1p(capped * (unit - m))
    return gains
