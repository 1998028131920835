"""Whether the cause of an open incident is there still: its end is written down, its return is told.

An incident stays open until somebody resolves it, so what ends by itself must be seen on it; and who
saw it end is told when it is back, unless the last word on it is younger than the cooldown.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.loop.alerts import notify
from trimtab.loop.project import Project
from trimtab.store import alerts, operations
from trimtab.store.records import Action, Incident

OVER: Final = "over_at"
"""Where an open incident's detail holds the moment at which its cause was seen to be gone."""


def lasts(incident: Incident) -> bool:
    """Whether its cause was there when it was seen last."""
    return bool(incident.detail.get("lasts", True))


def over(project: Project, known: Incident, title: str, now: int) -> None:
    """Write down that the cause of an open incident is gone, where that is not known yet."""
    if not lasts(known):
        return
    gone = {**known.detail, "lasts": False, OVER: now}
    ended = msgspec.structs.replace(known, title=title, detail=gone)
    operations.update_incident(project.ws, ended)


def ended(project: Project, known: Incident, until: int, now: int) -> None:
    """Write down since when the cause of an open incident is gone."""
    title = f"{known.title.removesuffix('.')}; it was over by {ids.iso(until)}."
    over(project, known, title, now)


def back(project: Project, known: Incident, incident: Incident, at: int) -> list[Action]:
    """An open incident whose cause was gone and is there again; nothing where it never was gone."""
    if lasts(known) or not lasts(incident):
        return []
    kept = {name: known.detail[name] for name in ("grown", "grown_at") if name in known.detail}
    taken = msgspec.structs.replace(
        incident,
        detail={**incident.detail, **kept},
        acknowledged_at=known.acknowledged_at,
        acknowledged_by=known.acknowledged_by,
    )
    return again(project, known, taken, at)


def again(
    project: Project, before: Incident, incident: Incident, at: int, **more: Any
) -> list[Action]:
    """An incident whose cause is back, with `more` detail; call it in a transaction. `at` is the end
    of the window that shows it.
    """
    ws = project.ws
    now = msgspec.structs.replace(
        incident,
        id=before.id,
        opened_at=before.opened_at,
        since=min(before.since, incident.since),
        detail={**incident.detail, **more, "reopened_at": incident.opened_at},
        reopened=before.reopened + 1,
    )
    operations.update_incident(ws, now)
    alerts.see(ws, now.id, at)
    span = duration(project.config.alerts.cooldown)
    told = [one.created_at for one in alerts.of_incident(ws, now.id) if one.event != "resolved"]
    if not told or ids.now() - max(told) >= span:
        notify.tell(project, now, "reopened")
    key = f"incident:{now.id}:reopened:{now.reopened}"
    action = noted(now.id, key, f"opened again: {now.title}")
    operations.plan_action(ws, action)
    return [action]


def noted(incident: str, key: str, said: str) -> Action:
    """What was done about an incident, as a row."""
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
