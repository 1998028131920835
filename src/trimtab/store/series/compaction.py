"""Batches become chunks: each series in order, each point once, with summaries for charts.

What is read is encoded outside of any transaction; one short transaction puts the chunks in and takes
the batches out, and only where nobody else did meanwhile. So ingest never waits for more than that,
readers see a point once at every moment, and a process that dies leaves things as they were.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import numpy as np
import sqlalchemy as sa

from trimtab.store import database, tables
from trimtab.store.database import insert_new
from trimtab.store.series import chunk, nodes, reading
from trimtab.store.series.arrivals import waiting
from trimtab.store.series.nodes import Nodes
from trimtab.store.series.points import Series, canonical, joined
from trimtab.store.series.reading import FAN, FAN_BITS
from trimtab.store.workspace import Workspace

AT_ONCE: Final = 1_000_000
"""Points that one pass takes in at most, and one more batch."""


class _Plan(NamedTuple):
    """What of a series changes: its rows from place `first` of level 0 on become `rows`.

    `replaces` says whether there may be any yet.
    """

    key: str
    first: int
    rows: list[dict[str, Any]]
    replaces: bool


def compact(ws: Workspace, run: str) -> int:
    """Take in what has arrived of a run; returns how many batches, 0 where somebody else was first.

    One pass of `AT_ONCE` points at most: call it again until it returns 0.
    """
    with database.snapshot(ws.engine) as db:
        mark = _mark(db, ws, run)
        taken = list(reading.arrived(db, ws, run, AT_ONCE))
        parts: dict[str, list[Series]] = {}
        for _, columns in taken:
            for key, part in columns.series().items():
                parts.setdefault(key, []).append(part)
        known = reading.stored_keys(db, ws, run)
        plans = [
            _plan(db, ws, run, key, canonical(joined(found)), is_known=key in known)
            for key, found in sorted(parts.items())
        ]
    return len(taken) if taken and _swap(ws, run, mark, taken[-1][0], plans) else 0


def tidy(ws: Workspace, *, run: str | None = None, seconds: float = 1.0) -> int:
    """Take in what has arrived of a run, or of every one, where it is worth it, for about so long.

    Returns how many batches were taken in.
    """
    end, taken = time.monotonic() + seconds, 0
    for one in waiting(ws, run=run):
        found = compact(ws, one)
        while found:
            taken += found
            if time.monotonic() > end:
                return taken
            found = compact(ws, one)
    return taken


def _plan(
    db: sa.Connection, ws: Workspace, run: str, key: str, new: Series, *, is_known: bool
) -> _Plan:
    """The rows of a series with new points: chunks that lie before all of them stay as they are."""
    first, old = _overlapping(db, ws, run, key, new) if is_known else (0, [])
    whole = canonical(joined([*old, new]))
    pieces = [whole[begin : begin + chunk.MOST] for begin in range(0, len(whole), chunk.MOST)]
    rows, made = [], []
    for place, piece in enumerate(pieces, start=first):
        inner = nodes.of_series(piece, chunk.INNER)
        made.append(nodes.grouped(inner, len(inner)))
        rows.append(_row(ws, run, key, 0, place, chunk.summary(inner), chunk.encode(piece)))
    return _Plan(key, first, rows + _above(db, ws, run, key, first, made), replaces=is_known)


def _overlapping(
    db: sa.Connection, ws: Workspace, run: str, key: str, new: Series
) -> tuple[int, list[Series]]:
    """From which place on chunks must be made anew, and their points."""
    old: list[Series] = []
    place = reading.count(db, ws, run, key)
    while place:
        ((_, summary),) = reading.summaries(db, ws, run, key, 0, place - 1, place)
        if _lies_before(summary, new):
            break
        place -= 1
        old[:0] = reading.bodies(db, ws, run, key, place, place)
    return place, old


def _above(
    db: sa.Connection, ws: Workspace, run: str, key: str, first: int, made: list[Nodes]
) -> list[dict[str, Any]]:
    """Summaries of higher levels: one for every `FAN` of the level below, once there are as many.

    `made` are the totals of the rows from place `first` of the level below on, which are new.
    """
    rows: list[dict[str, Any]] = []
    level = 1
    while first + len(made) >= FAN:
        changed, whole = first // FAN, (first + len(made)) // FAN
        before = reading.summaries(db, ws, run, key, level - 1, changed * FAN, first)
        below = [*(chunk.total(data) for _, data in before), *made]
        made = []
        for place in range(whole - changed):
            inner = np.concatenate(below[place * FAN : (place + 1) * FAN])
            made.append(nodes.grouped(inner, FAN))
            rows.append(_row(ws, run, key, level, changed + place, chunk.summary(inner), b""))
        first, level = changed, level + 1
    return rows


def _lies_before(summary: bytes, new: Series) -> bool:
    """Whether a chunk is full and all of it comes before all new points."""
    (one,) = chunk.total(summary)
    last = (int(one["last_step"]), int(one["last_time"]))
    return int(one["points"]) == chunk.MOST and last < (int(new.step[0]), int(new.time[0]))


def _row(
    ws: Workspace, run: str, key: str, level: int, place: int, summary: bytes, body: bytes
) -> dict[str, Any]:
    return {"project": ws.project, "run": run, "key": key, "level": level, "place": place,
            "summary": summary, "body": body}  # fmt: skip


def _swap(ws: Workspace, run: str, mark: int, through: int, plans: list[_Plan]) -> bool:
    table, batches, marks = tables.metric_chunks, tables.metric_batches, tables.metric_marks
    mine = (marks.c.project == ws.project) & (marks.c.run == run)
    with ws.transaction() as tx:
        insert_new(ws.engine, marks, {"project": ws.project, "run": run, "through": 0})
        moved = tx.execute(
            marks.update().where(mine, marks.c.through == mark).values(through=through)
        )
        if moved.rowcount != 1:
            return False
        for plan in plans:
            if plan.replaces:
                tx.execute(_replaced(ws, run, plan))
        tx.execute(table.insert(), [row for plan in plans for row in plan.rows])
        tx.execute(
            batches.delete().where(
                batches.c.project == ws.project, batches.c.run == run, batches.c.seq <= through
            )
        )
    return True


def _replaced(ws: Workspace, run: str, plan: _Plan) -> sa.Delete:
    """The rows that a plan makes anew; a place of a level above is that of its first chunk / FAN^level."""
    table = tables.metric_chunks
    bits = sa.cast(table.c.level * FAN_BITS, sa.Integer)  # PostgreSQL shifts by no wider one
    return table.delete().where(
        table.c.project == ws.project,
        table.c.run == run,
        table.c.key == plan.key,
        table.c.place >= sa.literal(plan.first, sa.BigInteger).op(">>")(bits),
    )


def _mark(db: sa.Connection, ws: Workspace, run: str) -> int:
    table = tables.metric_marks
    query = sa.select(table.c.through).where(table.c.project == ws.project, table.c.run == run)
    return int(db.execute(query).scalar() or 0)
