"""The step cache: what a step key gave last time."""

from __future__ import annotations

import sqlalchemy as sa

from trimtab.store import tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import CachedStep
from trimtab.store.workspace import Workspace


def get(ws: Workspace, key: str) -> CachedStep | None:
    """The step of a key, or None."""
    return get_many(ws, [key]).get(key)


def get_many(ws: Workspace, keys: list[str]) -> dict[str, CachedStep]:
    """The steps of those keys that are known."""
    table = tables.steps
    query = sa.select(table).where(table.c.project == ws.project, table.c.key.in_(keys))
    with ws.reading() as db:
        return {row.key: from_row(CachedStep, row) for row in db.execute(query)}


def put(ws: Workspace, step: CachedStep) -> bool:
    """Remember a step; the first writer of a key wins, and False says that this was not it."""
    return insert_new(ws.engine, tables.steps, to_row(step, project=ws.project))


def last(ws: Workspace, name: str) -> CachedStep | None:
    """The newest remembered step of that name, to say what changed since."""
    table = tables.steps
    query = sa.select(table).where(table.c.project == ws.project, table.c.name == name)
    with ws.reading() as db:
        row = db.execute(query.order_by(table.c.created_at.desc()).limit(1)).first()
    return from_row(CachedStep, row) if row else None


def remove(ws: Workspace, key: str) -> None:
    """Forget a step, because what it made is gone."""
    table = tables.steps
    with ws.transaction() as tx:
        tx.execute(table.delete().where(table.c.project == ws.project, table.c.key == key))
