"""Turns values into cell codes: the one hot loop of profiling.

Numbers go through a table of 4,096 even steps that answers most values with one comparison and
hands the rest to a binary search, so that codes are exact whatever the table holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.cells import CategoryCells, Cells, NumberCells, level_hash
from trimtab.profile.columns import Column, is_missing, numbers, texts

Codes = NDArray[np.int64]
Coder = Callable[[Column], Codes]

_STEPS: Final = 4_096
_UNKNOWN: Final = -1


def coder(cells: Cells) -> Coder:
    """A function from a column to the code of each of its rows."""
    return _number_coder(cells) if isinstance(cells, NumberCells) else _level_coder(cells)


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


def _searcher(edges: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], Codes]:
    """`searchsorted(edges, values, side="right")`, about four times faster on smooth columns.

    `step` is monotone in its argument, so all edges of lower steps lie below a value and all edges
    of higher ones above it; only edges of the value's own step need comparing.
    """
    trim = 2 + max(1, len(edges) // 50)
    inner = edges[trim : -trim - 1].tolist() or [0.0]
    low, width = inner[0], inner[-1] - inner[0]
    scale = _STEPS / width if width > 0 else math.inf
    if not (math.isfinite(low) and 0 < scale < math.inf):

        def plain(values: NDArray[np.float64]) -> Codes:
            codes: Codes = np.searchsorted(edges, values, side="right").astype(np.int64)
            return codes

        return plain

    def step(values: NDArray[np.float64]) -> NDArray[np.intp]:
        # infinities and 1e308 overflow to the end steps, NaN goes to step 0: both are searched
        with np.errstate(over="ignore", invalid="ignore"):
            place = np.fmax(np.fmin((values - low) * scale, _STEPS), -1.0)
        steps: NDArray[np.intp] = place.astype(np.intp) + 1
        return steps

    own = step(edges[:-1])
    every = np.arange(_STEPS + 2)
    below = np.searchsorted(own, every, side="left")
    among = np.searchsorted(own, every, side="right") - below
    only = np.where(among > 0, edges[below], np.inf)
    hard = among > 1
    hard[[0, -1]] = True

    def search(values: NDArray[np.float64]) -> Codes:
        at = step(values)
        codes: Codes = below[at] + (values >= only[at])
        rest = np.flatnonzero(hard[at])
        codes[rest] = np.searchsorted(edges, values[rest], side="right")
        return codes

    return search


def _level_coder(cells: CategoryCells) -> Coder:
    index: dict[Any, int] = {level: code for code, level in enumerate(cells.levels)}
    index[None] = len(cells.levels) + 2
    tail = frozenset(np.frombuffer(cells.tail, dtype="<u8").tolist())

    def codes(column: Column) -> Codes:
        values = texts(column)
        try:
            found = np.fromiter(map(index.get, values, repeat(_UNKNOWN)), np.int64, len(values))
        except TypeError:  # an unhashable value
            found = np.array([_look_up(index, value) for value in values], dtype=np.int64)
        known: dict[str, int] = {}
        for row in np.flatnonzero(found == _UNKNOWN).tolist():
            found[row] = _resolve(cells, tail, known, values[row])
        return found

    return codes


def _look_up(index: dict[Any, int], value: object) -> int:
    return index.get(value, _UNKNOWN) if value is None or isinstance(value, str) else _UNKNOWN


def _resolve(
    cells: CategoryCells, tail: frozenset[int], known: dict[str, int], value: object
) -> int:
    """The code of a value outside the listed levels."""
    first = len(cells.levels)
    if not isinstance(value, str):
        return first + (2 if is_missing(value) else 3)
    if value not in known:
        seen = not cells.complete or level_hash(value) in tail
        known[value] = first if seen else first + 1
    return known[value]
