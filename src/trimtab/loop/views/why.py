"""Lineage in words: from whatever is or was done here back to its causes."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from trimtab import hashing, ids
from trimtab.errors import NotFoundError
from trimtab.loop import triggers
from trimtab.loop.candidate import admission
from trimtab.loop.project import Project
from trimtab.loop.reports import Lineage
from trimtab.loop.retiring import erase, retirement
from trimtab.monitor.log import catalogue, history
from trimtab.store import artifacts, cache, evidence, operations, runs, verdicts, versions
from trimtab.store.records import Action, Incident, Rollout, Run, Verdict, Version

ACTS: Final = {
    "incident": "an incident was noted",
    "retrain": "a retrain",
    "fire": "a trigger fired",
    "advance": "a rollout went to its next stage",
    "promote": "a candidate became champion",
    "roll back": "a model went back",
    "restart": "an endpoint was started again",
    "hold": "a rollout was held",
    "release": "a held rollout was let go on",
    "deploy": "a model was put in place",
    "retire": "an endpoint was retired",
}
"""What each kind of action is, in words."""
_ASKED: Final = {
    "manual": "a person asked for it",
    "webhook": "a signed call asked for it",
    "schedule": "its schedule came",
    "backfill": "a person filled its schedule",
    "data": "new data came",
    "rows": "{rows} labelled answers",
    "after": "a run of another trigger ended",
}
_ABOUT: Final = ("endpoint", "flow", "slot", "stage", "by")
_INNER: Final = ("pid", "pid_started", "handled")
_FEW: Final = 5
_PREFIX: Final = 12
"""How much of an id is enough: its time, and more."""


def why(project: Project, what: str) -> Lineage:
    """Explain `MODEL@ALIAS`, `NAME@vN`, `step:NAME`, a trigger by its name, or by its id a
    prediction, a run, an incident, a rollout or an action.

    Raises NotFoundError saying what may be asked.
    """
    if what.startswith("step:"):
        return _step(project, what.removeprefix("step:"))
    if "@" in what:
        return _named(project, what)
    if hashing.is_digest(what):
        return _candidate(project, what)
    if what.startswith("trigger:"):
        return _trigger(project, what.removeprefix("trigger:"))
    found = (
        _incident(project, what, deep=True)
        or _action(project, what)
        or _rollout_of(project, what)
        or _run_of(project, what)
    )
    return found or _prediction(project, what) or _bare_name(project, what)


def _bare_name(project: Project, what: str) -> Lineage:
    try:
        return _named(project, what)
    except NotFoundError as error:
        if any(one.name == what for one in triggers.every(project)):
            return _trigger(project, what)
        raise NotFoundError(
            f"nothing here is called {what!r}",
            hint="ask for MODEL@ALIAS, DATA@vN, step:NAME, a trigger, or the id of a prediction, "
            "a run, an incident, a rollout or an action",
        ) from error


def _named(project: Project, what: str) -> Lineage:
    try:
        return _model(project, versions.get(project.ws, "model", what))
    except NotFoundError as no_model:
        try:
            return _data(project, versions.get(project.ws, "data", what))
        except NotFoundError:
            raise no_model from None


def _model(project: Project, version: Version) -> Lineage:
    ws = project.ws
    names = [
        alias
        for alias, digest in versions.aliases(ws, "model", version.name).items()
        if digest == version.digest
    ]
    inner = _candidate(project, version.digest)
    return Lineage(
        title=f"{version.label} ({', '.join(names) or 'no alias'}) passed the gate "
        f"at {ids.iso(version.created_at)}",
        facts=inner.facts,
        because=[*_retired(project, version), *inner.because],
    )


def _retired(project: Project, version: Version) -> list[Lineage]:
    """The endpoints of this model that are to retire or have: when, why and by whom."""
    found = [one for one in retirement.every(project.ws) if version.label in one.models]
    return [
        Lineage(
            title=retirement.sentence(one),
            facts={
                "by": one.by,
                "reason": one.reason,
                "announced": ids.iso(one.announced_at),
                "successor": one.link or one.successor,
                "erased": [str(x["what"]) for x in erase.erased(project.ws, one.endpoint)],
            },
        )
        for one in found
    ]


def _candidate(project: Project, digest: str, *, rollouts: bool = True) -> Lineage:
    ws = project.ws
    meta = artifacts.get(ws, digest).meta
    because = [
        Lineage(title=f"gate: {one.text}: {one.status}", facts={"reason": one.reason})
        for one in _newest(project, digest, "gate")
    ]
    for run in dict.fromkeys(x.run for x in runs.users(ws, digest) if x.direction == "out"):
        parent = runs.get(ws, run).parent
        because.append(_run(project, runs.get(ws, parent or run)))
    because += [
        _rollout(project, one)
        for one in operations.rollouts(ws)
        if rollouts and one.candidate == digest
    ]
    parity = {key: value for key, value in (meta.get("parity") or {}).items() if key != "slices"}
    facts = {"digest": digest, "engine": meta.get("engine"), "parity": parity}
    return Lineage(title=f"candidate {digest}", facts=facts, because=because)


def _rollout_of(project: Project, what: str) -> Lineage | None:
    """A rollout that was asked for: with what made its candidate, and what opened it."""
    found = next((one for one in operations.rollouts(project.ws) if _means(what, one.id)), None)
    if found is None:
        return None
    inner = _rollout(project, found)
    because = [*inner.because, *_causes(project, found.cause)]
    with contextlib.suppress(NotFoundError):
        because.append(_candidate(project, found.candidate, rollouts=False))
    return Lineage(title=inner.title, facts=inner.facts, because=because)


def _rollout(project: Project, one: Rollout) -> Lineage:
    return Lineage(
        title=f"rollout at {one.endpoint}: {one.state}",
        facts={"id": one.id, "stages": one.stages, "at": one.stages[one.stage],
               "opened": ids.iso(one.opened_at), "reason": one.reason},
        because=[_verdict(v) for v in _newest(project, one.candidate, "rollout")],
    )  # fmt: skip


def _verdict(one: Verdict) -> Lineage:
    return Lineage(
        title=f"{one.place}: {one.text}: {one.status}",
        facts={"reason": one.reason, "rows": one.n, "decided": ids.iso(one.decided_at)},
    )


def _newest(project: Project, subject: str, place: str) -> list[Any]:
    newest: dict[str, Any] = {}
    for one in verdicts.find(project.ws, subject=subject, place=place):
        newest.setdefault(one.requirement, one)
    return list(newest.values())


def _run_of(project: Project, what: str) -> Lineage | None:
    try:
        return _run(project, runs.get(project.ws, what))
    except NotFoundError:
        return None


def _run(project: Project, run: Run) -> Lineage:
    ws = project.ws
    because = [
        _input(project, link.name, link.digest)
        for link in runs.links(ws, run.id)
        if link.direction == "in"
    ]
    cause = run.cause.get("kind", "manual")
    if run.cause.get("incident"):
        found = _incident(project, str(run.cause["incident"]))
        because += [found] if found else []
    else:
        because.append(Lineage(title=f"cause: {cause}", facts=run.cause))
    seconds = (run.ended_at - run.started_at) / 1e6 if run.ended_at else None
    facts = {
        "status": run.status,
        **{key: value for key, value in run.tags.items() if key == "said"},
        "started": ids.iso(run.started_at),
        "seconds": seconds,
        "params": run.params,
        "code": run.code,
        "environment": run.environment,
        **{key: value for key, value in run.tags.items() if key.startswith("git")},
        "peak_bytes": run.peak_bytes,
    }
    return Lineage(title=f"run {run.name} {run.id}", facts=facts, because=because)


def _input(project: Project, name: str, digest: str) -> Lineage:
    for version in versions.find(project.ws, "data"):
        if version.digest == digest:
            return _data(project, version)
    return Lineage(title=f"read {name}", facts={"digest": digest})


def _data(project: Project, version: Version) -> Lineage:
    meta = version.meta
    shown: dict[str, Any] = {
        key: meta[key] for key in ("rows", "source", "record", "provenance") if key in meta
    }
    return Lineage(
        title=f"data {version.label} of {ids.iso(version.created_at)}",
        facts={"digest": version.digest, **shown},
        because=_admitted(project, version),
    )


def _admitted(project: Project, version: Version) -> list[Lineage]:
    found = admission.of(project, version)
    if found is None:
        return []
    facts: dict[str, Any] = {"reason": found.reason, "champion": found.champion}
    if found.word:
        facts["overruled"] = f"{found.word['by']}: {found.word['reason']}"
    return [Lineage(title=f"acceptance by effect: {found.status}", facts=facts)]


def _incident(project: Project, what: str, *, deep: bool = False) -> Lineage | None:
    found = [one for one in operations.incidents(project.ws) if _means(what, one.id)]
    if not found:
        return None
    inner = _incident_lineage(found[0])
    because = _seen(project, found[0]) if deep else []
    return Lineage(title=inner.title, facts=inner.facts, because=because)


def _seen(project: Project, incident: Incident) -> list[Lineage]:
    """What an incident stands on: verdicts, evidence, the window, and the model with its run."""
    ws, model = project.ws, str(incident.detail.get("model", ""))
    subject = model or str(incident.detail.get("subject", ""))
    parts = (incident.detail, *incident.detail.get("loss", ()))
    proofs = {str(part.get("verdict", "")) for part in parts}
    found = [_verdict(one) for one in verdicts.find(ws, ids=proofs)]
    for place in ("rollout", "gate"):
        found += [_verdict(one) for one in _newest(project, subject, place) if one.status == "fail"]
    for one in evidence.find(ws, subject=subject, limit=_FEW):
        facts = {"value": one.value, "from": one.lo, "to": one.hi, "rows": one.n}
        title = f"evidence: {one.metric} of {one.window} by {one.method}"
        found.append(Lineage(title=title, facts=facts))
    for window in operations.windows(ws, endpoint=incident.endpoint, model=model):
        name = f"{ids.iso(window.start)}/{ids.iso(window.end)}"
        if name == incident.detail.get("window"):
            texts = [str(finding.get("text", "")) for finding in window.findings]
            told = {"rows": window.rows, "role": window.role, "found": texts}
            found.append(Lineage(title=f"window {name}", facts=told))
    with contextlib.suppress(NotFoundError):
        found.append(_candidate(project, subject))
    return found


def _incident_lineage(incident: Incident) -> Lineage:
    return Lineage(
        title=f"incident {incident.kind}: {incident.title}",
        facts={
            "id": incident.id,
            "since": ids.iso(incident.since) if incident.since else "",
            "state": incident.state,
            "window": incident.detail.get("window", ""),
            "model": incident.detail.get("version", ""),
            "resolution": incident.resolution,
        },
    )


def _action(project: Project, what: str) -> Lineage | None:
    found = [one for one in operations.actions(project.ws) if _means(what, one.id)]
    return _action_lineage(project, found[0]) if found else None


def _action_lineage(project: Project, action: Action) -> Lineage:
    about = {key: value for key, value in action.cause.items() if key in _ABOUT and value}
    result = {key: value for key, value in action.result.items() if key not in _INNER}
    return Lineage(
        title=f"{ACTS.get(action.kind, action.kind)}: {action.state}",
        facts={**result, **about, "at": ids.iso(action.created_at), "key": action.key},
        because=_causes(project, action.cause),
    )


def _causes(project: Project, cause: dict[str, Any]) -> list[Lineage]:
    """What stands behind an action or a rollout, each back to its own causes."""
    kind = str(cause.get("kind", ""))
    found = [
        _incident(project, str(cause.get("incident", "")), deep=True),
        _rollout_of(project, str(cause.get("rollout", ""))),
        _action(project, str(cause.get("action", ""))),
    ]
    with contextlib.suppress(NotFoundError):
        if cause.get("version"):
            found.append(_named(project, str(cause["version"])))
    with contextlib.suppress(NotFoundError):
        if cause.get("model") and found[0] is None:
            found.append(_candidate(project, str(cause["model"]), rollouts=False))
    fired = cause.get("trigger")
    found += [_settings(one) for one in triggers.every(project) if one.name == fired]
    if kind in _ASKED:
        title = f"cause: {_ASKED[kind]}".format(**{"by": "", "rows": "", **cause})
        facts = {key: cause[key] for key in ("by", "reason", "slot") if cause.get(key)}
        found.append(Lineage(title=title, facts=facts))
    if set(cause) == {"endpoint"}:
        found.append(Lineage(title=f"cause: the process of {cause['endpoint']} had ended"))
    return [one for one in found if one is not None]


def _trigger(project: Project, name: str) -> Lineage:
    """What a trigger starts on, its brakes, and its last firings."""
    known = next((one for one in triggers.every(project) if one.name == name), None)
    if known is None:
        names = ", ".join(one.name for one in triggers.every(project))
        raise NotFoundError(f"there is no trigger {name!r}", hint=f"there is: {names}")
    inner = _settings(known)
    fired = list(reversed(triggers.recent(project.ws, known, ids.now())))[:_FEW]
    because = [_action_lineage(project, one) for one in fired]
    return Lineage(title=inner.title, facts=inner.facts, because=because)


def _settings(trigger: triggers.Trigger) -> Lineage:
    settings, flow = trigger.settings, trigger.flow or "the flow of the model"
    brakes = ("overlap", "cooldown", "at_most", "cost_per_day", "max_depth", "timeout")
    return Lineage(
        title=f"trigger {trigger.name} starts {flow}",
        facts={"on": list(settings.on), **{key: getattr(settings, key) for key in brakes}},
    )


def _prediction(project: Project, what: str) -> Lineage | None:
    for endpoint in operations.endpoints(project.ws):
        folder = project.ws.root / "endpoints" / endpoint.name
        with catalogue.open_catalogue(folder) as index:
            found = history.find(index, what)
        if found is not None:
            return _predicted(project, endpoint.name, found)
    return None


def _predicted(project: Project, endpoint: str, found: dict[str, Any]) -> Lineage:
    prediction = found["prediction_id"]
    label = operations.labels_of(project.ws, [prediction]).get(prediction)
    version = versions.get(project.ws, "model", found["model"])
    return Lineage(
        title=f"prediction {prediction} of {ids.iso(found['event_time'])}: {found['decision']}",
        facts={
            "score": found["score"],
            "inputs": {**found["inputs"], **found["context"]},
            "endpoint": endpoint,
            "role": found["role"],
            "model": found["label"],
            "truth": label.value if label else "not known yet",
        },
        because=[_model(project, version)],
    )


def _means(what: str, full: str) -> bool:
    """Whether a person who wrote `what` meant this id: all of it, or enough of its beginning."""
    return full == what or (len(what) >= _PREFIX and full.startswith(what))


def _step(project: Project, name: str) -> Lineage:
    last = cache.last(project.ws, [name]).get(name)
    if last is None:
        raise NotFoundError(f"no step called {name!r} has run", hint="see `trimtab plan`")
    return Lineage(
        title=f"step {name} last ran in {last.run} at {ids.iso(last.created_at)}",
        facts={"key": last.key, "components": last.components, "observed": last.observed,
               "weak": last.weak},
        because=[_run(project, runs.get(project.ws, last.run))],
    )  # fmt: skip
