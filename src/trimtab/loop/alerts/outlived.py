"""Incidents that end because another version answers: their cause went with the one before.

What a version fails on is its own, so its errors end with it. What it refuses is the client's doing
and outlives it, unless the next one declares a column to blame otherwise and refuses it no more.
Read off what is at every pass, however the version came to answer: promoted, deployed, gone back to.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.errors import TrimtabError
from trimtab.loop.alerts import notify
from trimtab.loop.project import Project
from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor.requests import refusals
from trimtab.store import operations
from trimtab.store.records import Incident, Version
from trimtab.store.workspace import Workspace

ERRORS: Final = "errors"
MARK: Final = "outlived_by"
"""Where an incident's detail names the version that answered when it ended so, "" where none did."""


def look(project: Project, endpoint: str, champion: Version, now: int) -> list[Incident]:
    """Close what was about versions that answer no longer; returns the closed incidents."""
    closed = []
    for one in operations.incidents(project.ws, state="open", endpoint=endpoint):
        before = str(one.detail.get("model", ""))
        if not before or before == champion.digest:
            continue
        why = _ended(project, one, champion)
        if why:
            closed.append(_close(project, one, champion, why, now))
    return closed


def mark(ws: Workspace, incident: Incident) -> None:
    """Have an incident that is about to be closed end with its endpoint."""
    detail = {**incident.detail, MARK: ""}
    operations.update_incident(ws, msgspec.structs.replace(incident, detail=detail))


def returned(incident: Incident) -> bool:
    """Whether it ended only because its version, or its endpoint, answered no longer: seen again, it
    is back.
    """
    return MARK in incident.detail


def _ended(project: Project, incident: Incident, champion: Version) -> str:
    """Why an incident about another version is over, "" where it is not."""
    if incident.kind == ERRORS:
        return f"{_version(incident)} answers no longer, {champion.label} does"
    if incident.kind != "broken input" or incident.detail.get("form") != "refused":
        return ""
    names = [str(one.get("feature", "")) for one in _features(incident)]
    if not _declared_otherwise(project, str(incident.detail["model"]), champion.digest, names):
        return ""
    ws, name = project.ws, incident.endpoint
    found = refusals.accepted(ws, project.config, name, champion.label, incident.since)
    if found is None:
        return ""
    said = f"{champion.label} accepts what {_version(incident)} refused"
    return f"{said}: it refused {found[0]:,} of {found[1]:,} requests since"


def _close(project: Project, incident: Incident, champion: Version, why: str, now: int) -> Incident:
    closed = msgspec.structs.replace(
        incident,
        state="resolved",
        resolved_at=max(now, incident.opened_at),
        resolution=why,
        detail={**incident.detail, MARK: champion.label},
    )
    with project.ws.transaction():
        operations.update_incident(project.ws, closed)
        notify.tell(project, closed, "resolved")
    return closed


def _declared_otherwise(project: Project, old: str, new: str, names: list[str]) -> bool:
    """Whether a model takes any of some columns otherwise than the one before; a column that is no
    input is taken whatever it holds.
    """
    try:
        before, after = (registry.signature_of(project.ws, one) for one in (old, new))
    except TrimtabError:  # a package that was erased with its version tells nothing
        return False
    return any(_taken(before, name) != _taken(after, name) for name in names)


def _taken(signed: Signature, name: str) -> tuple[Any, ...]:
    for one in signed.inputs:
        if one.name == name:
            return one.kind, one.nullable, one.closed, one.categories if one.closed else ()
    return ()


def _features(incident: Incident) -> list[dict[str, Any]]:
    return [one for one in incident.detail.get("features", []) if isinstance(one, dict)]


def _version(incident: Incident) -> str:
    return str(incident.detail.get("version") or "the version before")
