"""Turns values into cell codes: the one hot loop of profiling.

Numbers go through a table of even steps, of the value or of its bits, that answers most values with
one look and hands the rest to comparisons, so that codes are exact whatever the table holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.cells import CategoryCells, Cells, NumberCells, level_hash
from trimtab.profile.columns import Coded, Column, is_missing, numbers, texts

Codes = NDArray[np.int64]
Coder = Callable[[Column], Codes]
Hashes = set[int]
Search = Callable[[NDArray[np.float64]], Codes]

_STEPS: Final = 16_384
_AMONG: Final = 2
_WORTH: Final = 10_000
_UNKNOWN: Final = -1
_UNRESOLVED: Final = -2


def coder(cells: Cells, strange: Hashes | None = None) -> Coder:
    """A function from a column to the code of each of its rows.

    Hashes of levels that the reference does not list are added to `strange`.
    """
    if isinstance(cells, NumberCells):
        return _number_coder(cells)
    return _level_coder(cells, set() if strange is None else strange)


def _number_coder(cells: NumberCells) -> Coder:
    search = _searcher(np.array(cells.edges))
    base = cells.inner + 6

    def codes(column: Column) -> Codes:
        found = numbers(column)
        result = search(found.values)
        if found.nan is not None:
            result[found.nan] = base + 1
        if found.odd is not None:
            result[found.odd] = base + 2
        return result

    return codes


def _searcher(edges: NDArray[np.float64]) -> Search:
    """`searchsorted(edges, values, side="right")`; many values pay for a table, few do not."""
    tables: list[Search] = []

    def search(values: NDArray[np.float64]) -> Codes:
        if not tables and len(values) >= _WORTH:
            tables.append(_table(edges))
        if tables:
            return tables[0](values)
        codes: Codes = np.searchsorted(edges, values, side="right").astype(np.int64)
        return codes

    return search


def _table(edges: NDArray[np.float64]) -> Search:
    """The same about five times faster on most columns.

    A step is monotone in its value, so all edges of lower steps lie below a value and all edges of
    higher ones above it; only edges of the value's own step need comparing, and most have none.
    Positive numbers over several magnitudes are stepped by their bits, which grow like a logarithm.
    """
    trim = 2 + max(1, len(edges) // 50)
    inner = edges[trim : -trim - 1]
    steppers = [one for one in (_even_steps(inner), _bit_steps(inner)) if one is not None]
    if not steppers:

        def plain(values: NDArray[np.float64]) -> Codes:
            codes: Codes = np.searchsorted(edges, values, side="right").astype(np.int64)
            return codes

        return plain
    # edges hold equal mass between them: the fewer share a step the fewer rows need a search
    step = min(steppers, key=lambda one: _crowded(one(inner, True)))
    own = step(edges[:-1], True)
    every = np.arange(_STEPS + 2)
    below = np.searchsorted(own, every, side="left")
    among = np.searchsorted(own, every, side="right") - below
    # no number reaches NaN, infinity does reach infinity
    first = np.where(among > 0, edges[below], np.nan)
    second = np.where(among > 1, edges[np.minimum(below + 1, len(edges) - 1)], np.nan)
    hard = among > _AMONG
    hard[0] = True
    hard[own[-1] :] = True  # from infinity on: the bits of NaN come next to it
    table = np.where((among == 0) & ~hard, below, _UNKNOWN)

    def search(values: NDArray[np.float64]) -> Codes:
        at = step(values, False)
        codes: Codes = table.take(at, mode="clip")
        rest = np.flatnonzero(codes < 0)
        if rest.size:
            own_values, own_steps = values[rest], np.clip(at[rest], 0, _STEPS + 1)
            found = below[own_steps] + (own_values >= first[own_steps])
            found += own_values >= second[own_steps]
            left = np.flatnonzero(hard[own_steps])
            found[left] = np.searchsorted(edges, own_values[left], side="right")
            codes[rest] = found
        return codes

    return search


Stepper = Callable[[NDArray[np.float64], bool], NDArray[np.intp]]
"""Numbers to steps from 0 to `_STEPS` + 1, in their order; without the order those beyond either end
may come out as any integer beyond either end, and what is no number too."""


def _even_steps(inner: NDArray[np.float64]) -> Stepper | None:
    """Steps 1 to `_STEPS` of even width over `inner`, others for values outside and NaN."""
    ends = inner[[0, -1]].tolist() if inner.size else [0.0, 0.0]
    low, width = ends[0], ends[1] - ends[0]
    scale = _STEPS / width if width > 0 else math.inf
    if not (math.isfinite(low) and 0 < scale < math.inf):
        return None
    before = low - 1 / scale

    def step(values: NDArray[np.float64], ordered: bool) -> NDArray[np.intp]:
        # NaN, infinities and 1e308 become some integer at either end, and both ends are searched
        with np.errstate(over="ignore", invalid="ignore"):
            place = values - before
            place *= scale
            if ordered:
                place = place.clip(0, _STEPS + 1)
            steps: NDArray[np.intp] = place.astype(np.intp)
        return steps

    return step


def _bit_steps(inner: NDArray[np.float64]) -> Stepper | None:
    """The same for positive `inner`, by the leading bits of a float64, which ascend with it."""
    if not inner.size or not 0 < inner[0] < inner[-1] < math.inf:
        return None
    low, high = np.ascontiguousarray(inner[[0, -1]]).view(np.int64).tolist()
    shift = max((high - low) // _STEPS, 1).bit_length()
    base = low >> shift

    def step(values: NDArray[np.float64], ordered: bool) -> NDArray[np.intp]:
        # negative numbers have the sign bit and fall below, infinities and NaN fall on either end
        place = np.ascontiguousarray(values).view(np.int64) >> shift
        place -= base - 1
        if ordered:
            place = place.clip(0, _STEPS + 1)
        steps: NDArray[np.intp] = place.astype(np.intp, copy=False)
        return steps

    return step


def _crowded(steps: NDArray[np.intp]) -> int:
    """How many edges are not alone in their step, one more of which costs a comparison each."""
    _, counts = np.unique(steps, return_counts=True)
    return int(counts[counts > 1].sum())


def _level_coder(cells: CategoryCells, strange: Hashes) -> Coder:
    index: dict[Any, int] = {level: code for code, level in enumerate(cells.levels)}
    index[None] = len(cells.levels) + 2
    tail = frozenset(np.frombuffer(cells.tail, dtype="<u8").tolist())
    tables: dict[int, tuple[tuple[str, ...], Codes]] = {}

    def resolve(known: dict[str, int], value: object) -> int:
        """The code of a value outside the listed levels."""
        listed = len(cells.levels)
        if not isinstance(value, str):
            return listed + (2 if is_missing(value) else 3)
        if value not in known:
            name = level_hash(value)
            strange.add(name)
            known[value] = listed + (0 if not cells.complete or name in tail else 1)
        return known[value]

    def coded(column: Coded) -> Codes:
        if id(column.levels) not in tables:
            # the levels are kept with the table, so that their id is not given to others
            size = len(column.levels) + 1
            table = np.full(size, _UNRESOLVED, dtype=np.int64)
            table[-1] = index[None]
            tables[id(column.levels)] = (column.levels, table)
        levels, table = tables[id(column.levels)]
        found: Codes = table.take(column.codes, mode="wrap")
        if (found == _UNRESOLVED).any():
            known: dict[str, int] = {}
            for place in np.unique(column.codes[found == _UNRESOLVED]).tolist():
                code = index.get(levels[place], _UNKNOWN)
                table[place] = resolve(known, levels[place]) if code == _UNKNOWN else code
            found = table.take(column.codes, mode="wrap")
        return found

    def codes(column: Column) -> Codes:
        if isinstance(column, Coded):
            return coded(column)
        values = texts(column)
        try:
            found = np.fromiter(map(index.get, values, repeat(_UNKNOWN)), np.int64, len(values))
        except TypeError:  # an unhashable value
            found = np.array([_look_up(index, value) for value in values], dtype=np.int64)
        known: dict[str, int] = {}
        for row in np.flatnonzero(found == _UNKNOWN).tolist():
            found[row] = resolve(known, values[row])
        return found

    return codes


def _look_up(index: dict[Any, int], value: object) -> int:
    return index.get(value, _UNKNOWN) if value is None or isinstance(value, str) else _UNKNOWN
