"""A project's loop at a glance: each stage's state, each requirement's verdicts, one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from trimtab import ids
from trimtab.deploy import local, tomb
from trimtab.errors import NotFoundError
from trimtab.loop import freeze, pause
from trimtab.loop.alerts import unheard
from trimtab.loop.project import Project, applied
from trimtab.loop.releases import heard
from trimtab.loop.reports import Node, Overview, RequirementState
from trimtab.loop.retiring import retirement
from trimtab.loop.views import outlook
from trimtab.monitor.outcomes import knowledge
from trimtab.store import operations, runs, verdicts, versions
from trimtab.store.records import Action, Endpoint, Incident, Rollout, Run, Verdict, Version

_RECENT = 20


def overview(project: Project) -> Overview:
    """What there is and how it is, read from the store alone."""
    ws = project.ws
    with contextlib.suppress(NotFoundError):  # before the first apply the file is what there is
        project = replace(project, config=applied(ws))
    config = project.config
    models = versions.find(ws, "model", config.model_name)
    aliases = versions.aliases(ws, "model", config.model_name)
    # What answers with the project's own model comes first; a retired endpoint stands for no other.
    endpoints = sorted(
        local.every(ws),
        key=lambda one: (one.state in tomb.ENDED, one.name != config.model_name),
    )
    open_rollouts = operations.rollouts(ws, state="open")
    incidents = operations.incidents(ws)
    flows = runs.find(ws, kind="flow", deleted=False, limit=_RECENT)
    logged = runs.find(ws, kind="run", deleted=False, limit=_RECENT)
    actions = operations.actions(ws)[:_RECENT]
    champion = next((one for one in models if one.digest == aliases.get("champion")), None)
    is_open = [one for one in incidents if one.state == "open"]
    judged = _requirements(project, models)
    ending = {one.endpoint: retirement.sentence(one) for one in retirement.every(ws)}
    nodes = [
        _data(project),
        _run(flows),
        _model(models, champion, judged),
        _endpoint(project, endpoints, open_rollouts, ending),
        _monitor(project, endpoints, is_open),
    ]
    return Overview(
        project=config.project.name,
        purpose=config.project.purpose,
        sentence=_sentence(project, champion, endpoints, open_rollouts, is_open, actions)
        + "".join(f" {one}." for one in ending.values())
        + "".join(f" {one}" for one in unheard.sentences(project))
        + _rest(project),
        outlook=outlook.outlook(project, ids.now()),
        nodes=nodes,
        requirements=judged,
        versions=models,
        aliases=aliases,
        endpoints=endpoints,
        rollouts=operations.rollouts(ws)[:_RECENT],
        incidents=incidents[:_RECENT],
        actions=actions,
        runs=sorted((*flows, *logged), key=lambda run: run.id, reverse=True)[:_RECENT],
        ending=ending,
    )


def _requirements(project: Project, models: Sequence[Version]) -> list[RequirementState]:
    newest = max(models, key=lambda one: one.number).digest if models else None
    at_gate = _by_requirement(verdicts.find(project.ws, subject=newest, place="gate"))
    at_rollout = _by_requirement(verdicts.find(project.ws, place="rollout"))
    in_production = _by_requirement(standing(verdicts.find(project.ws, place="monitor")))
    return [
        RequirementState(
            text=one.text,
            gate=at_gate.get(one.digest),
            rollout=at_rollout.get(one.digest),
            monitor=in_production.get(one.digest) or in_production.get(one.text),
        )
        for one in project.config.require
    ]


def standing(found: Sequence[Verdict]) -> list[Verdict]:
    """Verdicts on production, newest first, but before those all that fail at their last look.

    Of one requirement a single window's and each pool's stand side by side, of the newest model.
    """
    last: dict[tuple[str, int], Verdict] = {}
    model: dict[str, object] = {}
    for one in found:
        mine = one.details.get("model")
        if model.setdefault(one.requirement, mine) == mine:
            last.setdefault((one.requirement, int(one.details.get("windows", 1))), one)
    return [*(one for one in last.values() if one.status == "fail"), *found]


def _by_requirement(found: Sequence[Verdict]) -> dict[str, Verdict]:
    newest: dict[str, Verdict] = {}
    for one in found:
        newest.setdefault(one.requirement, one)
        newest.setdefault(one.text, one)
    return newest


def _data(project: Project) -> Node:
    found = versions.find(project.ws, "data")
    if not found:
        return Node(name="data", state="idle", title="no data version", detail="trimtab data add")
    newest = found[0]
    rows = newest.meta.get("rows")
    detail = f"{rows:,} rows" if isinstance(rows, int) else ""
    return Node(name="data", state="good", title=newest.label, detail=detail)


def _run(flows: Sequence[Run]) -> Node:
    if not flows:
        return Node(name="run", state="idle", title="no run yet", detail="trimtab run")
    last = flows[0]
    state = {"running": "busy", "failed": "bad", "cancelled": "unknown"}.get(last.status, "good")
    began = ids.iso(last.started_at)[:16].replace("T", " ")
    return Node(
        name="run",
        state=state,
        title=f"{last.name}: {last.status}",
        detail=began,
        link=f"/runs/{last.id}",
    )


def _model(
    models: Sequence[Version], champion: Version | None, judged: Sequence[RequirementState]
) -> Node:
    if champion is None:
        return Node(
            name="model", state="idle", title="no champion", detail="none has passed the gate"
        )
    newest = max(models, key=lambda one: one.number)
    held = [one.gate for one in judged if one.gate is not None]
    bad = any(not verdict.allows for verdict in held)
    detail = f"newest {newest.label}" if newest.digest != champion.digest else "champion"
    return Node(name="model", state="bad" if bad else "good", title=champion.label, detail=detail)


def _endpoint(
    project: Project,
    endpoints: Sequence[Endpoint],
    rollouts: Sequence[Rollout],
    ending: dict[str, str],
) -> Node:
    if not endpoints:
        return Node(name="endpoint", state="idle", title="not deployed", detail="trimtab deploy")
    one = endpoints[0]
    state = {"ready": "good", "starting": "busy", "lost": "bad"}.get(one.state, "idle")
    detail = local.url(one) if one.state == "ready" else one.state
    if one.name in ending:
        detail = ending[one.name].removeprefix(f"{one.name} ")
    if rollouts:
        state, detail = "busy", f"rollout at {rollouts[0].stages[rollouts[0].stage]}"
    if local.refused(project.ws, one):
        state, detail = "bad", f"goes on with older routes: trimtab endpoints show {one.name}"
    return Node(name="endpoint", state=state, title=one.name, detail=detail)


def _monitor(project: Project, endpoints: Sequence[Endpoint], is_open: Sequence[Incident]) -> Node:
    if is_open:
        kinds = ", ".join(dict.fromkeys(one.kind for one in is_open))
        paged = any(one.severity == "page" for one in is_open)
        return Node(name="monitor", state="bad" if paged else "unknown", title=kinds,
                    detail=f"{len(is_open)} open", link="/monitor")  # fmt: skip
    live = [one for one in endpoints if not retirement.is_over(project.ws, one.name)]
    if endpoints and not live:
        return Node(name="monitor", state="idle", title="nothing is watched any more")
    windows = [one for e in live for one in operations.windows(project.ws, endpoint=e.name)]
    if not windows:
        return Node(name="monitor", state="idle", title="no traffic yet")
    judged = [one for one in windows if one.judged_at]
    if not judged:
        return Node(name="monitor", state="idle", title="no window has closed yet")
    detail = f"{len(judged)} windows judged"
    if any(knowledge.blind(project.ws, one.name) for one in live):
        return Node(
            name="monitor", state="unknown", title="cannot know", detail=detail, link="/monitor"
        )
    return Node(name="monitor", state="good", title="calm", detail=detail, link="/monitor")


def _rest(project: Project) -> str:
    """That the controller starts nothing, where it was told so."""
    rests = pause.paused(project.ws)
    if rests is None:
        frozen = freeze.frozen(project.config, ids.now())
        return f" The controller is {frozen.sentence}." if frozen else ""
    why = f": {rests.reason}" if rests.reason else ""
    return f" The controller is paused since {ids.iso(rests.since)}{why}."


def _sentence(
    project: Project,
    champion: Version | None,
    endpoints: Sequence[Endpoint],
    rollouts: Sequence[Rollout],
    is_open: Sequence[Incident],
    actions: Sequence[Action],
) -> str:
    name = project.config.project.name
    ours = [one for one in endpoints if one.target == local.TARGET]  # a watch takes no alias away
    if champion is None and any(retirement.is_over(project.ws, one.name) for one in ours):
        return f"{name} has no champion any more."
    if champion is None:
        return f"{name} has no model that passed its requirements yet."
    ready = [one for one in endpoints if one.state == "ready"]
    said = f"{champion.label} is champion of {name}"
    said += f" and answers at {local.url(ready[0])}." if ready else "; no endpoint is running."
    if rollouts:
        one = rollouts[0]
        said += f" A rollout is at {one.stages[one.stage]}" + (
            f": {one.reason}." if one.reason else "."
        )
    said += "".join(f" Open: {one.title}" for one in is_open)
    deaf = [why for one in ready if (why := heard.why(project, one.name))]
    if not any(one.kind == heard.KIND for one in is_open):
        said += "".join(f" {one}." for one in deaf)
    if any(knowledge.blind(project.ws, one.name) for one in ready):
        said += " Whether it is right cannot be known: labels are missing."
    elif ready and not is_open and not deaf:
        said += " Nothing is off course."
    jobs = [one for one in actions if one.kind == "retrain" and one.state in ("planned", "running")]
    if jobs:
        said += " A retrain is at work."
    return said
