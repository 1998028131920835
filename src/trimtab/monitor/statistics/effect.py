"""How large a difference is, with an interval: a shift in reference sd, a share, a divergence.

Significance says that something moved; these say whether anyone should care. All of them come from
counts on the reference's cells. Lower bounds are conservative: plug-in distances are biased
upwards, so the bias under equality is taken off before the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.statistics import stack
from trimtab.monitor.statistics.tails import normal_isf
from trimtab.profile.cells import NumberCells

Floats = NDArray[np.float64]
Counts = NDArray[Any]

_FOLDED: Final = math.sqrt(2 / math.pi)
"""Mean of |Z| for a standard normal Z."""


class Effect(NamedTuple):
    """An effect and its two-sided interval."""

    value: float
    lo: float
    hi: float


NOTHING: Final = Effect(0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Grid:
    """The reference's number line, clipped to its outer inner bounds so that no outlier stretches it.

    Positions are in units of `scale`, so that squares of 1e308 exist: `bounds` (cells + 1), `middle`
    (ordered codes), `sd` and median `centre` of the reference.
    """

    bounds: Floats
    middle: Floats
    sd: float
    centre: float
    scale: float


def grid(cells: NumberCells, reference: Counts) -> Grid | None:
    """The grid of a feature from its ordered reference counts; None where it has no spread."""
    if cells.inner == 0:
        return None
    bounds = np.array([*cells.bounds[:-1], cells.high])
    lower = 0 if 0 in cells.atoms or cells.inner < 3 else 1
    upper = -1 if cells.inner - 1 in cells.atoms or cells.inner < 3 else -2
    clipped = np.clip(bounds, bounds[lower], bounds[upper])
    scale = float(np.abs(clipped).max())
    if scale == 0:
        return None
    clipped = clipped / scale
    width = np.diff(clipped)
    middle = np.concatenate(
        [np.full(3, clipped[0]), clipped[:-1] + width / 2, np.full(3, clipped[-1])]
    )
    share = reference / max(reference.sum(), 1)
    inside = np.concatenate([np.zeros(3), width**2 / 12, np.zeros(3)])
    mean = float(share @ middle)
    sd = math.sqrt(float(share @ ((middle - mean) ** 2 + inside)))
    if sd <= 0:
        return None
    centre = float(middle[np.searchsorted(np.cumsum(share), 0.5)])
    return Grid(clipped, middle, sd, centre, scale)


def wasserstein(line: Grid, window: Counts, reference: Counts, level: float = 0.95) -> Effect:
    """The distance W1 between two clipped distributions, in reference sd (`stack.wasserstein`)."""
    if not window.sum() or not reference.sum():
        return Effect(0.0, 0.0, math.inf)
    width = np.diff(line.bounds) / line.sd
    place = (line.middle - line.centre) / line.sd
    found = stack.wasserstein(
        width[None], place[None], window[None], np.asarray(reference)[None], level
    )
    return Effect(*(float(one[0]) for one in found))


def total_variation(window: Counts, reference: Counts, level: float = 0.95) -> Effect:
    """Half the summed difference of shares: the share of rows that sit in other cells now.

    The lower bound is the better of the distance less its bias under equality and the largest
    single cell's difference, Bonferroni-corrected.
    """
    n, total = float(window.sum()), float(reference.sum())
    if n == 0 or total == 0:
        return Effect(0.0, 0.0, 1.0)
    f, g = window / n, reference / total
    pooled = (window + reference) / (n + total)
    step = np.abs(f - g)
    value = float(step.sum()) / 2
    bias = _FOLDED / 2 * float(np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / total)).sum())
    tail = (1 - level) / 4
    sign = np.sign(f - g) / 2
    spread = _spread(sign, f, n, g, total)
    single = np.sqrt(
        np.maximum(
            f * (1 - f) / n + g * (1 - g) / total, pooled * (1 - pooled) * (1 / n + 1 / total)
        )
    )
    lower = max(
        value - bias - normal_isf(tail) * spread,
        float((step - normal_isf(tail / max(len(f), 1)) * single).max()),
    )
    upper = min(1.0, value + normal_isf((1 - level) / 2) * spread)
    return Effect(value, max(0.0, lower), upper)


def jensen_shannon(window: Counts, reference: Counts, level: float = 0.95) -> Effect:
    """The Jensen-Shannon divergence in bits (`stack.jensen_shannon`)."""
    if not window.sum() or not reference.sum():
        return Effect(0.0, 0.0, 1.0)
    found = stack.jensen_shannon(np.asarray(window)[None], np.asarray(reference)[None], level)
    return Effect(*(float(one[0]) for one in found))


def _spread(value: Floats, f: Floats, n: float, g: Floats, total: float) -> float:
    """Standard error of the difference of a cell function's means."""
    return math.sqrt(_variance(value, f) / n + _variance(value, g) / total)


def _variance(value: Floats, share: Floats) -> float:
    mean = float(share @ value)
    return max(0.0, float(share @ (value - mean) ** 2))
