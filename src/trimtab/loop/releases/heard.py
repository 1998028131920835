"""Whether an endpoint answers by the routes that it was given; where it refuses them, a person is asked.

A pass writes routes and does not wait: the next one sees what the endpoint made of them. The
incident closes by itself once the endpoint has taken its routes.
"""

from __future__ import annotations

import re
from typing import Any, Final

from trimtab.deploy import local
from trimtab.loop.alerts import incidents
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.store import operations
from trimtab.store.records import Endpoint

KIND: Final = "routes refused"
DEAF: Final = "the endpoint refuses its newest routes"
"""Why no step forward is taken meanwhile."""
_DIGEST: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_TAKEN: Final = "the endpoint answers by its routes"


def look(project: Project, endpoint: Endpoint, notes: Notes) -> None:
    """Open the incident of an endpoint that goes on with older routes, or close it."""
    ws, name = project.ws, endpoint.name
    is_open = [
        one for one in operations.incidents(ws, state="open", endpoint=name) if one.kind == KIND
    ]
    reason = local.refused(ws, endpoint)
    if not reason:
        if local.settled(ws, endpoint):
            for one in is_open:
                incidents.resolve(project, one.id, _TAKEN)
                notes.observed.append(f"{name} answers by its routes again")
        return
    notes.waiting.append(f"{name} refuses its newest routes; a person must decide")
    if not is_open and not _closed_by_hand(project, endpoint):
        notes.acted += incidents.ask(
            project, KIND, name, _title(endpoint, reason), _detail(endpoint, reason)
        )


def why(project: Project, name: str) -> str:
    """That and why an endpoint refuses its newest routes, "" where it does not."""
    found = local.find(project.ws, name)
    reason = local.refused(project.ws, found) if found is not None else ""
    return f"{name} refuses its newest routes: {_first(reason)}" if reason else ""


def _title(endpoint: Endpoint, reason: str) -> str:
    given = [route for kind in ("routes", "shadow") for route in endpoint.routes.get(kind, [])]
    labels = ", ".join(dict.fromkeys(route["label"] for route in given))
    return (
        f"{endpoint.name} refuses its newest routes ({labels}) and goes on with those before: "
        f"{_first(reason)}."
    )


def _first(reason: str) -> str:
    """What happened, without what to do about it, digests by their beginning."""
    return _DIGEST.sub(r"\1", reason.partition("; ")[0])


def _detail(endpoint: Endpoint, reason: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "routes": endpoint.routes.get("version", 0),
        "runbook": "Decide: mend what is said here (`trimtab doctor` names stored bytes that are "
        "not what they were, and the endpoint tries again every five seconds), or go back to the "
        "model before with `trimtab rollback`. It closes once the endpoint takes its routes.",
    }


def _closed_by_hand(project: Project, endpoint: Endpoint) -> bool:
    """Whether a person closed it for these very routes."""
    closed = operations.incidents(project.ws, state="resolved", endpoint=endpoint.name)
    version = endpoint.routes.get("version", 0)
    return any(
        one.kind == KIND and one.detail.get("routes") == version and one.resolution != _TAKEN
        for one in closed
    )
