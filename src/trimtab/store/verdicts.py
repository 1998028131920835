"""Verdicts: append-only, every batch chained into the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from trimtab.store import ledger, tables
from trimtab.store.chained import settled
from trimtab.store.database import from_row, to_row
from trimtab.store.records import Verdict
from trimtab.store.workspace import Workspace


def append(ws: Workspace, batch: Sequence[Verdict]) -> None:
    """Store a batch of verdicts as one ledger entry.

    Raises ConflictError where an id is stored already, DataError for a field of the wrong type.
    """
    if not batch:
        return
    kept = settled(Verdict, list(batch))
    with ws.transaction() as tx:
        seq = ledger.append(ws, "verdict", kept)
        tx.execute(
            tables.verdicts.insert(), [to_row(one, project=ws.project, seq=seq) for one in kept]
        )


def find(
    ws: Workspace,
    *,
    subject: str | None = None,
    place: str | None = None,
    ids: Collection[str] | None = None,
    limit: int = 1000,
) -> list[Verdict]:
    """Verdicts, newest first; with `ids` only those."""
    table = tables.verdicts
    query = sa.select(table).where(table.c.project == ws.project)
    for column, value in ((table.c.subject, subject), (table.c.place, place)):
        if value is not None:
            query = query.where(column == value)
    if ids is not None:
        query = query.where(table.c.id.in_(ids))
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.seq.desc(), table.c.id).limit(limit)).all()
    return [from_row(Verdict, row) for row in rows]
