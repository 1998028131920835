"""How far every feature of a window lies from the reference, all features at once.

What only the reference decides (number lines, groups) is worked out once per reference. No level
and no verdict: the measures go to charts and to the list of features that moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.findings import Measure
from trimtab.monitor.statistics import anderson, rates, stack
from trimtab.monitor.statistics.categories import (
    LEAST_EXPECTED,
    chi_square,
    comparable,
    grouped,
    with_rest,
)
from trimtab.monitor.statistics.effect import total_variation
from trimtab.monitor.statistics.overdispersion import Chunks, corrected, factor
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.distance import anderson_darling
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.profile.seasons import Base

Floats = NDArray[np.float64]

_GROUPS: Final = 10


@dataclass(frozen=True, eq=False)
class Lines:
    """The number lines of a reference's numeric features, padded to the longest.

    `places` are their positions among all features and `at` (features x codes) where their ordered
    counts lie, one past the end for padding. `width` and `place` as `stack.wasserstein` wants them,
    0 where a feature has no spread. `groups` puts codes into tenths of the reference.
    """

    places: NDArray[np.intp]
    at: NDArray[np.intp]
    width: Floats
    place: Floats
    groups: NDArray[np.intp]


_known: WeakKeyDictionary[Profile, Lines] = WeakKeyDictionary()


def compare(reference: Reference, counts: NDArray[Any], rows: float, base: Base) -> list[Measure]:
    """A measure of every feature from a window's counts, in the order of the bins.

    `rows` is the mean size of the windows that were added up, `base` what they are held against.
    """
    lines = _known.get(reference.profile)
    if lines is None:
        lines = _known[reference.profile] = fit_lines(reference)
    found: list[Measure | None] = [None] * len(reference.bins.features)
    for place, measure in zip(
        lines.places.tolist(), _numbers(reference, lines, counts, rows, base), strict=True
    ):
        found[place] = measure
    spans, phi = reference.bins.spans(), _phi(reference, rows, base.rows)
    for place, cells in enumerate(reference.bins.features):
        if isinstance(cells, CategoryCells):
            span = spans[cells.name]
            found[place] = _levels(
                reference,
                cells,
                counts[span],
                base.counts[span],
                reference.profile.counts[span],
                phi[place],
            )
    return [one for one in found if one is not None]


def fit_lines(reference: Reference) -> Lines:
    """The number lines of a reference, as `effect.grid` makes them one by one."""
    features = reference.bins.features
    starts = np.cumsum([0, *(cells.size for cells in features)])
    places = [i for i, cells in enumerate(features) if isinstance(cells, NumberCells)]
    lines = [cells for cells in features if isinstance(cells, NumberCells)]
    inner = max((cells.inner for cells in lines), default=0)
    codes = np.arange(inner + 6)
    at = np.full((len(lines), inner + 6), starts[-1], dtype=np.intp)
    bounds = np.zeros((len(lines), inner + 1))
    for row, (place, cells) in enumerate(zip(places, lines, strict=True)):
        at[row, : cells.inner + 6] = starts[place] + codes[: cells.inner + 6]
        if cells.inner:
            bounds[row] = _clipped(cells, inner)
    counts = _padded(reference.profile.counts)[at].astype(np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    # the largest is 1, so that squares of 1e308 exist
    scale = np.abs(bounds).max(axis=1, keepdims=True, initial=0.0)
    bounds /= np.where(scale > 0, scale, 1.0)
    width = np.diff(bounds, axis=1)
    front, back = np.repeat(bounds[:, :1], 3, axis=1), np.repeat(bounds[:, -1:], 3, axis=1)
    middle = np.concatenate([front, bounds[:, :-1] + width / 2, back], axis=1)
    inside = np.pad(width**2 / 12, ((0, 0), (3, 3)))
    mean = (share * middle).sum(axis=1, keepdims=True)
    sd = np.sqrt((share * ((middle - mean) ** 2 + inside)).sum(axis=1, keepdims=True))
    cumulative = np.cumsum(share, axis=1)
    half = np.minimum((cumulative < 0.5).sum(axis=1, keepdims=True), inner + 5)
    centre = np.take_along_axis(middle, half, axis=1)
    live = sd > 0
    unit = np.where(live, sd, 1.0)
    tenth = np.floor((cumulative - share / 2) * _GROUPS).clip(0, _GROUPS - 1).astype(np.intp)
    return Lines(
        places=np.array(places, dtype=np.intp),
        at=at,
        width=np.where(live, width / unit, 0.0),
        place=np.where(live, (middle - centre) / unit, 0.0),
        groups=tenth + _GROUPS * np.arange(len(lines))[:, None],
    )


def _clipped(cells: NumberCells, inner: int) -> Floats:
    """A feature's bounds between its outer inner ones, the last one repeated as padding."""
    bounds = np.array(cells.bounds)
    bounds[-1] = cells.high
    lower = 0 if 0 in cells.atoms or cells.inner < 3 else 1
    upper = -1 if cells.inner - 1 in cells.atoms or cells.inner < 3 else -2
    clipped = np.clip(bounds, bounds[lower], bounds[upper])
    return np.concatenate([clipped, np.full(inner - cells.inner, clipped[-1])])


