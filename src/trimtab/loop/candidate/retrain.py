"""Retraining: proposed by an incident, done by a job, decided by the gate, proved by a rollout.

An incident asks for at most one retrain. The job publishes the prediction log joined with its
labels as a data version and runs the champion's own code on it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trimtab import ids
from trimtab.loop import brakes, jobs, triggers
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import feedback, settling
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.loop.releases import rollout
from trimtab.loop.retiring import retirement
from trimtab.store import operations, versions
from trimtab.store.records import Action, Incident

KIND: Final = "retrain"
_LOSES_QUALITY: Final = (incidents.CONCEPT, incidents.REQUIREMENT)


class Proposed(NamedTuple):
    """A retrain that an incident asks for: the key of its action, and the rows that would teach it."""

    key: str
    rows: int
    since: int


def propose(project: Project, incident: Incident) -> Action | str:
    """Plan a retrain for an incident, or say why not; "" where the incident asks for none."""
    found = considered(project, incident)
    if isinstance(found, str):
        return found
    now = ids.now()
    action = Action(
        id=ids.new_id(),
        kind=KIND,
        key=found.key,
        state="planned",
        cause={"incident": incident.id, "kind": incident.kind, "since": found.since,
               "endpoint": incident.endpoint},
        result={"said": f"retrain on {found.rows} labelled rows since {ids.iso(found.since)}"},
        created_at=now,
        updated_at=now,
    )  # fmt: skip
    operations.plan_action(project.ws, action)
    return jobs.launch(project, action)


def considered(project: Project, incident: Incident) -> Proposed | str:
    """What an incident asks for, or why it gets none; reads only."""
    ws, config = project.ws, project.config
    if incident.kind == incidents.REFUSED:
        return f"a person must decide: {incident.title}"
    wanted = "requirement" if incident.kind == incidents.REQUIREMENT else "drift"
    if incident.kind not in _LOSES_QUALITY:
        return f"{incident.kind} is open; by itself it shows no loss of quality, so it retrains nothing"
    if wanted not in config.retrain.on and "requirement" not in config.retrain.on:
        return f"{incident.kind} is open; [retrain] on does not name it, so a person decides"
    found = operations.incidents(ws, state="open", endpoint=incident.endpoint)
    blocked = [one for one in found if one.kind == incidents.REFUSED]
    if blocked:
        return f"no new retrain: {blocked[0].title}"
    again = f":{incident.reopened}" if incident.reopened else ""
    key = f"{KIND}:{incident.id}{again}"
    if any(one.key == key for one in operations.actions(ws, kind=KIND)):
        return ""
    braked = _braked(project)
    if braked:
        return braked
    obstacle = feedback.obstacle(project, incident.endpoint)
    if obstacle:
        return f"{incident.kind} since {ids.iso(incident.since)}: {obstacle}; a person decides"
    since, waits = settling.of(project, incident)
    if waits:
        return f"{incident.kind} since {ids.iso(incident.since)}: {waits}, so a retrain waits"
    broken = [one for one in found if one.kind in incidents.GARBLED]
    if broken and incidents.garbled(project, incident.endpoint, since, ids.now()):
        return f"no retrain on rows like these, until it is resolved: {broken[0].title}"
    labelled = feedback.count(project, incident.endpoint, since)
    if labelled < config.retrain.min_rows:
        return (
            f"{incident.kind} since {ids.iso(since)}: {labelled} labelled rows since, "
            f"{config.retrain.min_rows} are needed to retrain"
        )
    return Proposed(key, labelled, since)


def advance(project: Project, notes: Notes) -> int:
    """Look after the jobs: take up those whose process died, act on those that ended.

    Returns how many are still at work.
    """
    ws, at_work = project.ws, 0
    for action in operations.unhandled(ws, KIND):
        if action.state in ("planned", "running"):
            at_work += jobs.look_after(project, action, project.config.retrain.timeout, notes)
        elif action.state == "done" and not action.result.get("handled"):
            _open_rollout(project, action, notes)
        elif action.state == "failed" and not action.result.get("handled"):
            with ws.transaction():
                notes.acted += incidents.refused(
                    project,
                    action.cause["endpoint"],
                    "the retrained model",
                    str(action.result.get("reason", "the job failed")),
                    str(action.result.get("subject", "")),
                )
                operations.update_action(ws, action.id, "failed", handled=True)
    return at_work


def _open_rollout(project: Project, action: Action, notes: Notes) -> None:
    ws, name = project.ws, action.cause["endpoint"]
    if retirement.in_force(ws, name) is not None:
        said = "trained for an endpoint that is to retire: it goes nowhere"
        operations.update_action(ws, action.id, "done", handled=True, reason=said)
        return
    version = versions.get(ws, "model", action.result["subject"])
    champion = versions.get(ws, "model", f"{version.name}@champion")
    mine = (
        one
        for one in operations.rollouts(ws, endpoint=name)
        if one.cause.get("action") == action.id
    )
    opened = next(mine, None)  # by a pass that died before it said so
    if opened is None and champion.digest != version.digest:
        opened = rollout.open_for(
            project, name, version, champion, cause={"action": action.id, **action.cause}
        )
        if opened is None:
            notes.waiting.append(f"{version.label} waits: another rollout is open at {name}")
            return
    operations.update_action(
        ws, action.id, "done", handled=True, rollout=opened.id if opened else ""
    )
    notes.acted.append(action)


def _braked(project: Project) -> str:
    """What `[retrain]` says against one more now, "" where nothing."""
    ws, now = project.ws, ids.now()
    (trigger,) = (one for one in triggers.every(project) if one.name == triggers.RETRAIN)
    before = [one for one in triggers.recent(ws, trigger, now) if one.state != "skipped"]
    reason = brakes.brake(project, trigger, before, now)
    return f"no new retrain: {reason}" if reason else ""
