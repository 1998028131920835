"""What is known about an artifact beside its bytes."""

from __future__ import annotations

import sqlalchemy as sa

from trimtab.errors import NotFoundError
from trimtab.store import tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace


def record(ws: Workspace, artifact: Artifact) -> None:
    """Note an artifact; one that is known already keeps what was noted first."""
    insert_new(ws.engine, tables.artifacts, to_row(artifact, project=ws.project))


def get(ws: Workspace, digest: str) -> Artifact:
    """An artifact by its digest; raises NotFoundError."""
    table = tables.artifacts
    with ws.reading() as db:
        row = db.execute(
            sa.select(table).where(table.c.project == ws.project, table.c.digest == digest)
        ).first()
    if row is None:
        raise NotFoundError(f"there is no artifact {digest}")
    return from_row(Artifact, row)


def find(ws: Workspace, *, kind: str | None = None, limit: int | None = 1000) -> list[Artifact]:
    """Artifacts, newest first; `limit` None gives all."""
    table = tables.artifacts
    query = sa.select(table).where(table.c.project == ws.project)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    with ws.reading() as db:
        rows = db.execute(
            query.order_by(table.c.created_at.desc(), table.c.digest).limit(limit)
        ).all()
    return [from_row(Artifact, row) for row in rows]
