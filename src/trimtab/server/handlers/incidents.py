"""Incidents: list, show, acknowledge, resolve."""

from __future__ import annotations

from trimtab.loop.alerts import incidents as book
from trimtab.loop.alerts import unheard
from trimtab.loop.project import Project
from trimtab.server import deliveries
from trimtab.server import requests as asked
from trimtab.server.answers import Incidents, IncidentShown
from trimtab.store import alerts, operations
from trimtab.store.records import Incident


def ls(project: Project, request: asked.StateFilter) -> Incidents:
    """Incidents, newest first, how often each was seen, who was told; raises UsageError."""
    found = operations.incidents(project.ws, state=request.of("open", "resolved") or None)
    seen = alerts.sightings(project.ws)
    in_force = project.in_force()
    return Incidents(
        incidents=found,
        occurrences={one.id: seen[one.id].occurrences for one in found if one.id in seen},
        deliveries=deliveries.of_open(in_force, found),
        undelivered=unheard.sentences(in_force),
    )


def show(project: Project, request: asked.Identified) -> IncidentShown:
    """An incident by its id or an unambiguous beginning of it; raises NotFoundError."""
    found = book.find(project, request.id)
    seen = alerts.sightings(project.ws).get(found.id)
    return IncidentShown(
        **{name: getattr(found, name) for name in found.__struct_fields__},
        occurrences=seen.occurrences if seen else 1,
        seen_at=seen.seen_at if seen else found.opened_at,
        alerts=alerts.of_incident(project.ws, found.id),
    )


def ack(project: Project, request: asked.Acknowledgement) -> Incident:
    """Say that somebody has it in hand."""
    return book.acknowledge(project, request.id, request.by)


def resolve(project: Project, request: asked.Resolution) -> Incident:
    """Close an incident by hand."""
    return book.resolve(project, request.id, request.note)
