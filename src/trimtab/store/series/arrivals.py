"""Which runs have batches that wait to be put in order: a question that needs no array library."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from trimtab.store import tables
from trimtab.store.workspace import Workspace

WORTH: Final = 8
"""Fewer batches than this are read as quickly as they are."""


def waiting(ws: Workspace, *, run: str | None = None, least: int = WORTH) -> list[str]:
    """Runs, or that one, with at least that many batches to take in, most first."""
    table = tables.metric_batches
    count = sa.func.count()
    query = (
        sa.select(table.c.run)
        .where(table.c.project == ws.project, sa.true() if run is None else table.c.run == run)
        .group_by(table.c.run)
        .having(count >= least)
        .order_by(count.desc(), table.c.run)
    )
    with ws.reading() as db:
        return list(db.execute(query).scalars())
