"""What the controller sees, will do next, and why not more: read from the store, without acting.

The same rules as a pass goes by, asked and not carried out; a rollout is judged by its last look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import msgspec

from trimtab import ids, schedule
from trimtab.deploy import local
from trimtab.loop import freeze, jobs, pause, triggers
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import retrain
from trimtab.loop.project import Project
from trimtab.loop.releases import heard, rollout, steering
from trimtab.loop.reports import Outlook
from trimtab.loop.retiring import retirement
from trimtab.monitor.log import catalogue, progress
from trimtab.store import operations, states, versions
from trimtab.store.records import Action, Incident, Rollout, Verdict

_DAY: Final = 86_400_000_000
_YEAR: Final = int(timedelta(days=366) / timedelta(microseconds=1))
Line = tuple[str, str]
"""("sees" or "next" or "held", what is said)."""


def outlook(project: Project, now: int) -> Outlook:
    """What a pass would do now, as a paragraph and line by line."""
    lines = list(_lines(project, now))
    rests = freeze.rests(project, now)
    paused = pause.paused(project.ws)
    if paused is not None:
        rests = f"paused: {paused.reason}" if paused.reason else "paused"
        rests += ", `trimtab resume` ends it"
    if rests:
        lines = [(kind, said) for kind, said in lines if kind != "next" or said.startswith("roll")]
        lines.append(("held", f"it is {rests}"))
    parts = {
        kind: [said for one, said in lines if one == kind] for kind in ("sees", "next", "held")
    }
    return Outlook(
        text=_paragraph(parts), sees=parts["sees"], next=parts["next"], held=parts["held"]
    )


def _paragraph(parts: dict[str, list[str]]) -> str:
    said = [f"The controller sees {'; '.join(parts['sees'])}."] if parts["sees"] else []
    said.append(
        f"Next it will {'; '.join(parts['next'])}." if parts["next"] else "It has nothing to do."
    )
    if parts["held"]:
        said.append(f"Not more, because {'; '.join(parts['held'])}.")
    return " ".join(said)


def _lines(project: Project, now: int) -> Iterator[Line]:
    yield from _seen(project)
    yield from _endpoints(project)
    yield from _jobs(project)
    for one in operations.rollouts(project.ws, state="open"):
        yield _rollout(project, one, now)
    for incident in operations.incidents(project.ws, state="open"):
        yield from _incident(project, incident)
    for trigger in triggers.every(project):
        yield from _trigger(project, trigger, now)


def _seen(project: Project) -> Iterator[Line]:
    ws = project.ws
    for endpoint in operations.endpoints(ws):
        if retirement.is_over(ws, endpoint.name):
            continue
        windows = operations.windows(ws, endpoint=endpoint.name)
        judged = [one for one in windows if one.judged_at]
        if judged:
            rows = sum(one.rows for one in judged)
            last = ids.iso(max(one.end for one in judged))
            spans = _count(len(judged), "window")
            yield "sees", f"{rows:,} answers of {endpoint.name} in {spans} to {last}"
        elif windows:
            yield "sees", f"answers of {endpoint.name}, but no window that has closed"
        else:
            yield "sees", f"no answers of {endpoint.name} yet"
    found = operations.incidents(ws, state="open")
    if found:
        yield "sees", _count(len(found), "open incident")


def _endpoints(project: Project) -> Iterator[Line]:
    ws = project.ws
    if not versions.find(ws, "model", project.config.model_name):
        yield "held", "no model has passed the gate, `trimtab run` trains one"
        return
    if not operations.endpoints(ws):
        yield "held", "nothing is deployed, `trimtab deploy` does it"
    for one in operations.endpoints(ws):
        if one.state == "lost" and one.routes and one.target == local.TARGET:
            yield "next", f"start {one.name} again, whose process died"
        refused = heard.why(project, one.name)
        if refused:
            yield "held", refused


def _jobs(project: Project) -> Iterator[Line]:
    for kind in (retrain.KIND, triggers.KIND):
        for action in operations.unhandled(project.ws, kind):
            yield _job(project, action)


def _job(project: Project, action: Action) -> Line:
    name = str(action.cause.get("trigger", "the retrain"))
    if action.state == "done":
        made = action.result.get("version")
        return "next", f"put {made} on trial" if made else f"note that {name} has ended"
    if action.state == "failed":
        return "next", f"ask a person about {name}, which failed: {action.result.get('reason')}"
    attempts = int(action.result.get("attempts", 0))
    if action.state == "planned":
        return "next", f"start {name}"
    if jobs.at_work(project, action):
        return "next", f"wait for {name}, at work since {ids.iso(action.updated_at)}"
    if attempts >= jobs.MAX_ATTEMPTS:
        return "next", f"ask a person about {name}, which failed {attempts} times"
    tried = f"attempt {attempts} of {jobs.MAX_ATTEMPTS}"
    return "next", f"start {name} again ({tried} failed: {action.result.get('reason', 'it died')})"


def _rollout(project: Project, one: Rollout, now: int) -> Line:
    ws, config = project.ws, project.config
    name = versions.get(ws, "model", one.candidate).label
    stage = one.stages[one.stage]
    last: dict[str, Any] | None = states.get(ws, f"rollout:{one.id}")
    if last is None:
        return "next", f"look at {name} at {stage}"
    judged = msgspec.convert(last["verdicts"], list[Verdict])
    seen = progress.of(ws, one)
    answered = int(seen.counts.sum()) if stage == "shadow" else seen.answered
    kept = steering.kept(ws, one, now)
    looked = steering.patient(one, now) if kept else one
    decision, reason = rollout.decide(config, looked, judged, answered, now)
    if not kept and decision != "hold" and heard.why(project, one.endpoint):
        kept = heard.DEAF
    if kept and decision != "roll back":
        return "held", f"{name} stays at {stage}: {kept}"
    if decision == "hold":
        end = ids.iso(one.staged_at + int(config.serve.max_hold_hours * _DAY / 24))
        return (
            "held",
            f"{name} stays at {stage} ({reason}; it is rolled back if that lasts to {end})",
        )
    if decision == "advance":
        return "next", f"raise {name} from {stage} to {one.stages[one.stage + 1]}"
    if decision == "promote":
        return "next", f"make {name} the champion"
    return "next", f"roll {name} back: {reason}"


def _incident(project: Project, incident: Incident) -> Iterator[Line]:
    ws, name = project.ws, incident.endpoint
    if operations.rollouts(ws, endpoint=name, state="open"):
        return
    if incident.kind == heard.KIND:  # the endpoint's own line says it
        return
    if incident.kind == incidents.DOWN:
        yield "held", f"a person must decide: {incident.title}"
        return
    if not (local.folder(ws, name) / catalogue.FOLDER / catalogue.FILE).is_file():
        return
    found = retrain.considered(project, incident)
    if isinstance(found, retrain.Proposed):
        yield "next", f"retrain on {found.rows} labelled rows since {ids.iso(incident.since)}"
    elif found:
        yield "held", found


def _trigger(project: Project, trigger: triggers.Trigger, now: int) -> Iterator[Line]:
    settings, words = trigger.settings, trigger.words
    moments = [
        moment
        for word in words
        if word.kind == "cron"
        for moment in _first(schedule.slots(word.value, settings.timezone, now, now + _YEAR))
    ]
    if moments:
        yield "next", f"fire {trigger.name} at {ids.iso(min(moments))}"
    waits = [_WAITS[one.kind].format(one.value) for one in words if one.kind in _WAITS]
    if waits:
        yield "next", f"fire {trigger.name} on {' or '.join(waits)}"
    before = triggers.recent(project.ws, trigger, now)
    if before and before[-1].state == "skipped" and before[-1].created_at > now - _DAY:
        slot = before[-1].key.split(":", 2)[-1]
        yield "held", f"{trigger.name} was not fired for {slot}: {before[-1].result.get('said')}"


_WAITS: Final = {
    "data": "new data",
    "webhook": "a signed call",
    "after": "the end of {}",
    "rows": "every {} labelled answers",
}


def _first(moments: Iterator[int]) -> list[int]:
    found = next(moments, None)
    return [] if found is None else [found]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
