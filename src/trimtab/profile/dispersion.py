"""How much the reference's own chunks (days, batches, users) differ beyond row-by-row chance.

Factors are 1 where rows are independent; a feature that wobbles from day to day has a larger one,
and so has one whose rows come in bursts from one user. Judging divides by them, so that ordinary
variation never alarms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.bins import Bins
from trimtab.profile.cells import Cells, NumberCells
from trimtab.profile.columns import Column, Columns, is_missing, take, texts
from trimtab.profile.distance import pearson, pool
from trimtab.profile.pairs import Pairs, correlation, z_scores
from trimtab.profile.profile import Counter, Profile, merge, merge_all

Floats = NDArray[np.float64]

RATES: Final = ("missing", "mistyped", "infinite", "far", "outside", "unseen")
LEAST_CHUNKS: Final = 8
LEAST_ROWS: Final = 50
MAX_GROUPS: Final = 100
_POOL: Final = 5.0
_PARTS: Final = 4


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Variance factors at windows of `rows` rows, each with `chunks` degrees of freedom.

    With seasons these are the chunks less all keys but one, without simply the chunks.

    `shape` (features): the leading part of Anderson-Darling, or chi-square over levels. `cells`
    (features): single cells. `rates` (features x `RATES`): defect shares. `pairs`: correlations.
    """

    chunks: int
    rows: float
    shape: Floats
    cells: Floats
    rates: Floats
    pairs: float


def chunk_profiles(
    bins: Bins,
    columns: Columns,
    chunks: NDArray[Any],
    keys: NDArray[np.int64] | None = None,
) -> list[tuple[int, Profile]]:
    """(key, profile) of the chunks in order of their number; one under 50 rows joins the next.

    `keys` (one per row) are seasons: a chunk of several is split, and only equal ones are joined.
    """
    seasons = np.zeros(len(chunks), dtype=np.int64) if keys is None else keys
    order = np.lexsort((seasons, chunks))
    turn = (np.diff(chunks[order]) != 0) | (np.diff(seasons[order]) != 0)
    counter = Counter(bins)
    return joined(
        (int(seasons[rows[0]]), counter.count(take(columns, bins.sources, rows)))
        for rows in np.split(order, np.flatnonzero(turn) + 1)
    )


def joined(profiles: Iterable[tuple[int, Profile]]) -> list[tuple[int, Profile]]:
    """(key, profile), each under 50 rows joined to the next of its key, the last to the one before."""
    result: list[tuple[int, Profile]] = []
    waiting: dict[int, Profile] = {}
    for key, profile in profiles:
        whole = merge(waiting.pop(key), profile) if key in waiting else profile
        if whole.rows >= LEAST_ROWS:
            result.append((key, whole))
        else:
            waiting[key] = whole
    for key, left in waiting.items():
        for place in range(len(result) - 1, -1, -1):
            if result[place][0] == key:
                result[place] = (key, merge(result[place][1], left))
                break
    return result


