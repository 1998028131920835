"""Incidents: list, show, resolve."""

from __future__ import annotations

from trimtab.errors import NotFoundError
from trimtab.loop import release
from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.server.answers import Incidents
from trimtab.store import operations
from trimtab.store.records import Incident


def ls(project: Project, request: asked.StateFilter) -> Incidents:
    """Incidents, newest first."""
    return Incidents(incidents=operations.incidents(project.ws, state=request.state or None))


def show(project: Project, request: asked.Identified) -> Incident:
    """An incident by its id or an unambiguous beginning of it; raises NotFoundError."""
    found = [one for one in operations.incidents(project.ws) if one.id.startswith(request.id)]
    if len(found) != 1 or not request.id:
        raise NotFoundError(
            f"there is no single incident {request.id!r}", hint="see `trimtab incidents ls`"
        )
    return found[0]


def resolve(project: Project, request: asked.Resolution) -> Incident:
    """Close an incident by hand."""
    return release.resolve_incident(project, request.id, request.note)
