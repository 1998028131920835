"""Orders of runs by any fields, and where a page begins in one.

Numbers come before texts, NaN after both and what is missing last, whichever the direction. Runs
that tie are ordered by when they started, the newest first, then by id: as a table has them.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.track.search import columns, fields, parse, tokens
from trimtab.track.search.columns import Column, Mask
from trimtab.track.search.fault import QueryError
from trimtab.track.search.table import Table
from trimtab.track.search.tree import Field, field_written

_MOST: Final = 20
_PIECE = re.compile(r"(?:`[^`]*`|\"[^\"]*\"|[^,`\"])+|[`\"].*", re.DOTALL)
Places = NDArray[np.intp]


class By(NamedTuple):
    """A field to order by."""

    field: Field
    is_down: bool = False

    def __str__(self) -> str:
        return field_written(self.field) + (" desc" if self.is_down else "")


def read(text: str) -> tuple[By, ...]:
    """`metrics.auc desc, started` as fields; raises QueryError."""
    found: list[By] = []
    if len(text) > tokens.MOST:
        raise QueryError(f"an order has at most {tokens.MOST:,} characters", text, tokens.MOST)
    if text.lstrip().startswith(","):
        raise QueryError("a field is missing before the comma", text, text.index(","))
    for piece in _PIECE.finditer(text):
        if not piece[0].strip():
            if text.strip():
                raise QueryError("a field is missing between the commas", text, piece.start())
            continue
        name, is_down = _direction(piece[0].strip())
        try:
            field = parse.field(name)
        except QueryError as error:
            at = piece.start() + len(piece[0]) - len(piece[0].lstrip()) + error.at
            raise QueryError(error.what, text, at, hint=error.hint) from None
        if fields.kind(field) == "several":
            what = f"a run has any number of {name[:40]!r}: it is neither a column nor an order"
            hint = "filter by it, or see `trimtab runs show RUN`"
            raise QueryError(what, text, piece.start(), hint=hint)
        if any(field == one.field for one in found):
            raise QueryError("this field is named twice", text, piece.start())
        if len(found) == _MOST:
            raise QueryError(f"at most {_MOST} fields order runs", text, piece.start())
        found.append(By(field, is_down))
    if text.rstrip().endswith(","):
        raise QueryError("a field is missing after the comma", text, len(text.rstrip()) - 1)
    return tuple(found)


def _direction(piece: str) -> tuple[str, bool]:
    words = piece.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() in ("asc", "desc"):
        return words[0], words[1].lower() == "desc"
    return piece, False


def places(table: Table, orders: tuple[By, ...], mask: Mask, most: int | None = None) -> Places:
    """The places of the runs of a mask, in order; with `most` only the first so many."""
    rows = np.flatnonzero(mask)
    if not orders:
        return rows[:most]
    parts = [
        part[rows] for by in orders for part in keys(table.column(by.field), is_down=by.is_down)
    ]
    useful = [part for part in parts if len(part) and (part != part[0]).any()]
    return rows[np.lexsort((rows, *reversed(useful)))][:most]


def cursor(table: Table, orders: tuple[By, ...], row: int) -> list[Any]:
    """What tells where a run is in an order: its values, when it started, its id."""
    one = table.records[row]
    values: list[Any] = []
    for by in orders:
        value = table.column(by.field).value(row)
        # JSON has neither NaN nor infinities
        values.append({"number": repr(value)} if isinstance(value, float) else value)
    return [*values, one.started, one.id]


def after(table: Table, orders: tuple[By, ...], end: list[Any]) -> Mask:
    """The runs that come after a cursor; raises ValueError where it is none of this order."""
    *values, started, run = end
    if len(values) != len(orders) or not isinstance(started, int) or not isinstance(run, str):
        raise ValueError("a cursor of another order")
    later = np.zeros(len(table), dtype=np.bool_)
    same = np.ones(len(table), dtype=np.bool_)
    for by, value in zip(orders, values, strict=True):
        column = table.column(by.field)
        for mine, its in zip(
            keys(column, is_down=by.is_down), _keys_of(column, value, by.is_down), strict=True
        ):
            later |= same & (mine > its)
            same &= mine == its
    return later | (same & _after_tie(table, started, run))


def _after_tie(table: Table, started: int, run: str) -> Mask:
    row = table.row(run)
    if row is not None and table.records[row].started == started:
        return np.arange(len(table)) > row
    return np.array(
        [(-one.started, one.id) > (-started, run) for one in table.records], dtype=np.bool_
    )


def keys(column: Column, *, is_down: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Tier, number and place of the word of each run, of which the least comes first."""
    is_real = column.is_number & ~np.isnan(column.number)
    is_text = ~column.is_number & (column.code >= 0)
    tier = np.where(column.is_number, 2, 3)
    tier[is_real], tier[is_text] = (1, 0) if is_down else (0, 1)
    sign = -1 if is_down else 1
    number = np.where(is_real, column.number, 0.0) * sign
    return tier, number, np.where(is_text, 2 * column.code, 0) * sign


def _keys_of(column: Column, value: Any, is_down: bool) -> tuple[int, float, int]:
    sign = -1 if is_down else 1
    match value:
        case None:
            return 3, 0.0, 0
        case str():
            place, is_there = columns.place(column.words, value)
            return (0 if is_down else 1), 0.0, (2 * place - (not is_there)) * sign
        case {"number": str(text)}:
            number = float(text)
            return (2, 0.0, 0) if math.isnan(number) else (int(is_down), number * sign, 0)
    raise ValueError("a cursor of another order")
