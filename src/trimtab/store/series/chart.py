"""A series as a picture needs it: for each stretch the least and greatest value, and no more points.

Reads summaries as coarse as the picture allows, so a chart costs its pixels and not the length of its
series; a stretch as short as its points is read as points. Extremes stand where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from trimtab.errors import UsageError
from trimtab.store import database
from trimtab.store.series import chunk, nodes, reading
from trimtab.store.series.nodes import Nodes
from trimtab.store.series.points import NOTHING, Integers, Series, canonical, joined
from trimtab.store.workspace import Workspace

By = Literal["step", "time"]
MOST: Final = 10_000


@dataclass(frozen=True, eq=False)
class Curve:
    """A node (`nodes.NODE`) for each stretch of the axis that has points, in order.

    `points` are those of all nodes, `start` and `end` the first and last place on the axis.
    """

    key: str
    by: By
    points: int
    start: int
    end: int
    nodes: Nodes


@dataclass(frozen=True)
class _Range:
    """A part of the axis, open where an end is None."""

    by: By
    start: int | None
    end: int | None

    def edges(self, found: Nodes) -> tuple[Integers, Integers]:
        """Where nodes begin and end on the axis."""
        names = ("first_step", "last_step") if self.by == "step" else ("since", "until")
        return found[names[0]], found[names[1]]

    def places(self, points: Series) -> Integers:
        """Where points are on the axis."""
        return points.step if self.by == "step" else points.time

    def meets(self, begins: Integers, ends: Integers) -> NDArray[np.bool_]:
        """What reaches into the range."""
        kept = np.ones(len(begins), dtype=np.bool_)
        if self.start is not None:
            kept &= ends >= self.start
        if self.end is not None:
            kept &= begins <= self.end
        return kept


def chart(
    ws: Workspace,
    run: str,
    key: str,
    *,
    stretches: int,
    by: By = "step",
    start: int | None = None,
    end: int | None = None,
) -> Curve:
    """A series in so many stretches of equal width between two steps (or times), both included.

    Values on the edges of a stretch may be counted to its neighbour where summaries are read, never
    left out. Raises UsageError for a number of stretches that is not 1 to `MOST`.
    """
    if not 1 <= stretches <= MOST:
        raise UsageError(f"a chart has 1 to {MOST:,} stretches, not {stretches}")
    wanted = _Range(by, start, end)
    with database.snapshot(ws.engine) as db:
        coarse, fine = _stored(db, ws, run, key, stretches, wanted)
        points = canonical(joined([*fine, reading.tail(db, ws, run, key)]))
    coarse = coarse[wanted.meets(*wanted.edges(coarse))]
    points = points[wanted.meets(wanted.places(points), wanted.places(points))]
    return _drawn(key, wanted, stretches, coarse, points)


def curve(key: str, points: Series, *, stretches: int, by: By = "step") -> Curve:
    """The same of points that are at hand, in order."""
    wanted = _Range(by, None, None)
    return _drawn(key, wanted, stretches, nodes.of_points(NOTHING), points)


def _drawn(key: str, wanted: _Range, stretches: int, coarse: Nodes, points: Series) -> Curve:
    (begins, ends), at = wanted.edges(coarse), wanted.places(points)
    known = np.concatenate([begins, ends, at])
    if not len(known):
        return Curve(key, wanted.by, 0, wanted.start or 0, wanted.end or 0, coarse)
    low = int(known.min()) if wanted.start is None else wanted.start
    high = int(known.max()) if wanted.end is None else wanted.end
    width = max((high - low) / stretches, 1.0)

    def stretch(places: Integers) -> Integers:
        found: Integers = np.clip((places.astype(np.float64) - low) / width, 0, stretches - 1)
        return found.astype(np.int64)

    own = stretch(at)
    order = np.argsort(own, kind="stable")
    numbers, starts = np.unique(own[order], return_index=True)
    parts = np.concatenate([coarse, nodes.of_groups(points[order], starts)])
    groups = np.concatenate([stretch(begins), numbers])
    both = np.lexsort((parts["first_time"], parts["first_step"], groups))
    merged = nodes.merged(parts[both], groups[both])
    return Curve(key, wanted.by, int(merged["points"].sum()), low, high, merged)


def _stored(
    db: sa.Connection, ws: Workspace, run: str, key: str, stretches: int, wanted: _Range
) -> tuple[Nodes, list[Series]]:
    """What is compacted: nodes as coarse as leaves one to a stretch, or else the points."""
    level = _top(db, ws, run, key)
    while True:
        found = reading.nodes(db, ws, run, key, level)
        met = np.flatnonzero(wanted.meets(*wanted.edges(found)))
        if len(met) >= stretches or level == 0:
            break
        level -= 1
    if len(met) >= stretches or not len(met):
        return found, []
    first, last = int(met[0]), int(met[-1])
    if int(found["points"][met].sum()) >= stretches * chunk.INNER:
        rows = reading.summaries(db, ws, run, key, 0, first, last + 1)
        return np.concatenate([chunk.children(data) for _, data in rows]), []
    return found[:0], reading.bodies(db, ws, run, key, first, last)


def _top(db: sa.Connection, ws: Workspace, run: str, key: str) -> int:
    level, count = 0, reading.count(db, ws, run, key)
    while count >= reading.FAN:
        level, count = level + 1, count // reading.FAN
    return level
