"""Shapes of counts: quantiles, bars and commonest levels for somebody who looks.

Everything comes from counts on bins, so a quantile is known to a cell and a picture to its bars.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.profile import profile as profiles
from trimtab.profile.bins import Bins
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.profile import Profile
from trimtab.profile.shape import Shape

BARS: Final = 16
TOP: Final = 5
_LOW: Final = 0.01
_SHOWN: Final = 80


def shapes(bins: Bins, profile: Profile) -> list[Shape]:
    """The shape of every feature, in their order."""
    spans = bins.spans()
    found = []
    for place, cells in enumerate(bins.features):
        counts = profile.counts[spans[cells.name]]
        if isinstance(cells, NumberCells):
            found.append(_numbers(bins, profile, cells, place, counts))
        else:
            found.append(_levels(bins, profile, cells, counts))
    return found


def share(cells: NumberCells | CategoryCells, counts: NDArray[Any], *names: str) -> float:
    """The share of rows with one of the defects that `cells.groups` names."""
    groups = cells.groups()
    codes = [code for name in names for code in groups.get(name, ())]
    return float(counts[codes].sum()) / max(int(counts.sum()), 1)


def _numbers(
    bins: Bins, profile: Profile, cells: NumberCells, place: int, counts: NDArray[Any]
) -> Shape:
    plain = Shape(
        name=cells.name,
        kind="number",
        rows=profile.rows,
        missing=share(cells, counts, "missing", "mistyped"),
        unseen=share(cells, counts, "outside", "infinite"),
    )
    low, high = float(profile.low[place]), float(profile.high[place])
    if not low <= high:
        return plain
    left, right, mass = _pieces(cells, counts, low, high)
    if not mass.sum():
        return plain
    q = [_quantile(left, right, mass, at) for at in (0.05, 0.25, 0.5, 0.75, 0.95)]
    first, last = (_quantile(left, right, mass, at) for at in (_LOW, 1 - _LOW))
    if first == last:
        first, last = low, high
    mean = profiles.mean(bins, profile, cells.name)
    return msgspec.structs.replace(
        plain,
        low=low,
        high=high,
        mean=mean if math.isfinite(mean) else None,
        quantiles=tuple(q),
        bars=_bars(left, right, mass / profile.rows, first, last),
        bars_from=first,
        bars_to=last,
    )


def _pieces(
    cells: NumberCells, counts: NDArray[Any], low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where each finite cell begins and ends, kept within the extremes, and its rows."""
    edges = np.array(cells.edges)
    codes = np.arange(1, cells.inner + 5)
    left = np.clip(edges[codes - 1], low, high)
    right = np.clip(np.maximum(edges[codes], edges[codes - 1]), low, high)
    return left, right, counts[codes].astype(np.float64)


def _quantile(
    left: NDArray[np.float64], right: NDArray[np.float64], mass: NDArray[np.float64], at: float
) -> float:
    """Even within a cell."""
    total = np.cumsum(mass)
    wanted = at * total[-1]
    cell = min(int(np.searchsorted(total, wanted)), len(mass) - 1)
    inside = float((wanted - (total[cell] - mass[cell])) / mass[cell]) if mass[cell] else 0.0
    begin, end = float(left[cell]), float(right[cell])
    if end <= math.nextafter(begin, math.inf):
        return begin
    return begin * (1 - inside) + end * inside


def _bars(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    mass: NDArray[np.float64],
    first: float,
    last: float,
) -> tuple[float, ...]:
    """A cell's rows spread evenly over the bars that it covers."""
    width = last / BARS - first / BARS
    if not (math.isfinite(width) and width > 0):
        return (float(mass.sum()),)
    with np.errstate(over="ignore"):
        begin = np.clip((left - first) / width, 0, BARS)
        end = np.clip((right - first) / width, 0, BARS)
    found = np.zeros(BARS)
    for one, other, own in zip(begin.tolist(), end.tolist(), mass.tolist(), strict=True):
        bar = min(int(one), BARS - 1)
        if other - one < 1e-9:
            found[bar] += own
            continue
        steps = np.arange(bar, min(math.ceil(other), BARS))
        covered = np.minimum(steps + 1, other) - np.maximum(steps, one)
        found[steps] += own * covered / covered.sum()
    return tuple(found.tolist())


def _levels(bins: Bins, profile: Profile, cells: CategoryCells, counts: NDArray[Any]) -> Shape:
    rows = max(profile.rows, 1)
    order = np.argsort(-counts[: len(cells.levels)], kind="stable")[:TOP].tolist()
    distinct = profiles.distinct(bins, profile, cells.name)
    return Shape(
        name=cells.name,
        kind="category",
        rows=profile.rows,
        missing=share(cells, counts, "missing", "mistyped"),
        unseen=share(cells, counts, "unseen"),
        distinct=None if math.isnan(distinct) else round(distinct),
        top=tuple(
            (cells.levels[code][:_SHOWN], float(counts[code]) / rows)
            for code in order
            if counts[code]
        ),
    )
