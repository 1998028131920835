"""What keeps a trigger from starting too often or too dearly; incidents that retrain go by it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trimtab import ids, schedule
from trimtab.config import duration
from trimtab.loop.project import Project
from trimtab.loop.triggers import Trigger
from trimtab.store import runs
from trimtab.store.records import Action

_DAY: Final = 86_400_000_000


def brake(project: Project, trigger: Trigger, begun: Sequence[Action], now: int) -> str:
    """Why nothing may start now after what has `begun` (oldest first), "" where it may."""
    settings = trigger.settings
    # Where the clock was set back, the last one may lie ahead: a cooldown holds on both sides.
    if begun and abs(now - begun[-1].created_at) < duration(settings.cooldown):
        return (
            f"the last one was at {ids.iso(begun[-1].created_at)} (cooldown = {settings.cooldown})"
        )
    most, period = schedule.limit(settings.at_most, trigger.name)
    if most:
        since = now - duration(f"1{period[0]}")
        recent = sum(one.created_at > since for one in begun)
        if recent >= most:
            return f"{recent} in the last {period} (at_most = {settings.at_most})"
    return _too_dear(project, trigger, begun, now)


def _too_dear(project: Project, trigger: Trigger, begun: Sequence[Action], now: int) -> str:
    most = trigger.settings.cost_per_day
    if not most:
        return ""
    spent = 0
    for one in begun:
        if one.created_at <= now - _DAY or not one.result.get("run"):
            continue
        run = runs.get(project.ws, one.result["run"])
        spent += max((run.ended_at or ids.now()) - run.started_at, 0)
    cost = spent / 3_600_000_000 * project.config.serve.price_per_hour
    if cost < most:
        return ""
    return f"{cost:.4g} were spent in the last day (cost_per_day = {most:g})"
