"""What happened, in the order in which it happened, read from the store alone.

The ledger keeps every state that rollouts, incidents, label requests, versions and names went
through; this says what changed from one to the next, in words, each with its cause. Jobs and other
acts come from their rows. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.config import duration
from trimtab.errors import ConfigError, UsageError
from trimtab.loop.project import Project
from trimtab.loop.reports import Event, Timeline
from trimtab.store import ledger, operations, runs, versions
from trimtab.store.records import Action, Incident, LabelRequest, LedgerEntry, Rollout

_NOT_TOLD: Final = ("evidence", "verdict", "attachment")
_IN_LEDGER: Final = ("incident", "advance", "promote", "roll back")
"""Kinds of actions whose effect the ledger tells of as well."""
_TONES: Final = {"promoted": "good", "rolled_back": "bad", "done": "good", "failed": "bad"}
_FLOWS: Final = 1_000
_MOST: Final = 80
"""Letters of a value that nobody here knows how to tell."""
_PEOPLE: Final = {
    "hand": "{said}",
    "retire": "endpoint {endpoint} and its retirement: {phase}",
    "accept": "data {data} may be trained on",
}
"""What people say and what follows from it, by the ledger's kind."""

Records = dict[str, Any]


def timeline(project: Project, since: str = "", until: str = "") -> Timeline:
    """Everything between two moments, oldest first; see `moment` for how they are said."""
    first = moment(since) if since else 0
    last = moment(until) if until else ids.now()
    if last < first:
        raise UsageError(f"--until {until} is before --since {since}")
    found = [*_of_ledger(project), *_of_actions(project), *_of_runs(project)]
    shown = sorted((one for one in found if first <= one.time <= last), key=lambda one: one.time)
    return Timeline(since=first or (shown[0].time if shown else last), until=last, events=shown)


def moment(text: str) -> int:
    """A date or time, or how long ago ("2w", "36h"), in microseconds; raises UsageError."""
    try:
        return ids.now() - duration(text)
    except ConfigError:
        pass
    try:
        return ids.parse_time(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no moment", hint="write 2w, 3d or 36h for how long ago, or 2026-01-31"
        ) from error


def _of_ledger(project: Project) -> Iterator[Event]:
    """The entries that are states of something, each against the state before."""
    known: dict[str, Records] = {"rollout": {}, "incident": {}, "label_request": {}}
    names = {one.digest: one.label for one in versions.find(project.ws, "model")}
    types: dict[str, tuple[type[Any], Callable[..., Iterable[Event]]]] = {
        "rollout": (Rollout, _rollout),
        "incident": (Incident, _incident),
        "label_request": (LabelRequest, _label_request),
    }
    for entry in ledger.states(project.ws, _NOT_TOLD):
        if entry.kind in types:
            type_, tell = types[entry.kind]
            now = msgspec.json.decode(entry.body, type=type_, strict=False)
            yield from tell(entry.time, known[entry.kind].get(now.id), now, names)
            known[entry.kind][now.id] = now
        else:
            yield from _plain(project, entry, msgspec.json.decode(entry.body), names)


def _rollout(
    time: int, before: Rollout | None, now: Rollout, names: dict[str, str]
) -> Iterator[Event]:
    label = names.get(now.candidate, _short(now.candidate))
    if before is None:
        kind = str(now.cause.get("kind", "")).replace("manual", "a person's deploy")
        yield Event(
            time=time, lane="rollout", tone="busy", id=now.id,
            said=f"{label} goes on trial at {now.endpoint}, at {now.stages[now.stage]}",
            cause=kind or "a person's deploy", short=f"{label} {now.stages[now.stage]}",
            endpoint=now.endpoint,
        )  # fmt: skip
    elif now.state != before.state:
        word = {"promoted": "is champion", "rolled_back": "is rolled back"}.get(now.state)
        yield Event(
            time=time, lane="rollout", tone=_TONES.get(now.state, "plain"), id=now.id,
            said=f"{label} {word or now.state.replace('_', ' ')} at {now.endpoint}",
            cause=now.reason, endpoint=now.endpoint, ends=True,
        )  # fmt: skip
    elif now.stage != before.stage:
        yield Event(
            time=time, lane="rollout", tone="busy", id=now.id,
            said=f"{label} goes on to {now.stages[now.stage]} at {now.endpoint}", cause=now.reason,
            short=f"{label} {now.stages[now.stage]}", endpoint=now.endpoint,
        )  # fmt: skip


