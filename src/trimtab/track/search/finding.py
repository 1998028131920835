"""Finding runs: a filter, an order and a page of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.store import listing
from trimtab.store.listing import Latest
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace
from trimtab.track.search import evaluate, index, order
from trimtab.track.search.columns import Mask
from trimtab.track.search.fault import near
from trimtab.track.search.order import Places
from trimtab.track.search.parse import parse
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.tree import (
    Among,
    And,
    Between,
    Compare,
    Field,
    Like,
    Node,
    Not,
    Null,
    Or,
    field_written,
)

MOST: Final = 50_000
"""Runs of one page."""
_NOTED: Final = 5  # each is held against all keys that there are
_EQUAL: Final = ("kind", "name", "status", "parent")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, in which order: a filter and an order as text.

    `kind`, `name`, `status` and `parent` are equalities beside the filter, None for any; `deleted`
    lists those that were deleted too.
    """

    where: str = ""
    order_by: str = ""
    kind: str | None = None
    name: str | None = None
    status: str | None = None
    parent: str | None = None
    deleted: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, how many there are in all, and the token of the next page, "" at the end.

    `notes` say what a filter asks about that no run has.
    """

    table: RunTable
    rows: list[int]
    matched: int
    next: str = ""
    notes: list[str] = []


def find(ws: Workspace, wanted: Wanted, *, limit: int = 100, after: str = "") -> Found:
    """A page of runs; raises QueryError, and UsageError for a token of another question."""
    table = index.table(ws)
    orders = order.read(wanted.order_by)
    mask, notes = chosen(table, wanted)
    matched = int(mask.sum())
    if after:
        mask = mask & _after(table, wanted, orders, after)
    rows = order.places(table, orders, mask, limit + 1).tolist()
    is_last = len(rows) <= limit
    token = "" if is_last else _token(wanted, orders, order.cursor(table, orders, rows[limit - 1]))
    return Found(table=table, rows=rows[:limit], matched=matched, next=token, notes=notes)


def every(ws: Workspace, wanted: Wanted) -> tuple[RunTable, Places]:
    """All runs that are wanted, in order."""
    table = index.table(ws)
    mask, _ = chosen(table, wanted)
    return table, order.places(table, order.read(wanted.order_by), mask)


def chosen(table: RunTable, wanted: Wanted) -> tuple[Mask, list[str]]:
    """The runs that a question keeps, and notes on what it names that no run has."""
    node = parse(wanted.where)
    mask = np.ones(len(table), dtype=np.bool_)
    if not wanted.deleted and table.deleted.any():
        mask &= ~table.deleted
    for key in _EQUAL:
        value = getattr(wanted, key)
        if value is not None:
            mask &= _equal(table, key, value)
    notes: list[str] = []
    if node is not None:
        mask &= evaluate.keep(table, node, ids.now())
        absent = [field for field in dict.fromkeys(asked(node)) if _is_absent(table, field)]
        notes = [_note(table, field) for field in absent[:_NOTED]]
        if len(absent) > _NOTED:
            notes.append(f"and {len(absent) - _NOTED} more fields that no run has")
    return mask, notes


def asked(node: Node) -> Iterator[Field]:
    """The fields that a filter asks about."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from asked(part)
        case Not(inner):
            yield from asked(inner)
        case Compare(field) | Among(field) | Like(field) | Between(field) | Null(field):
            yield field


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs as they are stored, with the last value of each of their series."""

    runs: list[Run]
    metrics: dict[str, Latest]
    matched: int
    next: str = ""
    notes: list[str] = []


def page(ws: Workspace, wanted: Wanted, *, limit: int = 100, after: str = "") -> Page:
    """`find`, with the runs read from the store. A process that asks only for the newest holds nothing."""
    if not (wanted.where or wanted.order_by or after or index.is_held(ws)):
        return _newest(ws, wanted, limit)
    found = find(ws, wanted, limit=limit, after=after)
    runs = [found.table.records[row].id for row in found.rows]
    return Page(
        runs=listing.whole(ws, runs),
        metrics=found.table.lasts(runs),
        matched=found.matched,
        next=found.next,
        notes=found.notes,
    )


def _newest(ws: Workspace, wanted: Wanted, limit: int) -> Page:
    given = {key: getattr(wanted, key) for key in _EQUAL}
    equal = {key: value for key, value in given.items() if value is not None}
    with ws.reading() as db:
        found = listing.newest(db, ws, equal, hidden=wanted.deleted)
        latest = listing.latest(db, ws, found[:limit])
    runs = listing.whole(ws, found[:limit])
    metrics = {run: latest[run] for run in found[:limit] if run in latest}
    end = [runs[-1].started_at, runs[-1].id] if len(found) > limit and runs else None
    token = _token(wanted, (), end) if end else ""
    return Page(runs=runs, metrics=metrics, matched=len(found), next=token)


def _equal(table: RunTable, key: str, value: str) -> Mask:
    if not value:
        return ~table.column(Field("attribute", key)).present
    return evaluate.keep(table, Compare(Field("attribute", key), "=", value), 0)


def _is_absent(table: RunTable, field: Field) -> bool:
    is_key = field.entity in ("metric", "param", "tag")
    return is_key and not table.any_column(field).present.any()


def _note(table: RunTable, field: Field) -> str:
    hint = near(field.key, table.keys(field.entity))
    return f"no run has {field_written(field)}" + (f": {hint}" if hint else "")


def _question(wanted: Wanted, orders: tuple[order.By, ...]) -> str:
    """What a token belongs to."""
    # no JSON: what is typed may hold bytes that are no text, which only repr writes
    return repr([msgspec.structs.astuple(wanted), *map(str, orders)])


def _token(wanted: Wanted, orders: tuple[order.By, ...], cursor: list[Any]) -> str:
    mark = binascii.crc32(_question(wanted, orders).encode())
    plain = msgspec.json.encode([mark, cursor])
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()


def _after(table: RunTable, wanted: Wanted, orders: tuple[order.By, ...], token: str) -> Mask:
    wrong = UsageError(
        "this is no token of a page of this filter and order",
        hint="take `next` of the page before, or leave it out to begin again",
    )
    try:
        plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        mark, cursor = msgspec.json.decode(plain, type=tuple[int, list[Any]])
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise wrong from None
    if mark != binascii.crc32(_question(wanted, orders).encode()):
        raise wrong
    try:
        return order.after(table, orders, cursor)
    except (ValueError, OverflowError):
        raise wrong from None
