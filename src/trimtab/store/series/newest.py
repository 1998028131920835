"""The last point of every series of some runs or of all, read at once: what a list of runs shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any

import sqlalchemy as sa

from trimtab.store import tables
from trimtab.store.series import batch, chunk
from trimtab.store.series.points import Columns, canonical
from trimtab.store.statements import in_parts
from trimtab.store.workspace import Workspace

End = tuple[int, int, float]
"""Step, time in microseconds and value of the last point of a series."""


def ends(
    db: sa.Connection, ws: Workspace, runs: Sequence[str] | None = None
) -> dict[str, dict[str, End]]:
    """Run -> key -> its last point in the canonical order, keys sorted; runs without one are left out."""
    found: dict[str, dict[str, End]] = {}
    for some in parts(runs):
        # batches first: what is compacted meanwhile is read twice, the other way round not at all
        for run, body in db.execute(_batches(ws, some)):
            _take(found.setdefault(run, {}), batch.decode(body))
        for run, key, summary in db.execute(_summaries(ws, some)):
            _put(found.setdefault(run, {}), key, _end(summary))
    return {run: dict(sorted(mine.items())) for run, mine in found.items()}


def parts(runs: Sequence[str] | None) -> Iterable[Sequence[str] | None]:
    """Ids a statement at a time; None, which is all, as it is."""
    return [None] if runs is None else in_parts(runs)


def _batches(ws: Workspace, runs: Sequence[str] | None) -> Any:
    table = tables.metric_batches
    query = sa.select(table.c.run, table.c.body).where(table.c.project == ws.project)
    if runs is not None:
        query = query.where(table.c.run.in_(runs))
    return query.order_by(table.c.run, table.c.seq)


def _summaries(ws: Workspace, runs: Sequence[str] | None) -> Any:
    """Of each series the summary of its last chunk."""
    table = tables.metric_chunks
    mine = (table.c.project == ws.project) & (table.c.level == 0)
    if runs is not None:
        mine &= table.c.run.in_(runs)
    newest = sa.select(table.c.run, table.c.key, sa.func.max(table.c.place).label("place"))
    last = newest.where(mine).group_by(table.c.run, table.c.key).subquery()
    same = (table.c.run == last.c.run) & (table.c.key == last.c.key)
    query = sa.select(table.c.run, table.c.key, table.c.summary)
    return query.join(last, same & (table.c.place == last.c.place)).where(mine)


def _end(summary: bytes) -> End:
    one = chunk.total(summary)
    return int(one["last_step"][0]), int(one["last_time"][0]), float(one["last"][0])


def _take(known: dict[str, End], columns: Columns) -> None:
    """Let the last points of a batch be those of their series, where they are later."""
    points = columns.points
    if len(set(columns.key.tolist())) < len(columns):
        for key, part in columns.series().items():
            one = canonical(part)[-1:]
            _put(known, key, (int(one.step[0]), int(one.time[0]), float(one.value[0])))
        return
    for number, *end in zip(
        columns.key.tolist(), points.step.tolist(), points.time.tolist(), points.value.tolist(),
        strict=True,
    ):  # fmt: skip
        _put(known, columns.keys[number], (end[0], end[1], end[2]))


def _put(known: dict[str, End], key: str, end: End) -> None:
    now = known.get(key)
    if now is None or _order(end) > _order(now):
        known[intern(key)] = end


def _order(end: End) -> tuple[int, int, bool, float, float]:
    """The canonical order, in which NaN comes before all numbers and -0 before 0."""
    step, time, value = end
    if math.isnan(value):
        return step, time, False, 0.0, 0.0
    return step, time, True, value, math.copysign(1.0, value)