def dated_profiles(
    bins: Bins, columns: Columns, times: NDArray[np.int64], span: int
) -> list[tuple[int, Profile]]:
    """(start, profile) of every span of time that holds rows, in order and of any size."""
    order = np.argsort(times, kind="stable")
    starts = times[order] // span * span
    counter = Counter(bins)
    return [
        (int(times[rows[0]] // span * span), counter.count(take(columns, bins.sources, rows)))
        for rows in np.split(order, np.flatnonzero(np.diff(starts)) + 1)
    ]


def cluster_profiles(
    bins: Bins,
    columns: Columns,
    entities: Column,
    chunks: NDArray[Any] | None = None,
    keys: NDArray[np.int64] | None = None,
) -> list[tuple[int, Profile]]:
    """Profiles of up to 100 random groups of whole bursts: an entity's rows in one chunk.

    An entity that is None or NaN is a burst of its own in each row. Only rows of one of the `keys`
    are compared.
    """
    bursts = _bursts(entities, chunks)
    number = int(bursts.max()) + 1
    groups = min(MAX_GROUPS, number, len(bursts) // (2 * LEAST_ROWS))
    if groups < LEAST_CHUNKS:
        return []
    turn = np.random.default_rng(number).permutation(number) % groups
    return chunk_profiles(bins, columns, turn[bursts], keys)


def _bursts(entities: Column, chunks: NDArray[Any] | None) -> NDArray[np.int64]:
    """A number from 0 on for every (entity, chunk)."""
    names = texts(entities)
    places: dict[Any, int] = {}
    own = np.array(
        [
            places.setdefault((row,) if is_missing(name) else str(name), len(places))
            for row, name in enumerate(names)
        ],
        dtype=np.int64,
    )
    if chunks is None:
        return own
    _, spans = np.unique(chunks, return_inverse=True)
    _, found = np.unique(own * (int(spans.max()) + 1) + spans, return_inverse=True)
    return np.asarray(found, dtype=np.int64)


def fit_dispersion(
    bins: Bins, profiles: Sequence[tuple[int, Profile]], pairs: Pairs
) -> Dispersion | None:
    """Factors from each chunk against the others of its key; None below 8 degrees of freedom.

    Their leave-one-out statistics have mean 1 where rows are independent.
    """
    by_key: dict[int, list[Profile]] = {}
    for key, profile in profiles:
        by_key.setdefault(key, []).append(profile)
    kept = [some for some in by_key.values() if len(some) > 1]
    chunks = sum(map(len, kept))
    freedom = chunks - (len(kept) - 1)
    if freedom < LEAST_CHUNKS:
        return None
    stack = np.concatenate([np.stack([one.counts for one in some]) for some in kept])
    rest = np.concatenate([_others(np.stack([one.counts for one in some])) for some in kept])
    shape, cells, rates = [], [], []
    for feature, span in zip(bins.features, bins.spans().values(), strict=True):
        own, others = stack[:, span], rest[:, span]
        found = _feature(feature, own, others)
        shape.append(found[0])
        cells.append(found[1])
        rates.append([_rate(feature, name, own, others) for name in RATES])
    return Dispersion(
        chunks=freedom,
        rows=sum(one.rows for some in kept for one in some) / chunks,
        shape=np.maximum(shape, 1.0),
        cells=np.maximum(cells, 1.0),
        rates=np.maximum(rates, 1.0),
        pairs=_pairs(bins, kept, pairs),
    )


def _others(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    rest: NDArray[np.int64] = counts.sum(axis=0) - counts
    return rest


def _feature(cells: Cells, stack: NDArray[Any], rest: NDArray[Any]) -> tuple[float, float]:
    """The factors (shape, cells) of one feature."""
    stack, rest = stack[:, cells.ordered], rest[:, cells.ordered]
    single = _cells(stack, rest)
    return (_line(stack, rest) if isinstance(cells, NumberCells) else single), single


def _line(stack: NDArray[Any], rest: NDArray[Any]) -> float:
    """The factor of the Anderson-Darling statistic's largest part.

    A2 is the sum over j of chi2_j / (j(j+1)), chi2_j the squared difference of the means of the
    j-th Legendre polynomial of the ranks. Days that differ in level wobble in the first alone and
    days that differ in spread in the second, so that the mean of A2 would understate its tail; the
    tail belongs to the part whose chi2_j, over j(j+1), scatters most.
    """
    whole = stack.sum(axis=0) / max(float(stack.sum()), 1.0)
    rank = np.cumsum(whole) - whole / 2
    factors = [1.0]
    for j in range(1, _PARTS + 1):
        value = np.polynomial.legendre.legval(2 * rank - 1, np.eye(_PARTS + 1)[j])
        factors.append(_scatter(value, whole, stack, rest) * 2 / (j * (j + 1)))
    return max(factors)


def _scatter(value: Floats, whole: Floats, stack: NDArray[Any], rest: NDArray[Any]) -> float:
    """The mean squared standardised difference of a cell function's means."""
    variance = float(whole @ (value - whole @ value) ** 2)
    n, total = stack.sum(axis=1), rest.sum(axis=1)
    sound = (n > 0) & (total > 0)
    if variance <= 0 or not sound.any():
        return 1.0
    n, total = n[sound], total[sound]
    gap = stack[sound] @ value / n - rest[sound] @ value / total
    return float(np.mean(gap**2 / (variance * (1 / n + 1 / total))))


def _cells(stack: NDArray[Any], rest: NDArray[Any]) -> float:
    """The factor of cells' shares: their mean, or the largest where it stands out by itself."""
    whole = stack.sum(axis=0).astype(np.float64)
    least = float(stack.sum(axis=1).min())
    groups = pool(whole * (least / max(whole.sum(), 1.0)), _POOL)
    freedom = int(groups.max())
    if freedom == 0:
        return 1.0
    turn = np.eye(freedom + 1)[groups]
    own, others = stack @ turn, rest @ turn
    mean = _mean((pearson(own, others) / freedom).tolist())
    share = own.sum(axis=0) / max(float(own.sum()), 1.0)
    each = [
        _scatter(level, share, own, others)
        for level, part in zip(np.eye(freedom + 1), share, strict=True)
        if part > 0
    ]
    # the mean of M squared normals scatters by sqrt(2/M); its largest of many by this much more
    slack = math.sqrt(2 / len(stack)) * math.sqrt(2 * math.log(20 * len(each)))
    largest = max(each)
    return largest if largest > max(mean, 1.0) * (1 + slack) else mean


def _rate(cells: Cells, name: str, stack: NDArray[Any], rest: NDArray[Any]) -> float:
    """The factor of one defect's share: mean chi-square of (defect, not) over chunks."""
    codes = cells.groups().get(name)
    if codes is None:
        return 1.0
    return _mean(pearson(_split(stack, codes), _split(rest, codes)).tolist())


def _split(counts: NDArray[Any], codes: Sequence[int]) -> NDArray[Any]:
    """Rows in some codes and rows in the others (chunks x 2)."""
    hits = counts[:, list(codes)].sum(axis=1)
    return np.stack([hits, counts.sum(axis=1) - hits], axis=1)


def _pairs(bins: Bins, kept: Sequence[Sequence[Profile]], pairs: Pairs) -> float:
    """The factor of correlations, over all chunks and trusted pairs."""
    squares: list[float] = []
    for some in kept:
        whole = merge_all(bins, some)
        base = _correlation(bins, whole)
        for profile in some:
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
