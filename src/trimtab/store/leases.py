"""Leases: one holder at a time, until a moment."""

from __future__ import annotations

from trimtab import ids
from trimtab.store import tables
from trimtab.store.database import insert_new
from trimtab.store.workspace import Workspace


def acquire(ws: Workspace, name: str, holder: str, seconds: float) -> bool:
    """Take or renew a lease; False where somebody else holds it."""
    table = tables.leases
    with ws.transaction() as tx:
        # Read here, because the transaction may have waited for its turn.
        now = ids.now()
        until = now + int(seconds * 1_000_000)
        row = {"project": ws.project, "name": name, "holder": holder, "expires_at": until}
        if insert_new(ws.engine, table, row):
            return True
        taken = tx.execute(
            table.update()
            .where(
                table.c.project == ws.project,
                table.c.name == name,
                (table.c.holder == holder) | (table.c.expires_at < now),
            )
            .values(holder=holder, expires_at=until)
        )
        return taken.rowcount == 1


def release(ws: Workspace, name: str, holder: str) -> None:
    """Give a lease back; one that somebody else holds is left alone."""
    table = tables.leases
    with ws.transaction() as tx:
        tx.execute(
            table.delete().where(
                table.c.project == ws.project, table.c.name == name, table.c.holder == holder
            )
        )
