"""Triggers: what starts flows, what they started, and starting them by hand; pausing the controller."""

from __future__ import annotations

import itertools

from trimtab import ids, schedule
from trimtab.errors import UsageError
from trimtab.loop import firings, pause, triggers
from trimtab.loop.project import Project
from trimtab.loop.triggers import Trigger
from trimtab.server import requests as asked
from trimtab.server.answers import Fired, Paused, Triggers, TriggerShown, TriggerState
from trimtab.store import operations

_SHOWN = 50
_AHEAD = 3
_YEARS = 10 * 366 * 86_400_000_000


def ls(project: Project, request: asked.Nothing) -> Triggers:
    """The triggers of the configuration in force."""
    project = project.applied()
    return Triggers(triggers=[_state(project, one) for one in triggers.every(project)])


def show(project: Project, request: asked.Named) -> TriggerShown:
    """A trigger with its newest firings."""
    project = project.applied()
    trigger = firings.named(project, request.name)
    rows = operations.actions_under(project.ws, triggers.key_of(trigger.name, ""), 0)
    return TriggerShown(trigger=_state(project, trigger), firings=rows[::-1][:_SHOWN])


def fire(project: Project, request: asked.Firing) -> Fired:
    """Fire a trigger by hand; the next pass of the controller begins its job."""
    key = f"manual:{request.key}" if request.key else ""
    return Fired(actions=[firings.by_hand(project.applied(), request.name, key)])


def backfill(project: Project, request: asked.Backfill) -> Fired:
    """Rows for the scheduled slots of a range that have none."""
    try:
        start, end = ids.parse_time(request.start), ids.parse_time(request.end)
    except ValueError as error:
        raise UsageError(f"{error}", hint="write moments as 2026-01-31 or RFC 3339") from error
    if start >= end:
        raise UsageError(f"there is nothing between {request.start} and {request.end}")
    return Fired(actions=firings.backfill(project.applied(), request.name, start, end))


def paused(project: Project, request: asked.Reason) -> Paused:
    """Let the controller observe and do nothing."""
    return _paused(pause.pause(project.ws, request.reason))


def resumed(project: Project, request: asked.Nothing) -> Paused:
    """Let the controller act again."""
    pause.resume(project.ws)
    return Paused(paused=False)


def _paused(state: pause.State) -> Paused:
    return Paused(paused=True, reason=state.reason, since=state.since)


def _state(project: Project, trigger: Trigger) -> TriggerState:
    now, settings = ids.now(), trigger.settings
    rows = operations.actions_under(project.ws, triggers.key_of(trigger.name, ""), 0)
    moments = sorted(
        moment
        for word in trigger.words
        if word.kind == "cron"
        for moment in itertools.islice(
            schedule.slots(word.value, settings.timezone, now, now + _YEARS), _AHEAD
        )
    )
    return TriggerState(
        name=trigger.name,
        flow=trigger.flow or project.config.model.flow,
        on=list(settings.on),
        overlap=settings.overlap,
        next=moments[:_AHEAD],
        open=sum(one.state in ("planned", "running") for one in rows),
        last=rows[-1] if rows else None,
    )
