"""Metric series of runs, as points: written in batches, read as if they had never been apart.

A batch is one row (`series.batch`) and is there once the call returns; `series.compaction` makes
chunks of what has arrived, which changes nothing that is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from trimtab.store import statements, tables
from trimtab.store.database import writing
from trimtab.store.records import Point
from trimtab.store.series import batch, few, reading
from trimtab.store.series import points as columns_of
from trimtab.store.series.points import Columns
from trimtab.store.workspace import Workspace


def encode(points: Sequence[Point]) -> bytes:
    """Points as the bytes of one row; raises DataError for a step or time outside of int64."""
    return batch.encode(columns_of.of_points(points))


def decode(data: bytes) -> list[Point]:
    """The points of a row, in order of arrival; raises IntegrityError where the bytes are none."""
    found = batch.decode(data)
    names = [found.keys[number] for number in found.key.tolist()]
    points = found.points
    rows = zip(
        names, points.step.tolist(), points.time.tolist(), points.value.tolist(), strict=True
    )
    return [Point(key=key, step=step, time=time, value=value) for key, step, time, value in rows]


def append(ws: Workspace, run: str, points: Sequence[Point]) -> None:
    """Store points; they are there once this returns."""
    if points:
        append_columns(ws, run, columns_of.of_points(points))


def append_columns(ws: Workspace, run: str, columns: Columns) -> None:
    """Store points that are columns already; they are there once this returns."""
    if len(columns):
        _append(ws, run, batch.encode(columns))


def append_rows(ws: Workspace, run: str, rows: Sequence[few.Row]) -> None:
    """Store points that are rows of 64-bit integers already; they are there once this returns."""
    if rows:
        is_few = len(rows) <= few.MOST
        _append(ws, run, few.encode(rows) if is_few else batch.encode(columns_of.of_rows(rows)))


def _append(ws: Workspace, run: str, body: bytes) -> None:
    with writing(ws.engine) as tx:
        if (
            tx.dialect.name != "sqlite"
        ):  # where several write at once, the next number is one writer's
            held = sa.select(tables.runs.c.id).where(tables.runs.c.id == run)
            tx.execute(held.with_for_update(key_share=True))
        values = {"of_project": ws.project, "of_run": run, "of_body": body}
        statements.write(tx, _next(), [values])


def read(ws: Workspace, run: str, key: str | None = None) -> list[Point]:
    """The points of a run, or of one series of it, by step, time and value; each is there once."""
    return [
        point
        for name, series in reading.read(ws, run, key).items()
        for point in columns_of.to_points(name, series)
    ]


def latest(ws: Workspace, run: str) -> dict[str, float]:
    """The last value of each series: of the highest step, then time, then the greatest."""
    return {key: value for key, (_, _, value) in reading.latest(ws, run).items()}


def keys(ws: Workspace, run: str) -> list[str]:
    """The names of a run's series, sorted."""
    return reading.keys(ws, run)


@lru_cache(1)
def _next() -> Any:
    """The insert of a batch under the next number; what was compacted keeps its numbers."""
    table, marks = tables.metric_batches, tables.metric_marks
    project: sa.BindParameter[str] = sa.bindparam("of_project")
    run: sa.BindParameter[str] = sa.bindparam("of_run")
    last = sa.select(sa.func.max(table.c.seq)).where(table.c.project == project, table.c.run == run)
    through = sa.select(marks.c.through).where(marks.c.project == project, marks.c.run == run)
    known = [sa.func.coalesce(one.scalar_subquery(), 0) for one in (last, through)]
    # once something is compacted, all that is waiting comes after it
    highest = sa.case((known[0] > known[1], known[0]), else_=known[1])
    row = sa.select(project, run, highest + 1, sa.bindparam("of_body"))
    return table.insert().from_select(["project", "run", "seq", "body"], row)
