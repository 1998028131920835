"""Which rows to ask the truth of: the telling ones most often, and every one with a known chance.

Rows are cut into strata by how unsure the model was and whether they lie where the inputs moved; a
stratum gets rows by its share and its variance (Neyman 1934) but never fewer than a fair part, drawn
at random without replacement. The order interleaves the strata, so that whoever stops early still
has a sample that can be weighted back to all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST: Final = 10
_FAIR: Final = 0.5
"""At least this part of a proportional share goes to each stratum."""


class Drawn(NamedTuple):
    """Row `row` of the population, drawn from `stratum` with `probability`, in the order to label."""

    row: int
    stratum: int
    probability: float


def needed(
    spread: float, rows: int, expected: float, bound: float | None, *, level_z: float = 1.96
) -> int:
    """How many labels tell a metric from its bound: (z * sd of one row / gap)^2.

    `spread` is the metric's standard error on `rows` rows. The gap is between what is expected and
    the bound, kept between 0.02 and 0.1 of the metric's size of 1 (0.05 without a bound).
    """
    size = max(1.0, abs(expected))
    gap = 0.05 * size if bound is None else min(max(abs(expected - bound), 0.02 * size), 0.1 * size)
    return max(50, min(2_000, int(np.ceil((level_z * spread * rows**0.5 / gap) ** 2))))


def strata(unsure: Floats, moved: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The stratum of each row: thirds by how unsure the model was (0 the surest third), plus 3 where
    a row lies in cells that inputs moved to.
    """
    cuts = np.quantile(unsure, [1 / 3, 2 / 3]) if len(unsure) else np.zeros(2)
    found: NDArray[np.int64] = np.searchsorted(cuts, unsure, side="right").astype(np.int64)
    return found if moved is None else found + 3 * moved


def draw(
    stratum: NDArray[np.int64], spread: Floats, wanted: int, random: np.random.Generator
) -> list[Drawn]:
    """`wanted` rows (or all there are); `spread` is the standard deviation of each row's outcome."""
    kinds, place, sizes = np.unique(stratum, return_inverse=True, return_counts=True)
    wanted = min(wanted, len(stratum))
    if not wanted:
        return []
    deviation = np.bincount(place, spread) / sizes
    counts = _allocate(sizes, deviation, wanted)
    found = []
    for k, kind in enumerate(kinds.tolist()):
        mine = random.permutation(np.flatnonzero(place == k))[: counts[k]]
        share = counts[k] / sizes[k]
        # the r-th of a stratum's rows comes at about r / counts of the way
        keys = (np.arange(len(mine)) + random.random(len(mine))) / max(len(mine), 1)
        found += [
            (key, Drawn(row, kind, share))
            for key, row in zip(keys.tolist(), mine.tolist(), strict=True)
        ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def back(stratum: NDArray[np.int64], sizes: dict[int, int]) -> Floats:
    """The weight of each labelled row: rows of its stratum over labelled rows of it."""
    have = {kind: int((stratum == kind).sum()) for kind in set(stratum.tolist())}
    return np.array([sizes[one] / have[one] for one in stratum.tolist()])


def _allocate(sizes: NDArray[Any], deviation: Floats, wanted: int) -> NDArray[np.int64]:
    """Rows per stratum: at least a fair part each, the rest by size times deviation."""
    fair = np.minimum(sizes, np.maximum(_LEAST, np.floor(_FAIR * wanted * sizes / sizes.sum())))
    counts = np.minimum(fair, sizes).astype(np.int64)
    while (left := wanted - int(counts.sum())) > 0:
        free = sizes - counts
        pull = sizes * np.maximum(deviation, 1e-6) * (free > 0)
        more = np.minimum(free, np.floor(left * pull / pull.sum())).astype(np.int64)
        if not more.any():
            more[int(np.argmax(pull))] = 1
        counts += more
    return np.asarray(counts, dtype=np.int64)


def names(drifted: Sequence[str]) -> dict[int, str]:
    """The strata in words."""
    levels = ("sure", "in between", "unsure")
    where = f" where {', '.join(drifted[:3])} moved to" if drifted else " in moved cells"
    plain = dict(enumerate(levels))
    return plain | {level + 3: said + where for level, said in plain.items()}
