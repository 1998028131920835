"""Fixed-sample intervals: Wilson, Student, transformed normal, and order statistics.

Each takes the critical value as a number where it can, so that the same shapes serve sequential
intervals, whose critical value grows with the rows seen.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

import numpy as np

from trimtab.evaluate.estimate import finite
from trimtab.evaluate.scored import Floats

Scale = Literal["identity", "logit", "log", "log1m"]


def normal_factor(level: float) -> float:
    """The critical value of a two-sided normal interval."""
    return NormalDist().inv_cdf((1 + level) / 2)


def student_factor(level: float, n: int) -> float:
    """The critical value of a two-sided Student interval on `n` >= 2 observations.

    Exact for n = 2 and 3; else Hill's expansions (Algorithm 396, Communications of the ACM 1970),
    right to five digits and more. Own code, since this runs where scipy is not installed.
    """
    df, tails = n - 1, 1 - level
    if df == 1:
        return 1 / math.tan(tails * math.pi / 2)
    if df == 2:
        return math.sqrt(2 / (tails * (2 - tails)) - 2)
    a = 1 / (df - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * df
    y = (d * tails) ** (2 / df)
    if y > 0.05 + a:
        return math.sqrt(df * _near_normal(normal_factor(level), df, b, c, d))
    tail = 1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)
    return math.sqrt(df * ((tail * y - 1) * (df + 1) / (df + 2) + 1 / y))


def _near_normal(z: float, df: int, b: float, c: float, d: float) -> float:
    """Hill's expansion about the normal quantile; returns t^2 / df."""
    x, square = -z, z * z
    if df < 5:
        c += 0.3 * (df - 4.5) * (x + 0.6)
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    inner = ((((0.4 * square + 6.3) * square + 36) * square + 94.5) / c - square - 3) / b + 1
    return math.expm1((inner * x) ** 2 / (df - 0.5))


def wilson(share: float, n: float, factor: float) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, JASA 1927); (0, 1) without observations."""
    if n <= 0:
        return 0.0, 1.0
    square = factor * factor
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = factor / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At 0 and 1 the formula meets the edge exactly, up to rounding.
    lo = 0.0 if share <= 0 else max(0.0, centre - half)
    hi = 1.0 if share >= 1 else min(1.0, centre + half)
    return min(lo, share), max(hi, share)


def transformed(value: float, error: float, factor: float, scale: Scale) -> tuple[float, float]:
    """A normal interval made on a scale where the value is unbounded, and carried back.

    `value` must lie inside the scale's open range: (0, 1) for logit, above 0 for log, below 1 for
    log1m, which is the log of the distance to 1.
    """
    if scale == "identity":
        return finite(value - factor * error), finite(value + factor * error)
    if scale == "logit":
        centre = math.log(value) - math.log1p(-value)
        half = factor * error / (value * (1 - value))
        return _expit(centre - half), _expit(centre + half)
    if scale == "log":
        half = factor * error / value
        return value * _exp(-half), finite(value * _exp(half))
    half = factor * error / (1 - value)
    return finite(1 - (1 - value) * _exp(half)), 1 - (1 - value) * _exp(-half)


def order_ranks(share: float, n: int, level: float) -> tuple[int, int]:
    """Ranks (from 1) of the order statistics that enclose the `share` quantile of `n` values.

    The count of values below the quantile is binomial, so the interval needs no assumption on the
    values (David & Nagaraja, Order Statistics, section 7.1). Rank 0 or n + 1 means that the
    sample is too small for a bound on that side.
    """
    below = _binomial_cdf(n, share)
    tail = (1 - level) / 2
    # P(quantile < x_(r)) = P(count <= r - 1), and P(quantile > x_(s)) = P(count >= s).
    lower = int(np.searchsorted(below, tail, side="right"))
    upper = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return lower, upper


def _binomial_cdf(n: int, share: float) -> Floats:
    counts = np.arange(1, n + 1, dtype=np.float64)
    steps = np.log((n - counts + 1) / counts) + math.log(share) - math.log1p(-share)
    logs = np.concatenate(([n * math.log1p(-share)], steps)).cumsum()
    return np.asarray(np.exp(logs).cumsum())


def _expit(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))
