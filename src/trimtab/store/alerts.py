"""Alerts on their way, and how often an incident was seen: what changes too often to be chained."""

from __future__ import annotations

import sqlalchemy as sa

from trimtab import ids
from trimtab.store import tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import Alert, Sighting
from trimtab.store.workspace import Workspace


def put(ws: Workspace, alert: Alert) -> bool:
    """Write an alert down before it is sent; False where its id is known."""
    return insert_new(ws.engine, tables.alerts, to_row(alert, project=ws.project))


def due(ws: Workspace, now: int) -> list[Alert]:
    """Alerts that wait and whose time has come, oldest first."""
    table = tables.alerts
    query = (
        sa.select(table)
        .where(table.c.project == ws.project, table.c.state == "waiting", table.c.next_at <= now)
        .order_by(table.c.created_at, table.c.id)
    )
    with ws.reading() as db:
        return [from_row(Alert, row) for row in db.execute(query)]


def of_incident(ws: Workspace, incident: str) -> list[Alert]:
    """The alerts of an incident, oldest first."""
    table = tables.alerts
    query = (
        sa.select(table)
        .where(table.c.project == ws.project, table.c.incident == incident)
        .order_by(table.c.created_at, table.c.id)
    )
    with ws.reading() as db:
        return [from_row(Alert, row) for row in db.execute(query)]


def of_open(ws: Workspace) -> dict[str, list[Alert]]:
    """The alerts of each open incident, oldest first."""
    table, known = tables.alerts, tables.incidents
    query = (
        sa.select(table)
        .join(known, (known.c.project == table.c.project) & (known.c.id == table.c.incident))
        .where(table.c.project == ws.project, known.c.state == "open")
        .order_by(table.c.created_at, table.c.id)
    )
    found: dict[str, list[Alert]] = {}
    with ws.reading() as db:
        for row in db.execute(query):
            one = from_row(Alert, row)
            found.setdefault(one.incident, []).append(one)
    return found


def undelivered(ws: Workspace) -> list[Alert]:
    """Alerts that were tried in vain: those that wait to be tried again, and those given up whose
    incident is still open; oldest first.
    """
    table, known = tables.alerts, tables.incidents
    is_open = sa.select(known.c.id).where(
        known.c.project == ws.project, known.c.state == "open", known.c.id == table.c.incident
    )
    query = (
        sa.select(table)
        .where(table.c.project == ws.project, table.c.attempts > 0)
        .where(
            sa.or_(
                table.c.state == "waiting",
                sa.and_(table.c.state == "failed", sa.exists(is_open)),
            )
        )
        .order_by(table.c.created_at, table.c.id)
    )
    with ws.reading() as db:
        return [from_row(Alert, row) for row in db.execute(query)]


def update(ws: Workspace, alert: Alert) -> None:
    """Store how a delivery went."""
    table = tables.alerts
    with ws.transaction() as tx:
        tx.execute(
            table.update()
            .where(table.c.project == ws.project, table.c.id == alert.id)
            .values(**to_row(alert))
        )


def sightings(ws: Workspace) -> dict[str, Sighting]:
    """How often each incident's cause was seen."""
    table = tables.sightings
    query = sa.select(table).where(table.c.project == ws.project)
    with ws.reading() as db:
        found = [from_row(Sighting, row) for row in db.execute(query)]
    return {one.incident: one for one in found}


def see(ws: Workspace, incident: str, seen_at: int) -> None:
    """Count a sighting of an incident's cause; one window counts once."""
    table = tables.sightings
    known = sightings(ws).get(incident)
    values = Sighting(
        incident=incident,
        occurrences=known.occurrences + 1 if known else 1,
        seen_at=seen_at,
        updated_at=ids.now(),
    )
    with ws.transaction() as tx:
        if known is None:
            insert_new(ws.engine, table, to_row(values, project=ws.project))
        elif seen_at > known.seen_at:
            tx.execute(
                table.update()
                .where(table.c.project == ws.project, table.c.incident == incident)
                .values(**to_row(values))
            )
