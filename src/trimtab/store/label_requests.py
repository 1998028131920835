"""Requests for labels: which answers' truth is asked for, one open request for each endpoint.

The chain records that a request was opened or closed and how many rows it names, never which: the
rows are in a table of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from trimtab.store import ledger, tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import LabelRequest, RequestedLabel
from trimtab.store.workspace import Workspace


def open_request(ws: Workspace, request: LabelRequest, rows: Sequence[RequestedLabel]) -> bool:
    """Open a request with its rows; False where the endpoint has an open one."""
    with ws.transaction() as tx:
        opened = insert_new(ws.engine, tables.label_requests, to_row(request, project=ws.project))
        if opened:
            if rows:
                tx.execute(
                    tables.label_request_rows.insert(),
                    [to_row(one, project=ws.project) for one in rows],
                )
            ledger.append(ws, "label_request", request)
    return opened


def update(ws: Workspace, request: LabelRequest) -> None:
    """Store how far a request is; that it was closed is chained."""
    table = tables.label_requests
    with ws.transaction() as tx:
        tx.execute(
            table.update()
            .where(table.c.project == ws.project, table.c.id == request.id)
            .values(**to_row(request))
        )
        if request.state == "closed":
            ledger.append(ws, "label_request", request)


def find(ws: Workspace, *, endpoint: str = "", state: str = "") -> list[LabelRequest]:
    """Requests, newest first."""
    table = tables.label_requests
    query = sa.select(table).where(table.c.project == ws.project)
    if endpoint:
        query = query.where(table.c.endpoint == endpoint)
    if state:
        query = query.where(table.c.state == state)
    with ws.reading() as db:
        return [
            from_row(LabelRequest, row) for row in db.execute(query.order_by(table.c.id.desc()))
        ]


def rows(ws: Workspace, request: str) -> list[RequestedLabel]:
    """The rows of a request in the order to label them in."""
    table = tables.label_request_rows
    query = sa.select(table).where(table.c.project == ws.project, table.c.request == request)
    with ws.reading() as db:
        return [from_row(RequestedLabel, row) for row in db.execute(query.order_by(table.c.place))]