def _incident(
    time: int, before: Incident | None, now: Incident, names: dict[str, str]
) -> Iterator[Event]:
    weight = now.detail.get("severity", {})
    why = str(weight.get("why", "")) if isinstance(weight, dict) else ""
    tone = "bad" if now.severity == "page" else "warn"

    def event(said: str, tone: str, cause: str = "") -> Event:
        return Event(
            time=time, lane="incident", tone=tone, said=said, cause=cause, id=now.id,
            short=now.kind, endpoint=now.endpoint, ends=now.state != "open",
        )  # fmt: skip

    if before is None:
        yield event(f"{now.severity}: {now.title}", tone, why)
    elif now.state not in (before.state, "open"):
        yield event(f"resolved: {now.kind} at {now.endpoint}", "good", now.resolution)
    elif now.state != before.state or now.reopened != before.reopened:
        yield event(f"opened again, {now.severity}: {now.title}", tone, why)
    elif now.acknowledged_at and not before.acknowledged_at:
        yield event(f"in the hands of {now.acknowledged_by}: {now.kind} at {now.endpoint}", "busy")
    elif now.kind != before.kind:
        yield event(f"{before.kind} has its name: {now.title}", tone, why)
    elif now.severity != before.severity:
        yield event(f"now a {now.severity}: {now.title}", tone, why)


def _label_request(
    time: int, before: LabelRequest | None, now: LabelRequest, names: dict[str, str]
) -> Iterator[Event]:
    if before is None:
        yield Event(
            time=time, lane="labels", tone="warn", id=now.id,
            said=f"{now.wanted:,} labels are asked for at {now.endpoint}", cause=now.reason,
            short=f"{now.wanted:,} labels", endpoint=now.endpoint,
        )  # fmt: skip
    elif now.state != before.state:
        yield Event(
            time=time, lane="labels", tone="plain", id=now.id,
            said=f"the request for labels is closed: {now.answered:,} of {now.wanted:,} came",
            cause=now.resolution, endpoint=now.endpoint, ends=True,
        )  # fmt: skip


def _plain(
    project: Project, entry: LedgerEntry, body: Any, names: dict[str, str]
) -> Iterator[Event]:
    """Entries that hold a change and not a record."""
    if not isinstance(body, dict):
        return
    told = _version if entry.kind == "version" else _named if "to" in body else _other
    event = told(project, entry, body, names)
    if event is not None:
        yield event


def _version(
    project: Project, entry: LedgerEntry, body: Records, names: dict[str, str]
) -> Event | None:
    version = versions.get(project.ws, body["kind"], body["name"])
    if body["kind"] == "data":
        rows = version.meta.get("rows")
        origin = version.meta.get("source", {}).get("provenance") or {}
        return Event(
            time=entry.time, lane="data", said=f"data {body['name']}"
            + (f": {rows:,} rows" if isinstance(rows, int) else ""),
            cause=str(origin.get("method", "")), id=body["name"],
        )  # fmt: skip
    held = "provisionally " if version.meta.get("provisional") else ""
    return Event(
        time=entry.time, lane="model", tone="good", said=f"{body['name']} passed the gate {held}".strip(),
        cause=_cause_of(project, body.get("run", "")), id=body["name"],
    )  # fmt: skip


def _named(
    project: Project, entry: LedgerEntry, body: Records, names: dict[str, str]
) -> Event | None:
    """A name that points elsewhere now: an alias, or the configuration in force."""
    if entry.kind == "config":
        return Event(
            time=entry.time, lane="controller", said=f"configuration {_short(body['to'])} was put in force",
        )  # fmt: skip
    name, _, alias = str(body.get("name", "")).rpartition("@")
    if alias in ("champion", "previous", ""):  # told by the deployment
        return None
    to = names.get(body["to"], _short(body["to"]))
    return Event(time=entry.time, lane="model", said=f"{name}@{alias} is {to}", id=body["name"])


