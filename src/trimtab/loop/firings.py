"""Slots that are due become rows, and rows become jobs, under the brakes of their trigger.

Every slot gets one row, started or skipped with the reason. A row is written before its job is
begun; a pass that dies in between leaves a planned row, which the next pass takes up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import ConflictError, NotFoundError
from trimtab.loop import brakes, jobs, triggers
from trimtab.loop.alerts import incidents
from trimtab.loop.gate import CHAMPION
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.loop.releases import rollout
from trimtab.loop.retiring import retirement
from trimtab.loop.triggers import KIND, Slot, Trigger
from trimtab.schedule import TriggerConfig
from trimtab.store import operations, versions
from trimtab.store.records import Action

_OPEN: Final = ("planned", "running")


def fire(project: Project, notes: Notes, now: int) -> None:
    """Decide every slot that is due, then start what may start now."""
    for trigger in triggers.every(project):
        if trigger.words:
            with project.ws.transaction():
                _decide_all(project, trigger, now)
        _start(project, trigger, notes)


def by_hand(
    project: Project, name: str, key: str = "", cause: dict[str, Any] | None = None
) -> Action:
    """Fire a trigger because a person or a webhook says so; the same key is the same firing.

    Raises NotFoundError for an unknown trigger, ConflictError where its brakes say no.
    """
    trigger, now, ws = named(project, name), ids.now(), project.ws
    slot = Slot(name, key or f"manual:{ids.new_id()}", {"kind": "manual", **(cause or {})})
    with ws.transaction():
        known = operations.action_of(ws, triggers.key_of(name, slot.key))
        before = triggers.recent(ws, trigger, now)
        action = known or _decide(project, trigger, slot, before, now)
    if action.state == "skipped":
        raise ConflictError(f"{name} was not fired: {action.result['said']}")
    return action


def backfill(project: Project, name: str, start: int, end: int) -> list[Action]:
    """Rows for the scheduled slots in [start, end) that have none, to be worked off in order.

    Raises NotFoundError for an unknown trigger, ConflictError for one without a schedule.
    """
    trigger = named(project, name)
    if not any(word.kind == "cron" for word in trigger.words):
        raise ConflictError(f"{name} has no schedule, so no slots to fill", hint="see its `on`")
    found: list[Action] = []
    with project.ws.transaction():
        for slot in triggers.between(trigger, start, end):
            row = _row(trigger, slot._replace(cause={**slot.cause, "kind": "backfill"}), ids.now())
            if operations.plan_action(project.ws, row):
                found.append(row)
    return found


def _decide_all(project: Project, trigger: Trigger, now: int) -> None:
    found = triggers.due(project, trigger, now)
    if not found:
        return
    before = triggers.recent(project.ws, trigger, now)
    for slot in found:
        before.append(_decide(project, trigger, slot, before, now))
    triggers.decided_until(project.ws, trigger, now)


def _decide(
    project: Project, trigger: Trigger, slot: Slot, before: Sequence[Action], now: int
) -> Action:
    """Write a slot's row down: planned, or skipped with the reason. What was skipped stays so."""
    reason = _brake(project, trigger, slot, before, now)
    action = _row(trigger, slot, now, reason)
    operations.plan_action(project.ws, action)
    return action


def _row(trigger: Trigger, slot: Slot, now: int, reason: str = "") -> Action:
    return Action(
        id=ids.new_id(),
        kind=KIND,
        key=triggers.key_of(trigger.name, slot.key),
        state="skipped" if reason else "planned",
        cause={"trigger": trigger.name, "flow": trigger.flow, "depth": slot.depth, **slot.cause},
        result={"said": reason} if reason else {},
        created_at=now,
        updated_at=now,
    )


def named(project: Project, name: str) -> Trigger:
    """A trigger by name; raises NotFoundError."""
    for one in triggers.every(project):
        if one.name == name:
            return one
    names = ", ".join(one.name for one in triggers.every(project))
    raise NotFoundError(f"there is no trigger {name!r}", hint=f"there is: {names}")


