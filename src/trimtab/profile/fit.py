"""Makes the frozen bins from the reference's rows: quantile cells, atoms, levels, normal scores.

Numeric features get up to 256 cells of equal reference mass, fewer where rows are few, and a cell
of their own for up to 16 values that hold over 1 % of the rows each. Categories list their 1,000
most frequent levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.profile.bins import Bins
from trimtab.profile.cells import (
    MAX_ATOMS,
    MAX_CELLS,
    MAX_LEVELS,
    MAX_TAIL,
    SCORE_SCALE,
    CategoryCells,
    Cells,
    NumberCells,
    level_hash,
)
from trimtab.profile.columns import Column, Columns, Kind, kind_of, numbers, row_count, texts

_ATOM_SHARE: Final = 0.01
_ATOM_ROWS: Final = 5
_CELL_ROWS: Final = 8
_NORMAL: Final = NormalDist()


def fit(columns: Columns, kinds: Mapping[str, Kind] | None = None) -> Bins:
    """The bins of a reference table.

    `kinds` fixes a column's kind where its dtype does not say (a code kept as a number). Raises
    DataError on an empty table, ragged columns, or a dtype that cannot be profiled.
    """
    if row_count(columns) == 0:
        raise DataError(
            "a reference needs rows and this table has none", hint="fit it on the training rows"
        )
    kinds = kinds or {}
    return Bins(
        features=tuple(
            _fit_numbers(name, column)
            if (kinds.get(name) or kind_of(name, column)) == "number"
            else _fit_levels(name, column)
            for name, column in columns.items()
        )
    )


def _fit_numbers(name: str, column: Column) -> Cells:
    found = numbers(column)
    finite = found.values[np.isfinite(found.values)]
    if finite.size == 0:
        return NumberCells(name=name, bounds=(np.inf,), atoms=(), scores=(0,) * 9)
    values, counts = np.unique(finite, return_counts=True)
    atoms = _atoms(values, counts)
    bounds = _bounds(values, counts, atoms)
    codes = np.searchsorted(bounds, values, side="right") - 1
    mass = np.zeros(len(bounds) + 8)
    mass[3:-6] = np.bincount(codes, weights=counts, minlength=len(bounds) - 1)
    mass[0], mass[-4] = np.sum(found.values == -np.inf), np.sum(found.values == np.inf)
    return NumberCells(
        name=name,
        bounds=tuple(bounds.tolist()),
        atoms=tuple(np.searchsorted(bounds, atoms).tolist()),
        scores=(*_scores(mass[:-3]), 0, 0, 0),
    )


def _atoms(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The up to 16 heaviest values that hold over 1 % of the rows and at least 5, ascending."""
    least = max(_ATOM_SHARE * counts.sum(), _ATOM_ROWS - 1)
    heavy = np.flatnonzero(counts > least)
    top = heavy[np.argsort(-counts[heavy], kind="stable")][:MAX_ATOMS]
    return np.sort(values[top])


def _bounds(
    values: NDArray[np.float64], counts: NDArray[np.int64], atoms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ascending cell bounds: equal-mass edges of the other rows, and both ends of each atom."""
    rest = ~np.isin(values, atoms)
    edges = np.empty(0)
    if rest.any():
        below = np.cumsum(counts[rest]) - counts[rest]
        rows = int(counts[rest].sum())
        cells = max(1, min(MAX_CELLS - len(atoms), rows // _CELL_ROWS))
        targets = np.arange(cells) * (rows / cells)
        starts = np.minimum(np.searchsorted(below, targets, side="left"), len(below) - 1)
        edges = values[rest][starts]
    with np.errstate(over="ignore"):  # above the largest float lies infinity, a fine last bound
        after = np.nextafter([*atoms, values[-1]], np.inf)
    return np.unique(np.concatenate([values[:1], edges, atoms, after]))


def _fit_levels(name: str, column: Column) -> Cells:
    seen = Counter(value for value in texts(column) if isinstance(value, str))
    order = sorted(seen, key=lambda level: (-seen[level], level))
    # a level seen once among thousands is an identifier or free text: keep only its hash
    least = 1 if len(order) <= MAX_LEVELS else 2
    levels = [level for level in order[:MAX_LEVELS] if seen[level] >= least]
    rest = order[len(levels) :]
    complete = len(rest) <= MAX_TAIL
    hashes = np.array(sorted(map(level_hash, rest)) if complete else [], dtype="<u8")
    other = sum(seen[level] for level in rest)
    mass = np.array([*(seen[level] for level in levels), other], dtype=np.float64)
    sizes = Counter(seen.values())
    return CategoryCells(
        name=name,
        levels=tuple(levels),
        tail=hashes.tobytes(),
        complete=complete,
        once=sizes[1],
        twice=sizes[2],
        scores=(*_scores(mass), 0, 0, 0),
    )


def _scores(mass: NDArray[np.float64]) -> list[int]:
    """The normal score of each cell's middle rank, in steps of 1/`SCORE_SCALE`."""
    total = float(mass.sum())
    if total == 0:
        return [0] * len(mass)
    middle = (np.cumsum(mass) - mass / 2) / total
    safe = np.clip(middle, 1 / (4 * total), 1 - 1 / (4 * total))
    return [round(_NORMAL.inv_cdf(rank) * SCORE_SCALE) for rank in safe.tolist()]