def _other(
    project: Project, entry: LedgerEntry, body: Records, names: dict[str, str]
) -> Event | None:
    if "paused" in body:
        reason = str(body.get("reason", ""))
        said = "the controller rests" if body["paused"] else "the controller acts again"
        tone = "warn" if body["paused"] else "plain"
        return Event(
            time=entry.time, lane="controller", tone=tone, said=said, cause=reason,
            id="pause", short="paused", ends=not body["paused"],
        )  # fmt: skip
    if entry.kind == "deploy" and "version" in body:
        said = f"{body['version']} answers at {body['endpoint']}"
        return Event(
            time=entry.time, lane="champion", tone="good", said=said, id=str(body["version"]),
            short=str(body["version"]), endpoint=str(body["endpoint"]),
        )  # fmt: skip
    told = _PEOPLE.get(entry.kind)
    if told is not None:
        by = f", by {body['by']}" if body.get("by") else ""
        said = told.format_map({key: str(value) for key, value in body.items()}) + by
        return Event(
            time=entry.time, lane="controller", said=said, cause=str(body.get("reason", "")),
            endpoint=str(body.get("endpoint", "")),
        )  # fmt: skip
    parts = [
        f"{key} {_short(str(value))[:_MOST]}"
        for key, value in body.items()
        if value not in ("", None)
    ]
    return Event(
        time=entry.time,
        lane="controller",
        said=f"{entry.kind.replace('_', ' ')}: {', '.join(parts)}",
    )


def _of_actions(project: Project) -> Iterator[Event]:
    """Jobs, as they were decided and as they ended; restarts; anything that is not in the ledger."""
    for one in operations.actions(project.ws):
        if one.kind in _IN_LEDGER or one.key.startswith("hand:"):
            continue
        if one.kind == "restart":
            yield Event(
                time=one.created_at, lane="endpoint", tone="bad", id=one.id, said=_restarted(one),
                cause=str(one.result.get("reason", "")),
            )  # fmt: skip
            continue
        lane = "retrain" if one.kind in ("retrain", "fire") else "controller"
        yield Event(
            time=one.created_at, lane=lane, id=one.id, cause=_because(one),
            tone="plain" if one.state == "skipped" else "busy", said=_begun(one), short=one.kind,
            endpoint=str(one.cause.get("endpoint", "")), ends=one.state == "skipped",
        )  # fmt: skip
        if one.state in ("done", "failed") and one.updated_at > one.created_at:
            yield Event(
                time=one.updated_at, lane=lane, tone=_TONES[one.state], id=one.id, said=_ended(one),
                cause=str(one.result.get("reason", "")), short=one.kind, ends=True,
            )  # fmt: skip


def _restarted(one: Action) -> str:
    done = "was started again" if one.state == "done" else "does not start"
    return f"endpoint {one.cause.get('endpoint', '')} had died and {done}"


def _begun(one: Action) -> str:
    said = str(one.result.get("said", ""))
    if one.kind == "fire":
        what = f"trigger {one.cause.get('trigger', '')}"
        return f"{what} is skipped: {said}" if one.state == "skipped" else f"{what} fires"
    return said if one.kind == "retrain" and said else f"{one.kind}: {said}".rstrip(": ")


def _because(one: Action) -> str:
    kind = str(one.cause.get("kind", ""))
    incident = str(one.cause.get("incident", ""))
    return f"{kind}, incident {incident[:16]}" if incident else kind


def _ended(one: Action) -> str:
    what = "the retrain" if one.kind == "retrain" else f"{one.cause.get('trigger') or one.kind}"
    made = f" with {one.result['version']}" if one.result.get("version") else ""
    return f"{what} ended{made}" if one.state == "done" else f"{what} failed"


def _of_runs(project: Project) -> Iterator[Event]:
    """Flows that a person began."""
    for run in runs.find(project.ws, kind="flow", limit=_FLOWS):
        if run.cause.get("action") or run.status == "running":
            continue
        yield Event(
            time=run.ended_at or run.started_at, lane="retrain", id=run.id,
            tone=_TONES.get(run.status, "plain"), said=f"{run.name} was run: {run.status}",
            short=run.name, ends=True,
            cause="by hand" if run.cause.get("kind", "manual") == "manual" else str(run.cause["kind"]),
        )  # fmt: skip


def _cause_of(project: Project, run: str) -> str:
    """Why the run that made something was begun."""
    if not run:
        return ""
    found = runs.get(project.ws, run)
    if found.parent:
        found = runs.get(project.ws, found.parent)
    reason = found.cause.get("reason") or found.cause.get("kind", "")
    return str(reason).replace("manual", "a run by hand")


def _short(text: str) -> str:
    return text.removeprefix(hashing.PREFIX)[:12] if hashing.is_digest(text) else text
