"""Incidents: one per endpoint and cause, opened by what the monitor saw, closed by what mended it.

A cause that lasts is one incident, counted and not told again; one that comes back within its
cooldown is the same incident, opened again. Every change of state is chained, every message about
one is a row in the same transaction.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.errors import ConflictError, NotFoundError
from trimtab.loop.alerts import lasting, notify, outlived, sameness, severity
from trimtab.loop.alerts.runbooks import RUNBOOK
from trimtab.loop.project import Project
from trimtab.monitor import observe
from trimtab.monitor.findings import EACH_A_CAUSE, OUTPUTS
from trimtab.monitor.observe import Alarm, Seen
from trimtab.store import alerts, operations
from trimtab.store.records import Action, Incident, Version

REQUIREMENT = "requirement"
CONCEPT = "concept drift"
REFUSED = "retrain refused"
DOWN = "endpoint down"
_MENDED = ("data drift", CONCEPT, REQUIREMENT, REFUSED)
_JOIN: Final = "broken join"
GARBLED: Final = ("broken input", _JOIN)
"""Kinds of incidents under which rows hold what nobody meant."""


def compare(project: Project, endpoint: str, champion: Version, seen: Seen) -> list[Action]:
    """Open an incident for each cause that is seen and has none; a cause has one at a time.

    A failed requirement is an incident of its own only where no concept drift and no broken input
    explains it, answers that moved only where no broken input does.
    """
    acted: list[Action] = []
    ws = project.ws
    importance = severity.importance_of(ws, champion) if seen.alarms else severity.Importance()
    required = {one.metric for one in project.config.require}
    loss = (
        severity.loss_of(ws, endpoint, champion.digest, seen.alarms, required)
        if seen.alarms
        else None
    )
    told = any(one.kind in (REQUIREMENT, CONCEPT) for one in seen.alarms)
    there = {one.kind for one in seen.alarms if one.detail.get("lasts", True)}
    for alarm in seen.alarms:
        weight = severity.weigh(alarm, importance, loss, told=told)
        incident = _incident(project, endpoint, champion, seen, alarm, weight)
        if alarm.kind == REQUIREMENT and (
            _explained(project, endpoint, seen)
            or garbled(project, endpoint, alarm.since, alarm.since + 1)
        ):
            continue
        if _follows(alarm, seen) or (not lasting.lasts(incident) and alarm.kind in there):
            continue
        if sameness.handled(project, incident, champion):
            continue
        at = alarm.seen or seen.now
        acted += (
            _named(project, incident)
            or _open(project, incident, at)
            or _again(project, incident, at)
        )
    for one in operations.incidents(ws, state="open", endpoint=endpoint) if seen.over else ():
        if one.kind in seen.over and one.detail.get("model") == champion.digest:
            lasting.ended(project, one, seen.over[one.kind], seen.now)
    observe.told(ws, endpoint, seen)
    return acted


def _incident(
    project: Project,
    endpoint: str,
    champion: Version,
    seen: Seen,
    alarm: Alarm,
    weight: severity.Weight,
) -> Incident:
    return Incident(
        id=ids.new_id(),
        kind=alarm.kind,
        key=f"{endpoint}:{alarm.kind}",
        endpoint=endpoint,
        title=alarm.title,
        severity=weight.severity,
        detail={
            **alarm.detail,
            "model": champion.digest,
            "version": champion.label,
            "owner": project.config.project.owner,
            "runbook": RUNBOOK.get(alarm.kind, ""),
            "severity": msgspec.to_builtins(weight),
        },
        opened_at=seen.now,
        since=alarm.since,
    )


def find(project: Project, incident: str) -> Incident:
    """An incident by its id or an unambiguous beginning of it; raises NotFoundError."""
    found = [one for one in operations.incidents(project.ws) if one.id.startswith(incident)]
    if len(found) != 1 or not incident:
        raise NotFoundError(
            f"there is no single incident {incident!r}", hint="see `trimtab incidents ls`"
        )
    return found[0]


def acknowledge(project: Project, incident: str, by: str = "") -> Incident:
    """Say that somebody has it in hand; raises NotFoundError, ConflictError where it is closed.

    It stays open, and nothing more is told of it unless it becomes a page.
    """
    known = find(project, incident)
    if known.state != "open":
        raise ConflictError(f"incident {known.id} is {known.state} already")
    if known.acknowledged_at:
        return known
    taken = msgspec.structs.replace(
        known, acknowledged_at=_moment(project, known), acknowledged_by=by or "a person"
    )
    operations.update_incident(project.ws, taken)
    return taken


def resolve(project: Project, incident: str, note: str = "") -> Incident:
    """Close an incident by hand; raises NotFoundError, ConflictError where it is closed."""
    known = find(project, incident)
    if known.state != "open":
        raise ConflictError(f"incident {incident} is {known.state} already")
    closed = msgspec.structs.replace(
        known,
        state="resolved",
        resolved_at=_moment(project, known),
        resolution=note or "by a person",
    )
    with project.ws.transaction():
        operations.update_incident(project.ws, closed)
        notify.tell(project, closed, "resolved")
    return closed


def _moment(project: Project, incident: Incident) -> int:
    """When a hand acts on an incident, by the clock that the incident was opened by: what traffic
    showed goes by its endpoint's time, what `ask` opened by the clock. Never before it was opened.
    """
    seen = "model" in incident.detail
    now = observe.present(project.ws, project.config, incident.endpoint) if seen else ids.now()
    return max(now, incident.opened_at, int(incident.detail.get("reopened_at", 0)))


def ended_with(project: Project, endpoint: str, why: str) -> None:
    """Close what is open at an endpoint that ends: its cause is handled by nobody, so it is back where
    the endpoint is and shows it again.
    """
    for one in operations.incidents(project.ws, state="open", endpoint=endpoint):
        with project.ws.transaction():
            outlived.mark(project.ws, one)
            resolve(project, one.id, why)


def resolve_by(
    project: Project, endpoint: str, version: Version, rollout: str, now: int, *, cause: str = ""
) -> list[Incident]:
    """Close the incidents that the new model answers: those of drift and quality that were open
    when its rollout began, and its `cause`. Ids sort by the clock's time, which may have been set
    back; windows close by event time.
    """
    closed = []
    for incident in operations.incidents(project.ws, state="open", endpoint=endpoint):
        if incident.kind not in _MENDED or (incident.id > rollout and incident.id != cause):
            continue
        done = msgspec.structs.replace(
            incident,
            state="resolved",
            resolved_at=max(now, incident.opened_at),
            resolution=f"{version.label} was promoted",
        )
        with project.ws.transaction():
            operations.update_incident(project.ws, done)
            notify.tell(project, done, "resolved")
        closed.append(done)
    return closed


def refused(project: Project, endpoint: str, what: str, reason: str, subject: str) -> list[Action]:
    """Ask a person: a retrained model was refused by the gate or rolled back."""
    return ask(
        project,
        REFUSED,
        endpoint,
        f"{what} was refused: {reason}",
        {
            "subject": subject,
            "reason": reason,
            "runbook": "Decide: correct the data or the flow and `trimtab run`, or change the "
            "requirement on purpose. Resolve this incident to let retraining try again.",
        },
    )


def down(project: Project, endpoint: str, reason: str) -> list[Action]:
    """Ask a person: an endpoint does not start again."""
    return ask(
        project,
        DOWN,
        endpoint,
        f"{endpoint} does not start: {reason}",
        {
            "reason": reason,
            "runbook": "Decide: mend what its log says and `trimtab deploy`, go back with "
            "`trimtab rollback`, or stop it. Resolve this incident to let it be tried again.",
        },
    )


def ask(
    project: Project, kind: str, endpoint: str, title: str, detail: dict[str, Any], **fields: Any
) -> list[Action]:
    """Open an incident that no window of traffic showed; nothing where its key is open already.

    `fields` are further ones of `Incident`; the key is the endpoint's and the kind's by default.
    """
    now = ids.now()
    named = {"key": f"{endpoint}:{kind}", "since": now, **fields}
    return _open(
        project,
        Incident(
            id=ids.new_id(), kind=kind, endpoint=endpoint, title=title, opened_at=now,
            detail={"owner": project.config.project.owner, **detail}, **named,
        ),
        now,
    )  # fmt: skip


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
    named = msgspec.structs.replace(
        named,
        acknowledged_at=known.acknowledged_at,
        acknowledged_by=known.acknowledged_by,
        reopened=known.reopened,
    )
    action = lasting.noted(known.id, f"incident:{known.id}:named", f"named: {named.title}")
    with ws.transaction():
        operations.update_incident(ws, named)
        operations.plan_action(ws, action)
    return [action]


def _open(project: Project, incident: Incident, at: int) -> list[Action]:
    """Open an incident whose cause a window that ended `at` showed."""
    ws = project.ws
    before = _cooling(project, incident)
    with ws.transaction():
        if before is not None:
            note = before.resolution
            return lasting.again(project, before, incident, at, resolved_before=note)
        if not operations.open_incident(ws, incident):
            return []
        alerts.see(ws, incident.id, at)
        notify.tell(project, incident, "opened")
        action = lasting.noted(incident.id, f"incident:{incident.id}", f"opened: {incident.title}")
        operations.plan_action(ws, action)
    return [action]


def _cooling(project: Project, incident: Incident) -> Incident | None:
    """The same cause of the same model where it was resolved less than the cooldown ago."""
    ws, span = project.ws, duration(project.config.alerts.cooldown)
    if "model" not in incident.detail or any(
        one.key == incident.key
        for one in operations.incidents(ws, state="open", endpoint=incident.endpoint)
    ):
        return None
    closed = operations.incidents(ws, state="resolved", endpoint=incident.endpoint)
    return next(
        (
            one
            for one in closed
            if one.key == incident.key
            and one.detail.get("model") == incident.detail.get("model")
            and incident.opened_at - one.resolved_at < span
        ),
        None,
    )


def _again(project: Project, incident: Incident, at: int) -> list[Action]:
    """Count an open incident's cause as seen once more; tell of it only where it grew to a page,
    where one more input broke, or where it had been gone.
    """
    ws = project.ws
    open_now = operations.incidents(ws, state="open", endpoint=incident.endpoint)
    known = next((one for one in open_now if one.key == incident.key), None)
    if known is None:
        return []
    with ws.transaction():
        if not lasting.lasts(incident):
            lasting.over(project, known, incident.title, incident.opened_at)
            return []
        if returned := lasting.back(project, known, incident, at):
            return returned
        alerts.see(ws, known.id, at)
        if not severity.louder(incident.severity, known.severity):
            return _joined(project, known, incident)
        grown = msgspec.structs.replace(
            known,
            severity=incident.severity,
            title=incident.title,
            detail={**known.detail, **incident.detail},
        )
        operations.update_incident(ws, grown)
        notify.tell(project, grown, "escalated")
        key = f"incident:{grown.id}:{grown.severity}"
        action = lasting.noted(grown.id, key, f"now a {grown.severity}: {grown.title}")
        operations.plan_action(ws, action)
    return [action]


def _joined(project: Project, known: Incident, incident: Incident) -> list[Action]:
    """Take features into an open incident that it did not name; inputs that broke are told of."""
    grown = sameness.grown(known, incident)
    if grown is None:
        return []
    operations.update_incident(project.ws, grown)
    if grown.kind not in EACH_A_CAUSE:
        return []
    notify.tell(project, grown, "escalated")
    key = f"incident:{grown.id}:grown:{grown.detail['grown']}"
    action = lasting.noted(grown.id, key, f"one more: {grown.title}")
    operations.plan_action(project.ws, action)
    return [action]


def _follows(alarm: Alarm, seen: Seen) -> bool:
    """Whether it is only the answers that moved, while an input is broken: one cause, one incident."""
    features = alarm.detail.get("features", [])
    names = {str(one.get("feature", "")) for one in features if isinstance(one, dict)}
    if alarm.kind not in ("data drift", _JOIN) or not names or not names <= set(OUTPUTS):
        return False
    return any(other.kind in severity.BROKEN and other.kind != alarm.kind for other in seen.alarms)


def _explained(project: Project, endpoint: str, seen: Seen) -> bool:
    if any(alarm.kind == CONCEPT for alarm in seen.alarms):
        return True
    is_open = operations.incidents(project.ws, state="open", endpoint=endpoint)
    return any(one.kind == CONCEPT for one in is_open)


def garbled(project: Project, endpoint: str, since: int, until: int) -> bool:
    """Whether an input was broken in a window between two moments, as the window itself showed."""
    return any(
        finding["kind"] in GARBLED and finding.get("detail", {}).get("lasts", 1.0) > 0
        for window in operations.windows(project.ws, endpoint=endpoint)
        if window.role != "shadow" and since < window.end and window.start < until
        for finding in window.findings
    )
