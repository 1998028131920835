"""Runs in groups that share a field's value, and numbers of each group."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.store.workspace import Workspace
from trimtab.track.reports import Group, Groups
from trimtab.track.search import fields, finding, order, parse
from trimtab.track.search.fault import QueryError, near
from trimtab.track.search.finding import Wanted
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.tree import Field, field_written

Numbers = NDArray[np.float64]
FUNCTIONS: Final[dict[str, Callable[[Numbers], Any]]] = {
    "count": len,
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
    "std": lambda values: np.std(values, ddof=1) if len(values) > 1 else np.nan,
}
_CALL = re.compile(r"\s*,?\s*(?:(\w+)\s*(?:\(([^()]*)\))?)")
_MOST: Final = 8


class Shown(NamedTuple):
    """A number of a group: a function of a field, of the runs themselves where there is none."""

    function: str
    field: Field | None = None

    def __str__(self) -> str:
        return f"{self.function}({field_written(self.field)})" if self.field else self.function


def group(
    ws: Workspace, wanted: Wanted, *, by: str, show: str = "count", limit: int = 1000
) -> Groups:
    """Groups by fields such as `params.depth, kind`, with numbers such as `mean(metrics.auc) count`.

    `wanted.order_by` names what is shown or grouped by, with asc or desc; by default groups are in
    the order of what they share. NaN, and runs that lack a field, are left out of its numbers.
    """
    keys, numbers = fields_of(by), shown_of(show)
    ordered = _order(wanted.order_by, [str(one) for one in numbers], keys)
    mine = msgspec.structs.replace(wanted, order_by="")
    table, rows = finding.every(ws, mine)
    _, notes = finding.chosen(table, mine)
    found = _grouped(table, rows, keys, numbers)
    for place, is_down in reversed(ordered):
        found = _sorted(found, place, len(keys), is_down)
    if len(found) > limit:
        notes = [*notes, f"{len(found) - limit:,} more groups are not shown"]
    return Groups(
        by=[field_written(one) for one in keys],
        show=[str(one) for one in numbers],
        groups=found[:limit],
        matched=len(rows),
        notes=notes,
    )


def fields_of(text: str) -> list[Field]:
    """The fields of `params.depth, kind`; raises QueryError."""
    found = [one.field for one in order.read(text)]
    if not found:
        raise QueryError("a field to group by is missing", text, 0, hint="such as params.depth")
    if len(found) > _MOST:
        raise QueryError(f"runs are grouped by at most {_MOST} fields", text, 0)
    return found


def shown_of(text: str) -> list[Shown]:
    """The numbers of `mean(metrics.auc) count`, by spaces or commas; raises QueryError."""
    found: list[Shown] = []
    place = 0
    while text[place:].strip(" ,\n\t"):
        match = _CALL.match(text, place)
        if match is None:
            raise QueryError("a function of a field is expected here", text, place, hint=_EXAMPLE)
        function, inner = match[1].lower(), match[2]
        if function not in FUNCTIONS:
            hint = near(function, FUNCTIONS)
            raise QueryError(f"there is no {match[1]!r} of groups", text, match.start(1), hint=hint)
        found.append(Shown(function, _inner(text, match, function, inner)))
        place = match.end()
    if not found or len(found) > 4 * _MOST:
        raise QueryError(f"1 to {4 * _MOST} numbers are shown of a group", text, 0, hint=_EXAMPLE)
    return found


_EXAMPLE: Final = "such as mean(metrics.auc) max(duration) count"


def _inner(text: str, match: re.Match[str], function: str, inner: str | None) -> Field | None:
    if inner is None or not inner.strip():
        if function == "count":
            return None
        raise QueryError(f"{function} is of a field", text, match.start(1), hint=_EXAMPLE)
    try:
        field = parse.field(inner)
    except QueryError as error:
        raise QueryError(error.what, text, match.start(2) + error.at, hint=error.hint) from None
    if fields.kind(field) == "several":
        raise QueryError("a run has any number of these", text, match.start(2))
    if function == "sum" and fields.kind(field) == "moment":
        raise QueryError("moments have no sum", text, match.start(1), hint="sum(duration) has one")
    return field


def _grouped(
    table: RunTable, rows: order.Places, keys: list[Field], numbers: list[Shown]
) -> list[Group]:
    if not len(rows):
        return []
    columns = [table.column(one) for one in keys]
    parts = [part[rows] for column in columns for part in order.keys(column, is_down=False)]
    sorting = np.lexsort((rows, *reversed(parts)))
    rows, parts = rows[sorting], [part[sorting] for part in parts]
    changes = np.zeros(len(rows), dtype=np.bool_)
    for part in parts:
        changes[1:] |= part[1:] != part[:-1]
    starts = np.r_[0, np.flatnonzero(changes)]
    ends = np.r_[starts[1:], len(rows)]
    return [
        Group(
            key=[column.value(int(rows[start])) for column in columns],
            runs=int(end - start),
            shown=[_number(table, one, rows[start:end]) for one in numbers],
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _number(table: RunTable, shown: Shown, rows: order.Places) -> float | None:
    if shown.field is None:
        return len(rows)
    column = table.column(shown.field)
    if shown.function == "count":
        return int(column.present[rows].sum())
    values = column.number[rows][column.is_number[rows]]
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        found = float(FUNCTIONS[shown.function](values))
    return None if np.isnan(found) else found


def _order(text: str, shown: list[str], keys: Sequence[Field]) -> list[tuple[int, bool]]:
    """Columns to order by: those shown count from 0, those grouped by from -len(keys)."""
    found: list[tuple[int, bool]] = []
    names = {one: place for place, one in enumerate(shown)}
    names |= {field_written(one): place - len(keys) for place, one in enumerate(keys)}
    for piece in filter(str.strip, text.split(",")):
        words = piece.split()
        is_down = words[-1].lower() == "desc"
        name = " ".join(words[:-1] if words[-1].lower() in ("asc", "desc") else words)
        if name not in names:
            hint = near(name, names)
            raise QueryError("this is not shown of the groups", text, text.index(piece), hint=hint)
        found.append((names[name], is_down))
    return found


def _sorted(found: list[Group], place: int, keys: int, is_down: bool) -> list[Group]:
    def value(one: Group) -> float | str | None:
        return one.shown[place] if place >= 0 else one.key[keys + place]

    present = [one for one in found if value(one) is not None]
    texts = [one for one in present if isinstance(value(one), str)]
    numbers = [one for one in present if not isinstance(value(one), str)]
    for some in (texts, numbers):
        some.sort(key=value, reverse=is_down)  # type: ignore[arg-type]
    rest = [one for one in found if value(one) is None]
    return [*(texts if is_down else numbers), *(numbers if is_down else texts), *rest]
