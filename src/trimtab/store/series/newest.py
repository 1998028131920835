"""The last point of every series of many runs at once: what a list of runs shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from trimtab.store import database, tables
from trimtab.store.series import batch, chunk
from trimtab.store.series.points import Series, canonical, joined
from trimtab.store.workspace import Workspace

AT_ONCE: Final = 500
Latest = dict[str, tuple[int, int, float]]
"""Step, time and value of the last point of each series."""


def newest(ws: Workspace, runs: Sequence[str]) -> dict[str, Latest]:
    """What `reading.latest` says of each run, in two queries for every `AT_ONCE` of them."""
    found: dict[str, Latest] = {run: {} for run in runs}
    for begin in range(0, len(runs), AT_ONCE):
        some = list(runs[begin : begin + AT_ONCE])
        with database.snapshot(ws.engine) as db:
            for run, key, summary in db.execute(_chunks(ws, some)):
                one = chunk.total(summary)[0]
                found[run][key] = (int(one["last_step"]), int(one["last_time"]), float(one["last"]))
            parts: dict[tuple[str, str], list[Series]] = {}
            for run, body in db.execute(_batches(ws, some)):
                for key, part in batch.decode(body).series().items():
                    parts.setdefault((run, key), []).append(part)
        for (run, key), arrived in parts.items():
            known = found[run].get(key)
            last = _last(arrived)
            found[run][key] = last if known is None else _later(known, last)
    return found


def _last(parts: list[Series]) -> tuple[int, int, float]:
    whole = parts[0] if len(parts) == 1 else joined(parts)
    one = whole if len(whole) == 1 else canonical(whole)[-1:]
    return int(one.step[0]), int(one.time[0]), float(one.value[0])


def _later(one: tuple[int, int, float], other: tuple[int, int, float]) -> tuple[int, int, float]:
    """The later of two points in the canonical order, in which NaN comes before all values."""
    return max(one, other, key=_place)


def _place(point: tuple[int, int, float]) -> tuple[int, int, bool, float, float]:
    step, time, value = point
    if math.isnan(value):
        return step, time, False, 0.0, 0.0
    return step, time, True, value, math.copysign(1.0, value)


def _chunks(ws: Workspace, runs: list[str]) -> Any:
    table = tables.metric_chunks
    mine = (table.c.project == ws.project) & table.c.run.in_(runs) & (table.c.level == 0)
    place = sa.func.max(table.c.place).label("place")
    last = sa.select(table.c.run, table.c.key, place).where(mine).group_by(table.c.run, table.c.key)
    found = last.subquery()
    matches = (table.c.run == found.c.run) & (table.c.key == found.c.key)
    return (
        sa.select(table.c.run, table.c.key, table.c.summary)
        .join(found, matches & (table.c.place == found.c.place))
        .where(mine)
    )


def _batches(ws: Workspace, runs: list[str]) -> Any:
    table = tables.metric_batches
    query = sa.select(table.c.run, table.c.body)
    mine = (table.c.project == ws.project) & table.c.run.in_(runs)
    return query.where(mine).order_by(table.c.run, table.c.seq)
