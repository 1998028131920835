"""Turns values into cell codes: the one hot loop of profiling.

Many numbers go through a table (`steps.py`), few through a binary search; levels through a dictionary,
and the levels of coded text once each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.profile import steps
from trimtab.profile.cells import CategoryCells, Cells, NumberCells, level_hash
from trimtab.profile.columns import Coded, Column, is_missing, numbers, texts

Codes = NDArray[np.int64]
Coder = Callable[[Column], Codes]
Hashes = set[int]
Coding = Callable[[Hashes], Coder]
Search = Callable[[NDArray[np.float64]], Codes]

_WORTH: Final = 10_000
_UNKNOWN: Final = 0x10FFFF
"""The last character; levels are a thousand at most."""
_UNRESOLVED: Final = -2


def coder(cells: Cells) -> Coder:
    """A function from a column to the code of each of its rows."""
    return coding(cells)(set())


def coding(cells: Cells) -> Coding:
    """Coders of one feature for many tables: each adds to its set the hashes of levels that the
    reference does not list. A coder sees each level once, so a table needs a coder of its own.
    """
    if isinstance(cells, NumberCells):
        codes = _number_coder(cells)
        return lambda _: codes
    return _level_coding(cells)


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
    seen = 0

    def search(values: NDArray[np.float64]) -> Codes:
        nonlocal seen
        seen += len(values)
        if not tables and seen >= _WORTH:
            tables.append(steps.table(edges))
        if tables:
            return tables[0](values)
        codes: Codes = np.searchsorted(edges, values, side="right").astype(np.int64)
        return codes

    return search


class _Index(dict[Any, str]):
    """Codes by level, as the characters of these numbers; what is not listed has none.

    Characters become an array by joining them, which is quicker than from numbers one by one.
    """

    def __missing__(self, value: Any) -> str:
        return chr(_UNKNOWN)


class _Levels:
    """The listed levels of a feature and the hashes of its further ones."""

    def __init__(self, cells: CategoryCells) -> None:
        self.listed = len(cells.levels)
        self.missing = self.listed + 2
        self.index = _Index({level: chr(code) for code, level in enumerate(cells.levels)})
        self.index[None] = chr(self.missing)
        self.complete = cells.complete
        self.tail = frozenset(np.frombuffer(cells.tail, dtype="<u8").tolist())

    def resolve(self, known: dict[str, int], value: object, strange: Hashes) -> int:
        """The code of a value outside the listed levels."""
        if not isinstance(value, str):
            return self.listed + (2 if is_missing(value) else 3)
        if value not in known:
            name = level_hash(value)
            strange.add(name)
            known[value] = self.listed + (0 if not self.complete or name in self.tail else 1)
        return known[value]

    def plain(self, values: Sequence[Any] | NDArray[Any], strange: Hashes) -> Codes:
        """The codes of Python values."""
        each = (
            values.flat if isinstance(values, np.ndarray) else values
        )  # quicker than its iterator
        try:
            letters = "".join(map(self.index.__getitem__, each))
        except TypeError:  # an unhashable value
            letters = "".join([_look_up(self.index, value) for value in values])
        raw = letters.encode("utf-32-le", "surrogatepass")
        found = np.frombuffer(raw, dtype="<u4").astype(np.int64)
        known: dict[str, int] = {}
        for row in np.flatnonzero(found == _UNKNOWN).tolist():
            found[row] = self.resolve(known, values[row], strange)
        return found

    def coded(self, column: Coded, table: Codes, strange: Hashes) -> Codes:
        """The codes of coded text; `table` learns the levels that occur."""
        found: Codes = table.take(column.codes, mode="wrap")
        if found.size and found.min() == _UNRESOLVED:
            known: dict[str, int] = {}
            for place in np.unique(column.codes[found == _UNRESOLVED]).tolist():
                level = column.levels[place]
                code = ord(self.index[level])
                table[place] = self.resolve(known, level, strange) if code == _UNKNOWN else code
            found = table.take(column.codes, mode="wrap")
        return found


def _level_coding(cells: CategoryCells) -> Coding:
    levels = _Levels(cells)

    def begin(strange: Hashes) -> Coder:
        tables: dict[int, tuple[tuple[str, ...], Codes]] = {}

        def codes(column: Column) -> Codes:
            if not isinstance(column, Coded):
                # objects are looked up where they lie
                return levels.plain(column if column.dtype == object else texts(column), strange)
            if id(column.levels) not in tables:
                # the levels are kept with the table, so that their id is not given to others
                table = np.full(len(column.levels) + 1, _UNRESOLVED, dtype=np.int64)
                table[-1] = levels.missing
                tables[id(column.levels)] = (column.levels, table)
            return levels.coded(column, tables[id(column.levels)][1], strange)

        return codes

    return begin


def _look_up(index: _Index, value: object) -> str:
    return index[value] if value is None or isinstance(value, str) else chr(_UNKNOWN)
