"""Makes the frozen bins from the reference's rows: quantile cells, atoms, levels, normal scores.

Numeric features get up to 256 cells of equal reference mass, fewer where rows are few, and a cell
of their own for up to 16 values that hold over 1 % of the rows each. Categories list their 1,000
most frequent levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.profile.bins import Bins, Joint
from trimtab.profile.cells import (
    MAX_ATOMS,
    MAX_CELLS,
    MAX_LEVELS,
    MAX_TAIL,
    SCORE_SCALE,
    CategoryCells,
    NumberCells,
    level_hash,
)
from trimtab.profile.coder import coder
from trimtab.profile.columns import (
    Coded,
    Column,
    Columns,
    Kind,
    embeddings,
    kind_of,
    numbers,
    row_count,
    texts,
)
from trimtab.profile.derived import Projection, TextParts, fit_projection
from trimtab.profile.scales import SCALES

_ATOM_SHARE: Final = 0.01
_ATOM_ROWS: Final = 5
_CELL_ROWS: Final = 8
_NORMAL: Final = NormalDist()
SCORE: Final = "__score__"
_PARTS: Final = 20
_SLICES: Final = 100


def fit(
    columns: Columns,
    kinds: Mapping[str, Kind] | None = None,
    *,
    slices: Collection[str] = (),
) -> Bins:
    """The bins of a reference table.

    `kinds` fixes a column's kind where its dtype does not say: a code kept as a number, free text,
    an embedding (two-dimensional, or a vector in each row). `slices` are columns that are counted
    jointly with `__score__` and are no features by that. Raises DataError on an empty table, ragged
    columns, a dtype that cannot be profiled, or slices without a score.
    """
    kinds = kinds or {}
    if row_count(columns, embeddings(kinds)) == 0:
        raise DataError(
            "a reference needs rows and this table has none", hint="fit it on the training rows"
        )
    features: list[NumberCells | CategoryCells] = []
    derived: list[TextParts | Projection] = []
    for name, column in columns.items():
        if name in SCALES or (name in slices and name not in kinds):
            continue
        kind = kinds.get(name) or kind_of(name, column)
        if kind == "number":
            features.append(_fit_numbers(name, column))
        elif kind == "category":
            features.append(_fit_levels(name, column))
        else:
            made = TextParts(column=name) if kind == "text" else fit_projection(name, column)
            derived.append(made)
            for part, values in made.expand(column).items():
                fitted = _fit_levels if values.dtype.kind == "O" else _fit_numbers
                features.append(fitted(part, values))
    found = tuple(features)
    joints = [_fit_joint(name, columns, found) for name in dict.fromkeys(slices)]
    return Bins(features=found, derived=tuple(derived), joints=tuple(joints))


def _fit_joint(
    name: str, columns: Columns, features: Iterable[NumberCells | CategoryCells]
) -> Joint:
    """A slice's cells and the twentieths of the score's reference mass."""
    score = next((cells for cells in features if cells.name == SCORE), None)
    if score is None or name not in columns:
        what = f"no column {name!r}" if score else f"no {SCORE!r} to count it with"
        raise DataError(
            f"slice {name!r} cannot be counted: there is {what}",
            hint="slices are columns of the table beside the model's score",
        )
    column = columns[name]
    if kind_of(name, column) == "number" and len(np.unique(numbers(column).values)) > _SLICES:
        cells: NumberCells | CategoryCells = _fit_numbers(name, column, most=_SLICES)
    else:
        cells = _fit_levels(name, column, most=_SLICES)
    mass = np.bincount(coder(score)(columns[SCORE]), minlength=score.size).astype(np.float64)
    ordered = mass[score.ordered]
    middle = (np.cumsum(ordered) - ordered / 2) / max(ordered.sum(), 1.0)
    groups = np.full(score.size, _PARTS)
    groups[score.ordered] = np.minimum(middle * _PARTS, _PARTS - 1).astype(np.int64)
    return Joint(slice=cells, feature=SCORE, groups=tuple(groups.tolist()))


def _fit_numbers(name: str, column: Column, most: int = MAX_CELLS) -> NumberCells:
    found = numbers(column)
    finite = found.values[np.isfinite(found.values)]
    if finite.size == 0:
        return NumberCells(name=name, bounds=(np.inf,), atoms=(), scores=(0,) * 9)
    values, counts = np.unique(finite, return_counts=True)
    atoms = _atoms(values, counts)
    bounds = _bounds(values, counts, atoms, most)
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
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    atoms: NDArray[np.float64],
    most: int = MAX_CELLS,
) -> NDArray[np.float64]:
    """Ascending cell bounds: equal-mass edges of the other rows, and both ends of each atom."""
    rest = ~np.isin(values, atoms)
    edges = np.empty(0)
    if rest.any():
        below = np.cumsum(counts[rest]) - counts[rest]
        rows = int(counts[rest].sum())
        cells = max(1, min(most - len(atoms), rows // _CELL_ROWS))
        targets = np.arange(cells) * (rows / cells)
        starts = np.minimum(np.searchsorted(below, targets, side="left"), len(below) - 1)
        edges = values[rest][starts]
    with np.errstate(over="ignore"):  # above the largest float lies infinity, a fine last bound
        after = np.nextafter([*atoms, values[-1]], np.inf)
    return np.unique(np.concatenate([values[:1], edges, atoms, after]))


def _fit_levels(name: str, column: Column, most: int = MAX_LEVELS) -> CategoryCells:
    seen = _seen(column)
    order = sorted(seen, key=lambda level: (-seen[level], level))
    # a level seen once among thousands is an identifier or free text: keep only its hash
    least = 1 if len(order) <= most else 2
    levels = [level for level in order[:most] if seen[level] >= least and _writable(level)]
    listed = set(levels)
    rest = [level for level in order if level not in listed]
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


def _seen(column: Column) -> Counter[str]:
    """How many rows have each level."""
    if not isinstance(column, Coded):
        return Counter(value for value in texts(column) if isinstance(value, str))
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.levels))
    pairs = zip(column.levels, counts.tolist(), strict=True)
    return Counter({level: rows for level, rows in pairs if rows})


def _writable(level: str) -> bool:
    """Whether a level can be stored as text: half of a surrogate pair is kept as a hash only."""
    try:
        level.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scores(mass: NDArray[np.float64]) -> list[int]:
    """The normal score of each cell's middle rank, in steps of 1/`SCORE_SCALE`."""
    total = float(mass.sum())
    if total == 0:
        return [0] * len(mass)
    middle = (np.cumsum(mass) - mass / 2) / total
    safe = np.clip(middle, 1 / (4 * total), 1 - 1 / (4 * total))
    return [round(_NORMAL.inv_cdf(rank) * SCORE_SCALE) for rank in safe.tolist()]
