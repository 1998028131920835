"""The step cache: what a step key gave last time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from trimtab.store import tables
from trimtab.store.database import from_row, insert, insert_new, to_row
from trimtab.store.records import CachedStep
from trimtab.store.statements import read, write
from trimtab.store.workspace import Workspace

# Asked for every step of every plan: made once, not for each.
_BY_KEY: Final = sa.select(tables.steps).where(
    tables.steps.c.project == sa.bindparam("project"), tables.steps.c.key == sa.bindparam("key")
)


def get(ws: Workspace, key: str) -> CachedStep | None:
    """The step of a key, or None."""
    with ws.reading() as db:
        found = read(db, _BY_KEY, {"project": ws.project, "key": key}, CachedStep)
    return found[0] if found else None


def get_many(ws: Workspace, keys: list[str]) -> dict[str, CachedStep]:
    """The steps of those keys that are known."""
    table = tables.steps
    query = sa.select(table).where(table.c.project == ws.project, table.c.key.in_(keys))
    with ws.reading() as db:
        return {row.key: from_row(CachedStep, row) for row in db.execute(query)}


def put(ws: Workspace, step: CachedStep) -> bool:
    """Remember a step; the first writer of a key wins, and False says that this was not it."""
    return insert_new(ws.engine, tables.steps, to_row(step, project=ws.project))


def replace(ws: Workspace, steps: Sequence[CachedStep]) -> None:
    """Remember steps in place of what their keys gave before."""
    with ws.transaction() as tx:
        rows = [to_row(step, project=ws.project) for step in steps]
        write(tx, replace_statement(ws.engine.dialect.name), rows)


@lru_cache(maxsize=2)
def replace_statement(dialect: str) -> Any:
    """The statement of `replace`, made once."""
    table = tables.steps
    made = insert(dialect, table)
    keys = [column.name for column in table.primary_key]
    changed = {c.name: made.excluded[c.name] for c in table.columns if c.name not in keys}
    return made.on_conflict_do_update(index_elements=keys, set_=changed)


def last(ws: Workspace, names: Collection[str]) -> dict[str, CachedStep]:
    """The newest remembered step of each name that has one, to say what changed since."""
    table = tables.steps
    newest = (
        sa.select(table.c.name, sa.func.max(table.c.created_at))
        .where(table.c.project == ws.project, table.c.name.in_(names))
        .group_by(table.c.name)
    )
    query = sa.select(table).where(
        table.c.project == ws.project,
        sa.tuple_(table.c.name, table.c.created_at).in_(newest),
    )
    with ws.reading() as db:
        return {row.name: from_row(CachedStep, row) for row in db.execute(query)}


def remove(ws: Workspace, key: str) -> None:
    """Forget a step, because what it made is gone."""
    table = tables.steps
    with ws.transaction() as tx:
        tx.execute(table.delete().where(table.c.project == ws.project, table.c.key == key))
