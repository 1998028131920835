"""What is due: every trigger of a project, and the slots that have come and were not decided yet.

A slot is one occasion of a trigger (a moment of a schedule, a data version, a finished run, a
webhook's key). It is decided once, whatever that says: its row is the action under the key
`fire:TRIGGER:SLOT`, and `firings` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from trimtab import ids, schedule
from trimtab.config import duration
from trimtab.loop.candidate import feedback
from trimtab.loop.project import Project
from trimtab.loop.releases import release
from trimtab.schedule import On, RetrainConfig, TriggerConfig
from trimtab.store import operations, runs, states, versions
from trimtab.store.records import Action
from trimtab.store.workspace import Workspace

KIND: Final = "fire"
RETRAIN: Final = "retrain"
_NEVER: Final = 1 << 62
LOGGED: Final = "prediction log joined with labels"


class Trigger(NamedTuple):
    """A trigger under its name; `flow` "" is the model's."""

    name: str
    flow: str
    settings: RetrainConfig | TriggerConfig

    @property
    def words(self) -> list[On]:
        """What it starts on."""
        where = f"trigger {self.name}"
        return [schedule.parse_on(text, where, self.settings.timezone) for text in self.settings.on]


class Slot(NamedTuple):
    """An occasion: `key` is the same whoever finds it; `depth` counts the causes behind it."""

    trigger: str
    key: str
    cause: dict[str, Any]
    depth: int = 1


def every(project: Project) -> list[Trigger]:
    """The triggers of the configuration in force, `[retrain]` first."""
    config = project.config
    found = [Trigger(RETRAIN, "", config.retrain)]
    return found + [Trigger(name, one.flow, one) for name, one in config.trigger.items()]


def due(project: Project, trigger: Trigger, now: int) -> list[Slot]:
    """The slots of a trigger that have come until `now` and have no row, oldest first.

    Incidents are not among them: they propose a retrain themselves, see `loop.retrain`. Call it and
    `decided_until` in the transaction that decides what it gives.
    """
    ws, state = project.ws, _state(project.ws, trigger, now)
    since = int(state["since"])
    found: list[Slot] = []
    for word in trigger.words:
        if word.kind == "cron":
            begin = max(int(state["until"]), now - duration(trigger.settings.catch_up))
            found += _scheduled(trigger, word, begin, now)
        elif word.kind == "data":
            found += _versions(project, trigger, since)
        elif word.kind == "rows":
            found += _rows(project, trigger, int(word.value))
        elif word.kind == "after":
            found += _ended(project, trigger, word.value, since)
    known = operations.keys_of(ws, [key_of(one.trigger, one.key) for one in found])
    return [one for one in found if key_of(one.trigger, one.key) not in known]


def decided_until(ws: Workspace, trigger: Trigger, now: int) -> None:
    """Remember that every scheduled slot until `now` was decided; a clock set back repeats none."""
    state = _state(ws, trigger, now)
    if now > state["until"]:
        states.put(ws, _name(trigger), {**state, "until": now})


def between(trigger: Trigger, start: int, end: int) -> list[Slot]:
    """The scheduled slots in [start, end), for a back-fill."""
    return [
        slot
        for word in trigger.words
        if word.kind == "cron"
        for slot in _scheduled(trigger, word, start - 1, end - 1)
    ]


def key_of(trigger: str, slot: str) -> str:
    """The key of a slot's action: the same slot is the same action."""
    return f"{KIND}:{trigger}:{slot}"


def recent(ws: Workspace, trigger: Trigger, now: int) -> list[Action]:
    """The rows that a trigger's brakes ask about, and those that are open; oldest first."""
    span = max(duration("1w"), duration(trigger.settings.cooldown))
    found = operations.actions_under(ws, key_of(trigger.name, ""), now - span)
    if trigger.name == RETRAIN:  # an incident's retrains are under the same brakes
        found += operations.actions_under(ws, f"{RETRAIN}:", now - span)
        found.sort(key=lambda one: one.id)
    return found


def at_work(ws: Workspace, trigger: Trigger) -> list[Action]:
    """A trigger's rows that are planned or running, oldest first."""
    return operations.actions_under(ws, key_of(trigger.name, ""), _NEVER)


def _state(ws: Workspace, trigger: Trigger, now: int) -> dict[str, Any]:
    """From when on a trigger looks: it was first seen with these words `since`."""
    words = [*trigger.settings.on, trigger.settings.timezone, trigger.flow]
    known = states.get(ws, _name(trigger))
    if known is None or known["words"] != words:
        known = {"words": words, "since": now, "until": now}
        states.put(ws, _name(trigger), known)
    elif now < known["since"]:  # the clock was set back: what comes now is new all the same
        known = {**known, "since": now}
        states.put(ws, _name(trigger), known)
    found: dict[str, Any] = known
    return found


def _name(trigger: Trigger) -> str:
    return f"trigger:{trigger.name}"


def _scheduled(trigger: Trigger, word: On, after: int, until: int) -> Iterator[Slot]:
    for moment in schedule.slots(word.value, trigger.settings.timezone, after, until):
        text = ids.iso(moment)
        yield Slot(trigger.name, f"cron:{text}", {"kind": "schedule", "slot": text})


def _versions(project: Project, trigger: Trigger, since: int) -> Iterator[Slot]:
    """New data versions, but for those that the loop itself made of the prediction log."""
    for version in reversed(versions.find(project.ws, "data")):
        origin = version.meta.get("source", {}).get("provenance") or {}
        if version.created_at <= since or origin.get("method") == LOGGED:
            continue
        depth = _depth(project.ws, version.run) + 1
        cause = {"kind": "data", "version": version.label}
        yield Slot(trigger.name, f"data:{version.label}", cause, depth)


def _rows(project: Project, trigger: Trigger, step: int) -> Iterator[Slot]:
    """Every `step` labelled answers of a champion; of several steps at once the last."""
    for endpoint in operations.endpoints(project.ws):
        champion = release.champion_of(project, endpoint.name)
        if champion is None:
            continue
        reached = feedback.count(project, endpoint.name, 0) // step
        if reached:
            key = f"rows:{champion.label}:{reached * step}"
            cause = {"kind": "rows", "rows": reached * step, "endpoint": endpoint.name, "since": 0}
            yield Slot(trigger.name, key, cause)


def _ended(project: Project, trigger: Trigger, after: str, since: int) -> Iterator[Slot]:
    """Runs of another trigger's flow that ended well."""
    for action in operations.actions_under(project.ws, key_of(after, ""), since):
        if action.state == "done" and action.updated_at > since:
            depth = int(action.cause.get("depth", 1)) + 1
            cause = {"kind": "after", "after": after, "action": action.id}
            yield Slot(trigger.name, f"after:{action.id}", cause, depth)


def _depth(ws: Workspace, run: str) -> int:
    return int(runs.get(ws, run).cause.get("depth", 0)) if run else 0
