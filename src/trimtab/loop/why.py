"""Lineage in words: from a prediction, model, run, incident or data version back to its causes."""

from __future__ import annotations

from typing import Any, Final

from trimtab import hashing, ids
from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.loop.reports import Lineage
from trimtab.monitor import catalogue, history
from trimtab.store import artifacts, cache, operations, runs, verdicts, versions
from trimtab.store.records import Action, Incident, Rollout, Run, Version

_PREFIX: Final = 12
"""How much of an id is enough: its time, and more."""


def why(project: Project, what: str) -> Lineage:
    """Explain `MODEL@ALIAS`, `NAME@vN`, a prediction id, a run, an incident or `step:NAME`.

    Raises NotFoundError saying what may be asked.
    """
    if what.startswith("step:"):
        return _step(project, what.removeprefix("step:"))
    if "@" in what:
        return _named(project, what)
    if hashing.is_digest(what):
        return _candidate(project, what)
    found = _incident(project, what) or _action(project, what) or _run_of(project, what)
    if found is None:
        found = _prediction(project, what)
    if found is None:
        found = _bare_name(project, what)
    return found


def _bare_name(project: Project, what: str) -> Lineage:
    try:
        return _named(project, what)
    except NotFoundError as error:
        raise NotFoundError(
            f"nothing here is called {what!r}",
            hint="ask for MODEL@ALIAS, DATA@vN, a prediction id, a run, an incident or step:NAME",
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
        because=inner.because,
    )


def _candidate(project: Project, digest: str) -> Lineage:
    ws = project.ws
    meta = artifacts.get(ws, digest).meta
    because = [
        Lineage(title=f"gate: {one.text}: {one.status}", facts={"reason": one.reason})
        for one in _newest(project, digest, "gate")
    ]
    made = [link.run for link in runs.users(ws, digest) if link.direction == "out"]
    for run in dict.fromkeys(made):
        parent = runs.get(ws, run).parent
        because.append(_run(project, runs.get(ws, parent or run)))
    because += [
        _rollout(project, one) for one in operations.rollouts(ws) if one.candidate == digest
    ]
    facts = {"digest": digest, "engine": meta.get("engine"), "parity": meta.get("parity")}
    return Lineage(title=f"candidate {digest}", facts=facts, because=because)


def _rollout(project: Project, one: Rollout) -> Lineage:
    judged = _newest(project, one.candidate, "rollout")
    return Lineage(
        title=f"rollout at {one.endpoint}: {one.state}",
        facts={"stages": one.stages, "reason": one.reason},
        because=[
            Lineage(title=f"rollout: {v.text}: {v.status}", facts={"reason": v.reason})
            for v in judged
        ],
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
    )


def _incident(project: Project, what: str) -> Lineage | None:
    found = [one for one in operations.incidents(project.ws) if _means(what, one.id)]
    return _incident_lineage(found[0]) if found else None


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
