"""Estimates of quality without labels, a row for each window and metric; and episodes of trouble."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from trimtab.store import tables
from trimtab.store.database import from_row, to_row
from trimtab.store.records import Episode, WindowEstimate
from trimtab.store.workspace import Workspace


def save(ws: Workspace, found: Sequence[WindowEstimate]) -> None:
    """Insert or replace estimates: a window that has grown is estimated anew."""
    table = tables.estimates
    with ws.transaction() as tx:
        for one in found:
            tx.execute(
                table.delete().where(
                    table.c.project == ws.project,
                    table.c.endpoint == one.endpoint,
                    table.c.model == one.model,
                    table.c.metric == one.metric,
                    table.c.start == one.start,
                )
            )
            tx.execute(table.insert().values(**to_row(one, project=ws.project)))


def find(
    ws: Workspace, endpoint: str, *, model: str = "", metric: str = "", since: int = 0
) -> list[WindowEstimate]:
    """Estimates of an endpoint's windows that start at `since` or later, in order of time."""
    table = tables.estimates
    query = sa.select(table).where(
        table.c.project == ws.project, table.c.endpoint == endpoint, table.c.start >= since
    )
    if model:
        query = query.where(table.c.model == model)
    if metric:
        query = query.where(table.c.metric == metric)
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.start, table.c.metric))
        return [from_row(WindowEstimate, row) for row in rows]


def save_episode(ws: Workspace, episode: Episode) -> None:
    """Insert or replace an episode, known by its kind and beginning."""
    table = tables.episodes
    with ws.transaction() as tx:
        tx.execute(
            table.delete().where(
                table.c.project == ws.project,
                table.c.endpoint == episode.endpoint,
                table.c.model == episode.model,
                table.c.kind == episode.kind,
                table.c.since == episode.since,
            )
        )
        tx.execute(table.insert().values(**to_row(episode, project=ws.project)))


def episodes(ws: Workspace, endpoint: str, *, model: str = "", kind: str = "") -> list[Episode]:
    """The episodes of an endpoint in order of time."""
    table = tables.episodes
    query = sa.select(table).where(table.c.project == ws.project, table.c.endpoint == endpoint)
    if model:
        query = query.where(table.c.model == model)
    if kind:
        query = query.where(table.c.kind == kind)
    with ws.reading() as db:
        return [from_row(Episode, row) for row in db.execute(query.order_by(table.c.since))]