def _numbers(
    reference: Reference, lines: Lines, counts: NDArray[Any], rows: float, base: Base
) -> list[Measure]:
    window, old = _padded(counts)[lines.at], _padded(base.counts)[lines.at]
    statistic = np.nan_to_num(anderson_darling(window, old), nan=-1.0)
    shift = stack.wasserstein(lines.width, lines.place, window, old)
    js, ks = stack.jensen_shannon(window, old), stack.kolmogorov(window, old)
    psi, usual = stack.stability(_tenths(lines, window), _tenths(lines, old))
    # an empty window says nothing about a shift; a feature without spread cannot have one
    flat = ~lines.width.any(axis=1)
    hi = np.where(flat, 0.0, shift.hi)
    phi, chunks = _phi(reference, rows, base.rows), _degrees(reference)
    names = reference.bins.names
    columns = (js.value, js.lo, js.hi, ks.value, ks.lo, ks.hi, psi, usual)
    return [
        Measure(
            feature=names[place],
            statistic="anderson_darling",
            value=max(a2, 0.0),
            p=anderson.p_value(a2, phi[place], chunks, reference.law(place)) if a2 >= 0 else 1.0,
            effect=value,
            lo=lo,
            hi=high,
            unit="sd",
            js=more[0],
            js_lo=more[1],
            js_hi=more[2],
            ks=more[3],
            ks_lo=more[4],
            ks_hi=more[5],
            psi=more[6],
            psi_usual=more[7],
        )
        for place, a2, value, lo, high, more in zip(
            lines.places.tolist(),
            statistic.tolist(),
            shift.value.tolist(),
            shift.lo.tolist(),
            hi.tolist(),
            np.stack(columns, axis=1).tolist(),
            strict=True,
        )
    ]


def _levels(
    reference: Reference,
    cells: CategoryCells,
    counts: NDArray[Any],
    base: NDArray[Any],
    every: NDArray[Any],
    phi: float,
) -> Measure:
    codes = comparable(cells, counts, every)
    window, old = with_rest(cells, counts, codes), with_rest(cells, base, codes)
    test = chi_square(window, old, phi, _degrees(reference))
    p, (a, b) = test.p, grouped(window, old)
    known = every[: len(cells.levels)]
    if len(a) == 1 and known.size and known.min() >= LEAST_EXPECTED:
        # No level has rows enough in both: what is left is whether rows are of those, all of which
        # were bound to be listed.
        a, b = _listed(cells, counts), _listed(cells, base)
        n, total = int(a.sum()), round(float(b.sum()))
        if n and total and a[1] + b[1]:
            alone = rates.two_sided(int(a[1]), n, round(float(b[1])), total)
            p = corrected(alone, phi, _degrees(reference))
    effect = total_variation(a, b)
    js = stack.jensen_shannon(a[None], b[None])
    psi, usual = stack.stability(a[None], b[None])
    return Measure(
        feature=cells.name,
        statistic="chi_square",
        value=test.statistic,
        p=p,
        effect=effect.value,
        lo=effect.lo,
        hi=effect.hi,
        unit="share",
        js=float(js.value[0]),
        js_lo=float(js.lo[0]),
        js_hi=float(js.hi[0]),
        psi=float(psi[0]),
        psi_usual=float(usual[0]),
    )


def _listed(cells: CategoryCells, counts: NDArray[Any]) -> NDArray[Any]:
    """Rows of the levels that the reference lists, and of all others."""
    known = len(cells.levels)
    return np.array([counts[:known].sum(), counts[known : known + 2].sum()])


def _phi(reference: Reference, rows: float, total: float) -> list[float]:
    """Every feature's variance factor at windows of `rows` rows."""
    chunks, bursts = reference.dispersion, reference.clusters
    own = bursts.shape.tolist() if bursts else [1.0] * len(reference.bins.features)
    if chunks is None:
        return own
    return [
        factor(phi, Chunks(chunks.chunks, chunks.rows), rows, total, clusters=cluster)
        for phi, cluster in zip(chunks.shape.tolist(), own, strict=True)
    ]


def _degrees(reference: Reference) -> int:
    known = reference.dispersion or reference.clusters
    return known.chunks if known else 0


def _tenths(lines: Lines, counts: NDArray[Any]) -> Floats:
    size = _GROUPS * len(counts)
    found = np.bincount(lines.groups.ravel(), counts.ravel().astype(np.float64), size)
    return np.asarray(found.reshape(len(counts), _GROUPS), dtype=np.float64)


def _padded(counts: NDArray[Any]) -> NDArray[Any]:
    return np.append(counts, 0)
