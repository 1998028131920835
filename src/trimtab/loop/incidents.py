"""Incidents: one per endpoint and cause, opened by what the monitor saw, closed by what mended it."""

from __future__ import annotations

import msgspec

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.monitor import observe
from trimtab.monitor.observe import Seen
from trimtab.store import operations
from trimtab.store.records import Action, Incident, Version

REQUIREMENT = "requirement"
CONCEPT = "concept drift"
REFUSED = "retrain refused"
_MENDED = ("data drift", CONCEPT, REQUIREMENT, REFUSED)


def compare(project: Project, endpoint: str, champion: Version, seen: Seen) -> list[Action]:
    """Open an incident for each cause that is seen and has none; a cause has one at a time.

    A failed requirement is an incident of its own only where no concept drift explains it.
    """
    opened: list[Action] = []
    for alarm in seen.alarms:
        incident = Incident(
            id=ids.new_id(),
            kind=alarm.kind,
            key=f"{endpoint}:{alarm.kind}",
            endpoint=endpoint,
            title=alarm.title,
            severity=alarm.severity,
            detail={
                **alarm.detail,
                "model": champion.digest,
                "version": champion.label,
                "owner": project.config.project.owner,
                "runbook": _RUNBOOK.get(alarm.kind, ""),
            },
            opened_at=seen.now,
            since=alarm.since,
        )
        if alarm.kind == REQUIREMENT and _explained(project, endpoint, seen):
            continue
        if _handled(project, incident, champion):
            continue
        opened += _named(project, incident) or _open(project, incident)
    observe.told(project.ws, endpoint, seen)
    return opened


def resolve_by(
    project: Project, endpoint: str, version: Version, rollout: str, now: int
) -> list[Incident]:
    """Close the incidents that the new model answers: those of drift and quality that were open
    when its rollout began. Ids sort by the clock's time, windows close by event time.
    """
    closed = []
    for incident in operations.incidents(project.ws, state="open", endpoint=endpoint):
        if incident.kind not in _MENDED or incident.id > rollout:
            continue
        done = msgspec.structs.replace(
            incident,
            state="resolved",
            resolved_at=max(now, incident.opened_at),
            resolution=f"{version.label} was promoted",
        )
        operations.update_incident(project.ws, done)
        closed.append(done)
    return closed


def refused(project: Project, endpoint: str, what: str, reason: str, subject: str) -> list[Action]:
    """Ask a person: a retrained model was refused by the gate or rolled back."""
    now = ids.now()
    return _open(
        project,
        Incident(
            id=ids.new_id(),
            kind=REFUSED,
            key=f"{endpoint}:{REFUSED}",
            endpoint=endpoint,
            title=f"{what} was refused: {reason}",
            detail={
                "subject": subject,
                "reason": reason,
                "runbook": "Decide: correct the data or the flow and `trimtab run`, or change the "
                "requirement on purpose. Resolve this incident to let retraining try again.",
            },
            opened_at=now,
            since=now,
        ),
    )


def _named(project: Project, incident: Incident) -> list[Action]:
    """Give the open incident of a failed requirement its cause's name, once that is known."""
    ws = project.ws
    open_now = operations.incidents(ws, state="open", endpoint=incident.endpoint)
    nameless = [one for one in open_now if one.kind == REQUIREMENT]
    if incident.kind != CONCEPT or not nameless or any(one.kind == CONCEPT for one in open_now):
        return []
    known = nameless[0]
    named = msgspec.structs.replace(
        incident,
        id=known.id,
        opened_at=known.opened_at,
        detail={**incident.detail, "seen_first_as": known.title},
    )
    action = _noted(known.id, f"incident:{known.id}:named", f"named: {named.title}")
    with ws.transaction():
        operations.update_incident(ws, named)
        operations.plan_action(ws, action)
    return [action]


def _open(project: Project, incident: Incident) -> list[Action]:
    ws = project.ws
    with ws.transaction():
        if not operations.open_incident(ws, incident):
            return []
        action = _noted(incident.id, f"incident:{incident.id}", f"opened: {incident.title}")
        operations.plan_action(ws, action)
    return [action]


def _noted(incident: str, key: str, said: str) -> Action:
    now = ids.now()
    return Action(
        id=ids.new_id(),
        kind="incident",
        key=key,
        state="done",
        cause={"incident": incident},
        result={"said": said},
        created_at=now,
        updated_at=now,
    )


def _explained(project: Project, endpoint: str, seen: Seen) -> bool:
    if any(alarm.kind == CONCEPT for alarm in seen.alarms):
        return True
    is_open = operations.incidents(project.ws, state="open", endpoint=endpoint)
    return any(one.kind == CONCEPT for one in is_open)


def _handled(project: Project, incident: Incident, champion: Version) -> bool:
    """Whether a person or a promotion closed the same cause for this same model already.

    The estimated beginning of one and the same change moves as evidence comes in, so what began
    before an incident of its kind was opened is that incident.
    """
    closed = operations.incidents(project.ws, state="resolved", endpoint=incident.endpoint)
    return any(
        one.kind == incident.kind
        and one.detail.get("model") == champion.digest
        and incident.since <= one.opened_at
        for one in closed
    )


_RUNBOOK: dict[str, str] = {
    "data drift": "Inputs moved. Look at the features named here: did the population change, or a "
    "source? While quality holds nothing needs doing; else labels and a retrain settle it.",
    "broken input": "An upstream column broke. Mend the source; predictions on these rows are not "
    "to be trusted. Retraining is not the answer.",
    "skew": "Values that training never saw. Check the source's encoding, or collect labels for them.",
    "broken join": "Columns no longer belong together although each looks well. Check the join upstream.",
    CONCEPT: "The same inputs now lead to other outcomes. Retraining on labelled rows since the "
    "change is proposed once there are enough of them.",
    REQUIREMENT: "A requirement no longer holds in production. Retraining is proposed where "
    "[retrain] says so; else a person decides.",
}
