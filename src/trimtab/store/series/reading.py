"""Reading series: what is compacted and what has arrived since, as one, at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from trimtab.store import database, tables
from trimtab.store.series import batch, chunk, newest
from trimtab.store.series.nodes import NODE, Nodes
from trimtab.store.series.points import NOTHING, Columns, Series, canonical, joined
from trimtab.store.workspace import Workspace

FAN_BITS: Final = 4
FAN: Final = 1 << FAN_BITS
"""How many summaries of one level the next joins."""
_END: Final = 2**62


def read(ws: Workspace, run: str, key: str | None = None) -> dict[str, Series]:
    """All points of a run's series, or of one of them, each in order; keys are sorted."""
    with database.snapshot(ws.engine) as db:
        parts = {name: [part] for name, part in _arrived(db, ws, run, key).items()}
        for name, part in _stored(db, ws, run, key):
            parts.setdefault(name, []).append(part)
    return {name: canonical(joined(parts[name])) for name in sorted(parts)}


def latest(ws: Workspace, run: str) -> dict[str, tuple[int, int, float]]:
    """Step, time and value of the last point of each series; keys are sorted."""
    with database.snapshot(ws.engine) as db:
        return newest.ends(db, ws, [run]).get(run, {})


def keys(ws: Workspace, run: str) -> list[str]:
    """The names of a run's series, sorted."""
    with database.snapshot(ws.engine) as db:
        return sorted(stored_keys(db, ws, run) | _arrived(db, ws, run, None).keys())


def stored_keys(db: sa.Connection, ws: Workspace, run: str) -> set[str]:
    """The names of a run's series that have chunks."""
    table = tables.metric_chunks
    query = sa.select(table.c.key).where(
        table.c.project == ws.project,
        table.c.run == run,
        table.c.level == 0,
        table.c.place == 0,
    )
    return set(db.execute(query).scalars())


def count(db: sa.Connection, ws: Workspace, run: str, key: str) -> int:
    """How many chunks a series has."""
    table = tables.metric_chunks
    query = sa.select(sa.func.max(table.c.place)).where(
        table.c.project == ws.project,
        table.c.run == run,
        table.c.key == key,
        table.c.level == 0,
    )
    found = db.execute(query).scalar()
    return 0 if found is None else int(found) + 1


def arrived(db: sa.Connection, ws: Workspace, run: str, most: int) -> Iterator[tuple[int, Columns]]:
    """The number and points of batches that are not compacted, oldest first, of `most` points or
    one more batch.
    """
    table, count = tables.metric_batches, 0
    query = (
        sa.select(table.c.seq, table.c.body)
        .where(table.c.project == ws.project, table.c.run == run)
        .order_by(table.c.seq)
    )
    for seq, body in db.execute(query):
        if count >= most:
            return
        columns = batch.decode(body)
        count += len(columns)
        yield seq, columns


def summaries(
    db: sa.Connection,
    ws: Workspace,
    run: str,
    key: str,
    level: int,
    first: int = 0,
    end: int = _END,
) -> list[tuple[int, bytes]]:
    """Place and summary of a series' rows of a level, from a place to before another, in order."""
    table = tables.metric_chunks
    query = (
        sa.select(table.c.place, table.c.summary)
        .where(
            table.c.project == ws.project,
            table.c.run == run,
            table.c.key == key,
            table.c.level == level,
            table.c.place >= first,
            table.c.place < end,
        )
        .order_by(table.c.place)
    )
    return [(place, data) for place, data in db.execute(query)]


def nodes(db: sa.Connection, ws: Workspace, run: str, key: str, level: int) -> Nodes:
    """The nodes of a level over a whole series: 0 are chunks, each next one `FAN` of the one before.

    The end of the series, which is not `FAN` of anything yet, is there in nodes of lower levels.
    """
    above = summaries(db, ws, run, key, level + 1)
    parts = [chunk.children(data) for _, data in above]
    first = len(above) * FAN
    for down in range(level, -1, -1):
        rows = summaries(db, ws, run, key, down, first)
        parts += [chunk.total(data) for _, data in rows]
        first = (first + len(rows)) * FAN
    return np.concatenate(parts) if parts else np.zeros(0, dtype=NODE)


def bodies(
    db: sa.Connection, ws: Workspace, run: str, key: str, first: int, last: int
) -> list[Series]:
    """The points of a series' chunks from a place to another, both included, in order."""
    table = tables.metric_chunks
    query = (
        sa.select(table.c.body)
        .where(
            table.c.project == ws.project,
            table.c.run == run,
            table.c.key == key,
            table.c.level == 0,
            table.c.place.between(first, last),
        )
        .order_by(table.c.place)
    )
    return [chunk.decode(body) for body in db.execute(query).scalars()]


def _stored(
    db: sa.Connection, ws: Workspace, run: str, key: str | None
) -> Iterator[tuple[str, Series]]:
    table = tables.metric_chunks
    query: Any = sa.select(table.c.key, table.c.body).where(
        table.c.project == ws.project, table.c.run == run, table.c.level == 0
    )
    if key is not None:
        query = query.where(table.c.key == key)
    for name, body in db.execute(query.order_by(table.c.key, table.c.place)):
        yield name, chunk.decode(body)


def _arrived(db: sa.Connection, ws: Workspace, run: str, key: str | None) -> dict[str, Series]:
    parts: dict[str, list[Series]] = {}
    table = tables.metric_batches
    query = sa.select(table.c.body).where(table.c.project == ws.project, table.c.run == run)
    for body in db.execute(query.order_by(table.c.seq)).scalars():
        columns = batch.decode(body)
        found = columns.series() if key is None else {key: columns.of(key)}
        for name, part in found.items():
            if len(part):
                parts.setdefault(name, []).append(part)
    return {name: joined(found) for name, found in parts.items()}


def tail(db: sa.Connection, ws: Workspace, run: str, key: str) -> Series:
    """The points of a series that are not compacted, in order."""
    return canonical(_arrived(db, ws, run, key).get(key, NOTHING))
