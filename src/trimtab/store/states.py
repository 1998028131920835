"""Small named states that the monitor and the controller carry from one pass to the next."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from trimtab import ids
from trimtab.store import tables
from trimtab.store.database import insert_new
from trimtab.store.workspace import Workspace


def get(ws: Workspace, name: str) -> Any:
    """The state of that name, or None."""
    table = tables.states
    query = sa.select(table.c.body).where(table.c.project == ws.project, table.c.name == name)
    with ws.reading() as db:
        return db.execute(query).scalar()


def find(ws: Workspace, prefix: str) -> dict[str, Any]:
    """Every state whose name begins with `prefix`, by name."""
    table = tables.states
    query = sa.select(table.c.name, table.c.body).where(
        table.c.project == ws.project,
        table.c.name >= prefix,
        table.c.name < prefix + "\U0010ffff",
    )
    with ws.reading() as db:
        return {str(name): body for name, body in db.execute(query.order_by(table.c.name))}


def put(ws: Workspace, name: str, body: Any) -> None:
    """Replace the state of that name."""
    table = tables.states
    now = ids.now()
    with ws.transaction() as tx:
        if not insert_new(
            ws.engine, table, {"project": ws.project, "name": name, "body": body, "updated_at": now}
        ):
            tx.execute(
                table.update()
                .where(table.c.project == ws.project, table.c.name == name)
                .values(body=body, updated_at=now)
            )
