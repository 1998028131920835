"""Effect sizes of many features at once: W1, Jensen-Shannon, Kolmogorov-Smirnov, PSI.

Counts are stacks (features x codes), one window's row against one reference's row; every function
gives arrays of one value a feature. Lower bounds are conservative: plug-in distances are biased
upwards, so the bias under equality is taken off before the interval.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]
Counts = NDArray[Any]

_FOLDED: Final = math.sqrt(2 / math.pi)
"""Mean of |Z| for a standard normal Z."""
_HALF_A_ROW: Final = 0.5
_LEAST: Final = 1e-3
_FULL: Final = 200.0
"""Rows of a cell from which on the asymptotic mean of its divergence holds to 1 %."""


class Effects(NamedTuple):
    """An effect of every feature and its two-sided interval."""

    value: Floats
    lo: Floats
    hi: Floats


def wasserstein(
    width: Floats, place: Floats, window: Counts, reference: Counts, level: float = 0.95
) -> Effects:
    """The distance W1 between clipped distributions, in reference sd.

    `width` (features x cells) are the cells' widths and `place` (features x codes: 3 below, the
    cells, 3 above) the codes' distances from the reference's median, both in its sd; cells that pad
    a row have width 0. W1 is the integral of |F-G|, F and G taken linear within a cell. By
    Kantorovich duality every 1-Lipschitz f gives W1 >= |E f(X) - E f(Y)|: the lower bound is the
    best of three, the shift of the mean, of the spread around the median, and W1 itself less its
    bias under equality, each at (1 - level)/3. Empty rows give 0, 0 and infinity.
    """
    f, g, n, total = _shares(window, reference)
    lower, upper = np.cumsum(f, axis=1)[:, 2:-3], np.cumsum(g, axis=1)[:, 2:-3]
    gap = lower - upper
    between = (np.abs(gap[:, :-1]) + np.abs(gap[:, 1:])) / 2
    value: Floats = (width * between).sum(axis=1)
    pooled = (n * lower + total * upper) / (n + total)
    noise = np.sqrt(np.maximum(pooled * (1 - pooled), 0) * (1 / n + 1 / total))
    bias = _FOLDED * (width * (noise[:, :-1] + noise[:, 1:])).sum(axis=1) / 2
    z = normal_isf((1 - level) / 6)
    spread = _spread(_potential(width, gap), f, n, g, total)
    low = value - bias - z * spread
    for witness in (place, np.abs(place)):
        step = np.abs((f * witness).sum(axis=1) - (g * witness).sum(axis=1))
        low = np.maximum(low, step - z * _spread(witness, f, n, g, total))
    high = value + normal_isf((1 - level) / 2) * spread
    full = _full(window, reference)
    return Effects(
        np.where(full, value, 0.0),
        np.where(full, np.maximum(low, 0.0), 0.0),
        np.where(full, high, np.inf),
    )


def jensen_shannon(window: Counts, reference: Counts, level: float = 0.95) -> Effects:
    """The Jensen-Shannon divergence in bits (0 to 1), less its expectation under equality.

    Under equality a cell of share p has mean p (h(np) + h(Np)), where h(m) is that of a Poisson count of
    mean m against its mean: 1/8m nats in full cells, and less in thin ones. The interval is the delta
    method's around the corrected value. Empty rows give 0, 0 and 1.
    """
    f, g, n, total = _shares(window, reference)
    half = (f + g) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(f > 0, np.log2(f / half), 0.0)
        right = np.where(g > 0, np.log2(g / half), 0.0)
    value = ((f * left).sum(axis=1) + (g * right).sum(axis=1)) / 2
    cells = np.maximum((half > 0).sum(axis=1), 1)
    pooled = (window + reference) / (n + total)
    each = pooled * (_thin(n * pooled) + _thin(total * pooled))
    bias = each.sum(axis=1) * (cells - 1) / cells
    variance = _variance(left, f) / n[:, 0] / 4 + _variance(right, g) / total[:, 0] / 4
    variance += 2 * bias**2 / cells  # what is left of it where nothing changed: a chi-square's
    z = normal_isf((1 - level) / 2) * np.sqrt(variance)
    middle = np.maximum(0.0, value - bias)
    full = _full(window, reference)
    return Effects(
        np.where(full, middle, 0.0),
        np.where(full, np.maximum(0.0, middle - z), 0.0),
        np.where(full, np.minimum(1.0, middle + z), 1.0),
    )


def _thin(mean: Floats) -> Floats:
    """The mean Jensen-Shannon term (bits) of a Poisson count over its mean against 1."""
    known, found = _terms()
    full = 1 / (8 * math.log(2) * np.maximum(mean, _FULL))
    low: Floats = np.interp(np.log(np.maximum(mean, _LEAST)), known, found)
    return np.where(mean < _FULL, low, full)


@cache
def _terms() -> tuple[Floats, Floats]:
    """The logarithms of means, and the terms at them."""
    means = np.geomspace(_LEAST, _FULL, 200)
    counts = np.arange(1, int(_FULL + 12 * math.sqrt(_FULL)))
    log_chance = np.log(means)[:, None] * counts - means[:, None]
    chance = np.exp(log_chance - np.cumsum(np.log(counts)))
    x = counts / means[:, None]
    some = (chance * (x * np.log2(2 * x / (1 + x)) + np.log2(2 / (1 + x)))).sum(axis=1)
    return np.log(means), (some + np.exp(-means)) / 2


def kolmogorov(window: Counts, reference: Counts, level: float = 0.95) -> Effects:
    """The largest difference of cumulative shares at a cell's end (Kolmogorov-Smirnov).

    The interval is Massart's (1990): each cumulative lies within sqrt(ln(2/a)/2n) of its truth
    everywhere at once, a being half of 1 - level. Empty rows give 0, 0 and 1.
    """
    f, g, n, total = _shares(window, reference)
    value: Floats = np.abs(np.cumsum(f, axis=1) - np.cumsum(g, axis=1)).max(axis=1)
    root = math.sqrt(math.log(4 / (1 - level)) / 2)
    half = root * (1 / np.sqrt(n) + 1 / np.sqrt(total))[:, 0]
    full = _full(window, reference)
    return Effects(
        np.where(full, value, 0.0),
        np.where(full, np.maximum(value - half, 0.0), 0.0),
        np.where(full, np.minimum(value + half, 1.0), 1.0),
    )


def stability(window: Counts, reference: Counts) -> tuple[Floats, Floats]:
    """The population stability index over cells, and what it is on average without any change.

    sum (f - g) ln(f / g), an empty cell taken as half a row. Its mean under equality is about
    (K - 1)(1/n + 1/N) for K cells (Yurdakul 2018), so that no fixed limit means the same at two
    sizes: given because others ask for it, and judged by nothing here.
    """
    used = (window + reference) > 0
    f, g, n, total = _shares(
        np.where(used & (window == 0), _HALF_A_ROW, window),
        np.where(used & (reference == 0), _HALF_A_ROW, reference),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(used, (f - g) * np.log(f / g), 0.0)
    cells = np.maximum(used.sum(axis=1) - 1, 0)
    full = _full(window, reference)
    value: Floats = np.where(full, terms.sum(axis=1), 0.0)
    return value, np.where(full, cells * (1 / n + 1 / total)[:, 0], 0.0)


def _full(window: Counts, reference: Counts) -> NDArray[np.bool_]:
    full: NDArray[np.bool_] = (window.sum(axis=1) > 0) & (reference.sum(axis=1) > 0)
    return full


def _shares(window: Counts, reference: Counts) -> tuple[Floats, Floats, Floats, Floats]:
    """Shares of both and their rows (features x 1); empty rows count as one row of nothing."""
    n = np.maximum(window.sum(axis=1, keepdims=True), 1.0).astype(np.float64)
    total = np.maximum(reference.sum(axis=1, keepdims=True), 1.0).astype(np.float64)
    return window / n, reference / total, n, total


def _potential(width: Floats, gap: Floats) -> Floats:
    """The Kantorovich potential at every ordered code: slope -sign(F-G) within each cell."""
    slope = -np.sign(gap[:, :-1] + gap[:, 1:]) * width
    ends = np.zeros(gap.shape)
    np.cumsum(slope, axis=1, out=ends[:, 1:])
    inside = (ends[:, :-1] + ends[:, 1:]) / 2
    front, back = np.repeat(ends[:, :1], 3, axis=1), np.repeat(ends[:, -1:], 3, axis=1)
    return np.concatenate([front, inside, back], axis=1)


def _spread(value: Floats, f: Floats, n: Floats, g: Floats, total: Floats) -> Floats:
    """Standard errors of the differences of a cell function's means."""
    result: Floats = np.sqrt(_variance(value, f) / n[:, 0] + _variance(value, g) / total[:, 0])
    return result


def _variance(value: Floats, share: Floats) -> Floats:
    mean = (share * value).sum(axis=1, keepdims=True)
    result: Floats = (share * (value - mean) ** 2).sum(axis=1)
    return result