def advance(project: Project, notes: Notes) -> int:
    """Look after the jobs; returns how many are still at work or about to be."""
    at_work = 0
    for action in operations.unhandled(project.ws, KIND):
        if action.state == "running":
            at_work += jobs.look_after(project, action, _limit(project, action), notes)
        elif action.state == "done" and not action.result.get("handled"):
            _open_rollout(project, action, notes)
        elif action.state == "failed" and not action.result.get("handled"):
            _ask(project, action, notes)
    return at_work


def _limit(project: Project, action: Action) -> str:
    """How long a firing may be at work; of a trigger that is gone, as long as by default."""
    name = action.cause["trigger"]
    known = next((one for one in triggers.every(project) if one.name == name), None)
    return known.settings.timeout if known else TriggerConfig().timeout


def _start(project: Project, trigger: Trigger, notes: Notes) -> None:
    """Start the oldest planned row of a trigger, if none of its jobs is at work."""
    ws = project.ws
    mine = triggers.at_work(ws, trigger)
    running = [one for one in mine if one.state == "running"]
    planned = [one for one in mine if one.state == "planned" and one.kind == KIND]
    if not planned:
        return
    if running and trigger.settings.overlap == "replace":
        for one in running:
            jobs.stop(project, one)
            said = f"replaced by {planned[-1].key.removeprefix(KIND + ':')}"
            operations.update_action(ws, one.id, "failed", reason=said, handled=True)
        for one in planned[:-1]:
            operations.update_action(ws, one.id, "skipped", said="replaced before it began")
        planned, running = planned[-1:], []
    if running:
        notes.waiting.append(f"{trigger.name}: {len(planned)} wait for the one at work")
        return
    notes.acted.append(jobs.launch(project, planned[0]))


def _brake(
    project: Project, trigger: Trigger, slot: Slot, before: Sequence[Action], now: int
) -> str:
    """Why a slot is not started, "" where it may be."""
    settings = trigger.settings
    if trigger.flow in ("", project.config.model.flow) and (ending := retirement.brake(project)):
        return ending
    if slot.depth > settings.max_depth:
        return (
            f"{slot.depth} causes stand behind it, [trigger] max_depth is {settings.max_depth}: "
            "triggers that start each other would never end"
        )
    at_work = [one for one in before if one.state in _OPEN]
    if at_work and settings.overlap == "skip":
        return f"the one of {_slot(at_work[-1])} is still at work (overlap = skip)"
    begun = [one for one in before if one.state != "skipped"]
    return brakes.brake(project, trigger, begun, now)


def _slot(action: Action) -> str:
    return action.key.split(":", 2)[-1]


def _open_rollout(project: Project, action: Action, notes: Notes) -> None:
    """A new version of the model that an endpoint serves goes on trial there."""
    ws, label = project.ws, action.result.get("version")
    opened = None
    if label:
        version = versions.get(ws, "model", label)
        known = versions.aliases(ws, "model", version.name)
        for endpoint in operations.endpoints(ws):
            serving = known.get(CHAMPION)
            if endpoint.name != version.name or serving in (None, version.digest):
                continue
            if endpoint.target != local.TARGET:  # another server answers, and is not ours to steer
                continue
            if retirement.in_force(ws, endpoint.name) is not None:
                continue
            champion = versions.get(ws, "model", f"{version.name}@{CHAMPION}")
            mine = [
                one
                for one in operations.rollouts(ws, endpoint=endpoint.name)
                if one.cause.get("action") == action.id
            ]
            opened = mine[0] if mine else rollout.open_for(
                project, endpoint.name, version, champion,
                cause={"action": action.id, **action.cause},
            )  # fmt: skip
            if opened is None:
                notes.waiting.append(f"{label} waits: another rollout is open at {endpoint.name}")
                return
    operations.update_action(
        ws, action.id, "done", handled=True, rollout=opened.id if opened else ""
    )
    notes.acted.append(action)


def _ask(project: Project, action: Action, notes: Notes) -> None:
    """A firing that failed asks a person."""
    with project.ws.transaction():
        notes.acted += incidents.refused(
            project,
            str(action.cause.get("endpoint") or project.config.model_name),
            f"trigger {action.cause['trigger']}",
            str(action.result.get("reason", "the job failed")),
            str(action.result.get("subject", "")),
        )
        operations.update_action(project.ws, action.id, "failed", handled=True)
