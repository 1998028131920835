"""Names that move: a ref points at a digest and moves by compare-and-swap."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError
from trimtab.store import ledger, tables
from trimtab.store.database import insert_new
from trimtab.store.workspace import Workspace

ANY: Final = "any"
ABSENT: Final = ""


def get(ws: Workspace, kind: str, name: str) -> str:
    """The digest a ref points at, "" where there is none."""
    table = tables.refs
    query = sa.select(table.c.digest).where(
        table.c.project == ws.project, table.c.kind == kind, table.c.name == name
    )
    with ws.reading() as db:
        return str(db.execute(query).scalar() or ABSENT)


def find(ws: Workspace, kind: str, *, prefix: str = "") -> dict[str, str]:
    """Every ref of a kind whose name begins with `prefix`: name -> digest."""
    table = tables.refs
    query = sa.select(table.c.name, table.c.digest).where(
        table.c.project == ws.project, table.c.kind == kind
    )
    if prefix:
        query = query.where(table.c.name.startswith(prefix, autoescape=True))
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.name)).all()
    # SQLite's LIKE takes a letter for its capital.
    return {row.name: row.digest for row in rows if row.name.startswith(prefix)}


def move(ws: Workspace, kind: str, name: str, digest: str, *, expect: str = ANY) -> None:
    """Point a ref at `digest`, chained in the ledger; a ref that is there already is left alone.

    The digest ABSENT takes the ref away.

    Raises ConflictError where it does not point at `expect` (ABSENT: does not exist) any more.
    """
    table = tables.refs
    with ws.transaction() as tx:
        current = get(ws, kind, name)
        if expect not in (ANY, current):
            raise ConflictError(
                f"{kind} {name!r} moved meanwhile: it points at {current or 'nothing'}"
            )
        if current == digest:
            return
        same = (table.c.project == ws.project) & (table.c.kind == kind) & (table.c.name == name)
        values = {"digest": digest, "updated_at": ids.now()}
        if digest == ABSENT:
            tx.execute(table.delete().where(same))
        elif current:
            tx.execute(table.update().where(same).values(**values))
        else:
            row = {"project": ws.project, "kind": kind, "name": name, **values}
            if not insert_new(ws.engine, table, row):
                raise ConflictError(f"{kind} {name!r} was made meanwhile", hint="try again")
        ledger.append(ws, kind, {"name": name, "from": current, "to": digest})
