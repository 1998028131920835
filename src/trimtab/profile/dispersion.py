"""How much the reference's own chunks (days, batches) differ beyond row-by-row chance.

Factors are 1 where rows are independent; a feature that wobbles from day to day has a larger one,
and judging divides by it, so that ordinary variation never alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.bins import Bins
from trimtab.profile.cells import Cells, NumberCells
from trimtab.profile.columns import Columns
from trimtab.profile.distance import anderson_darling, pearson, pool
from trimtab.profile.pairs import Pairs, correlation, z_scores
from trimtab.profile.profile import Profile, count, merge, merge_all

Floats = NDArray[np.float64]

RATES: Final = ("missing", "mistyped", "infinite", "far", "outside", "unseen")
LEAST_CHUNKS: Final = 8
LEAST_ROWS: Final = 50
_POOL: Final = 5.0


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Variance factors at windows of `rows` rows, each estimated from `chunks` chunks.

    `shape` (features): Anderson-Darling, or chi-square over levels. `cells` (features): single
    cells. `rates` (features x `RATES`): defect shares. `pairs`: correlations.
    """

    chunks: int
    rows: float
    shape: Floats
    cells: Floats
    rates: Floats
    pairs: float


def chunk_profiles(bins: Bins, columns: Columns, chunks: NDArray[Any]) -> list[Profile]:
    """Profiles of the chunks in order of their number; one under 50 rows joins the next."""
    result: list[Profile] = []
    waiting: Profile | None = None
    for chunk in np.unique(chunks):
        rows = chunks == chunk
        profile = count(bins, {name: columns[name][rows] for name in bins.names})
        waiting = profile if waiting is None else merge(waiting, profile)
        if waiting.rows >= LEAST_ROWS:
            result.append(waiting)
            waiting = None
    if waiting is not None and result:
        result[-1] = merge(result[-1], waiting)
    return result


def fit_dispersion(bins: Bins, profiles: list[Profile], pairs: Pairs) -> Dispersion | None:
    """Factors from each chunk against all others; None below 8 chunks, which say too little.

    Their leave-one-out statistics have mean 1 where rows are independent.
    """
    if len(profiles) < LEAST_CHUNKS:
        return None
    whole = merge_all(bins, profiles)
    stack = np.stack([profile.counts for profile in profiles])
    rest = whole.counts - stack
    shape, cells, rates = [], [], []
    for feature in bins.features:
        span = bins.spans()[feature.name]
        own = _feature(feature, stack[:, span], rest[:, span])
        shape.append(own[0])
        cells.append(own[1])
        rates.append([_rate(feature, name, stack[:, span], rest[:, span]) for name in RATES])
    return Dispersion(
        chunks=len(profiles),
        rows=whole.rows / len(profiles),
        shape=np.maximum(shape, 1.0),
        cells=np.maximum(cells, 1.0),
        rates=np.maximum(rates, 1.0),
        pairs=_pairs(bins, profiles, whole, pairs),
    )


def _feature(cells: Cells, stack: NDArray[Any], rest: NDArray[Any]) -> tuple[float, float]:
    """The factors (shape, cells) of one feature."""
    stack, rest = stack[:, cells.ordered], rest[:, cells.ordered]
    whole = (stack[0] + rest[0]).astype(np.float64)
    least = float(stack.sum(axis=1).min())
    expected = whole * (least / max(whole.sum(), 1.0))
    groups = pool(expected, _POOL)
    freedom = int(groups.max())
    pooled = 1.0
    if freedom > 0:
        turn = np.eye(freedom + 1)[groups]
        pooled = _mean(
            [
                float(pearson(a @ turn, b @ turn)[0]) / freedom
                for a, b in zip(stack, rest, strict=True)
            ]
        )
    if not isinstance(cells, NumberCells):
        return pooled, pooled
    ordered = [float(anderson_darling(a, b)[0]) for a, b in zip(stack, rest, strict=True)]
    return _mean(ordered), pooled


def _rate(cells: Cells, name: str, stack: NDArray[Any], rest: NDArray[Any]) -> float:
    """The factor of one defect's share: mean chi-square of (defect, not) over chunks."""
    codes = cells.groups().get(name)
    if codes is None:
        return 1.0
    values = []
    for a, b in zip(stack, rest, strict=True):
        hits = np.array([a[list(codes)].sum(), b[list(codes)].sum()])
        rows = np.array([a.sum(), b.sum()])
        table = np.stack([hits, rows - hits], axis=1)
        values.append(float(pearson(table[0], table[1])[0]))
    return _mean(values)


def _pairs(bins: Bins, profiles: list[Profile], whole: Profile, pairs: Pairs) -> float:
    """The factor of correlations, over all chunks and trusted pairs."""
    base = _correlation(bins, whole)
    squares: list[float] = []
    for profile in profiles:
        rows = profile.rows
        # a chunk is part of the whole, so its difference has variance 1/rows - 1/all
        inverse = 1 / (1 / rows - 1 / whole.rows)
        z = z_scores(pairs, _correlation(bins, profile), rows, base, whole.rows)
        z *= np.sqrt((1 / rows + 1 / whole.rows) * inverse)
        upper = z[np.triu_indices(len(z), 1)]
        squares.extend((upper[upper != 0] ** 2).tolist())
    return max(1.0, _mean(squares)) if squares else 1.0


def _correlation(bins: Bins, profile: Profile) -> Floats:
    rows = np.array([profile.rows])
    stack = correlation(bins, profile.counts[None], profile.moments[None], rows)
    return np.asarray(stack[0], dtype=np.float64)


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else 1.0
