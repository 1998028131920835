"""Evidence: append-only, every batch chained into the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from trimtab.store import ledger, tables
from trimtab.store.chained import settled
from trimtab.store.database import from_row, to_row
from trimtab.store.records import Evidence
from trimtab.store.workspace import Workspace


def append(ws: Workspace, batch: Sequence[Evidence]) -> None:
    """Store a batch of evidence as one ledger entry.

    Raises ConflictError where an id is stored already, DataError for a field of the wrong type.
    """
    if not batch:
        return
    kept = settled(Evidence, list(batch))
    with ws.transaction() as tx:
        seq = ledger.append(ws, "evidence", kept)
        tx.execute(
            tables.evidence.insert(), [to_row(one, project=ws.project, seq=seq) for one in kept]
        )


def find(
    ws: Workspace,
    *,
    subject: str | None = None,
    metric: str | None = None,
    window: str | None = None,
    limit: int = 1000,
) -> list[Evidence]:
    """Evidence, newest first."""
    table = tables.evidence
    query = sa.select(table).where(table.c.project == ws.project)
    wanted = ((table.c.subject, subject), (table.c.metric, metric), (table.c.window, window))
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.seq.desc(), table.c.id).limit(limit)).all()
    return [from_row(Evidence, row) for row in rows]
