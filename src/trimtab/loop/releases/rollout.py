"""A candidate's way to the endpoint: shadow, shares of the traffic, all of it; or back.

Every look judges the project's own requirements, and guards against the champion, on evidence that
may be looked at at any time. Quality and fairness must pass; guards must not fail. Undecided holds,
and rolls back after `[serve] max_hold_hours`. docs/rollout.md explains the rules to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Config, Requirement
from trimtab.deploy import local
from trimtab.errors import ModelError
from trimtab.evaluate import metrics
from trimtab.evaluate.judge import judge
from trimtab.evaluate.metric import Metric
from trimtab.loop.candidate import selected, skew
from trimtab.loop.project import Project
from trimtab.loop.releases import blind, guards, measuring
from trimtab.loop.retiring import retirement
from trimtab.monitor.log import catalogue, progress
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.progress import Progress
from trimtab.monitor.outcomes import joined
from trimtab.monitor.watched import watched
from trimtab.store import evidence, operations, states, verdicts, versions
from trimtab.store.records import Rollout, Verdict, Version
from trimtab.store.workspace import Workspace

MIN_STAGE_ROWS: Final = 30
"""Rows that a candidate must have answered itself before a share of traffic is raised."""
_HOUR: Final = 3_600_000_000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a rollout decided: "advance", "promote", "hold" or "roll back", and why."""

    decision: str
    reason: str
    verdicts: list[Verdict]


def open_for(
    project: Project,
    name: str,
    candidate: Version,
    champion: Version,
    *,
    cause: dict[str, Any],
    stages: Sequence[str] = (),
) -> Rollout | None:
    """Open a rollout at its first stage; None where the endpoint has an open one,
    or is to retire.

    `stages` are those of the configuration and all of the traffic, unless they are given.
    """
    if retirement.in_force(project.ws, name) is not None:
        return None
    now = ids.now()
    wanted = [*project.config.serve.rollout]
    given = [*stages] or (wanted if wanted[-1] == "100%" else [*wanted, "100%"])
    rollout = Rollout(
        id=ids.new_id(),
        endpoint=name,
        candidate=candidate.digest,
        champion=champion.digest,
        stages=given,
        cause=cause,
        opened_at=now,
        staged_at=now,
    )
    if not operations.open_rollout(project.ws, rollout):
        return None
    route(project, rollout, candidate, champion)
    return rollout


def route(project: Project, rollout: Rollout, candidate: Version, champion: Version) -> None:
    """Make the endpoint's routes those of the rollout's stage."""
    ws, stage = project.ws, rollout.stages[rollout.stage]
    share = share_of(stage)
    routes = [local.spec(ws, champion, "champion", 1.0 - share)] if share < 1 else []
    if share > 0:
        routes.append(local.spec(ws, candidate, "canary", share))
    shadow = [local.spec(ws, candidate, "shadow", 1.0)] if stage == "shadow" else []
    local.set_routes(ws, rollout.endpoint, routes, shadow)


def share_of(stage: str) -> float:
    """The share of traffic of a stage: 0 for "shadow"."""
    return 0.0 if stage == "shadow" else float(stage.removesuffix("%")) / 100


def look(project: Project, rollout: Rollout, now: int) -> Step:
    """Measure and judge the candidate on all it has answered since the rollout opened.

    Where neither answers nor labels came since the last look, its verdicts stand.
    """
    config, ws = project.config, project.ws
    with catalogue.open_catalogue(local.folder(ws, rollout.endpoint)) as index:
        seen = progress.of(ws, rollout)
        key = [config.digest, rollout.stage, seen.answered, int(seen.counts.sum()),
               seen.candidate.asked, seen.champion.asked, seen.pairs.compared,
               joined.newest(index, rollout.candidate),
               joined.newest(index, rollout.champion)]  # fmt: skip
        before = states.get(ws, f"rollout:{rollout.id}") or {}
        if before.get("key") == key:
            judged = msgspec.convert(before["verdicts"], list[Verdict])
        else:
            # One transaction: a look that dies is a look that was not taken, and leaves no evidence.
            with ws.transaction():
                judged = _judge(project, rollout, seen, index)
                told = [msgspec.to_builtins(one) for one in judged]
                states.put(ws, f"rollout:{rollout.id}", {"key": key, "verdicts": told})
    is_shadow = rollout.stages[rollout.stage] == "shadow"
    answered = int(seen.counts.sum()) if is_shadow else seen.answered
    decision, reason = decide(config, rollout, judged, answered, now)
    if decision == "hold" and seen.pairs.compared and _no_label(judged):
        reason += f"; so far {blind.said(seen, config.serve.guard.level)}"
    if decision == "promote":
        decision, reason = last_look(project, rollout, reason)
    return Step(decision=decision, reason=reason, verdicts=judged)


def standing(ws: Workspace, rollout: Rollout) -> list[Verdict]:
    """The verdicts of the last look at a rollout: requirements first, then guards."""
    kept = states.get(ws, f"rollout:{rollout.id}") or {}
    return msgspec.convert(kept.get("verdicts", []), list[Verdict])


def _judge(project: Project, rollout: Rollout, seen: Progress, index: Catalogue) -> list[Verdict]:
    config, ws = project.config, project.ws
    found, arms = measuring.measure(project, rollout, seen, index)
    held = guards.look(config, rollout, seen, arms)
    if not config.serve.labels:
        candidate = versions.get(ws, "model", rollout.candidate)
        held += blind.look(config, rollout, seen, watched(ws, candidate))
    judged = [
        judge(
            requirement,
            found,
            subject=rollout.candidate,
            place="rollout",
            config=config.digest,
            now=ids.now(),
        )
        for requirement in config.require
        if not _is_of_bench(requirement) and (config.serve.labels or not _needs_labels(requirement))
    ]
    judged += [one.verdict for one in held]
    with ws.transaction():
        evidence.append(ws, [*found, *(one.evidence for one in held)])
        verdicts.append(ws, judged)
    return judged


def _no_label(judged: Sequence[Verdict]) -> bool:
    return any(one.status == "missing" for one in judged)


def last_look(project: Project, rollout: Rollout, reason: str) -> tuple[str, str]:
    """Before a promotion: what a bench found must not fail, and the endpoint must see and answer
    training rows as training did.
    """
    ws, config = project.ws, project.config
    known = evidence.find(ws, subject=rollout.candidate)
    for one in config.require:
        if one.metric in ("cost_per_1000", "capacity"):
            verdict = judge(
                one, known, subject=rollout.candidate, place="gate", config=config.digest
            )
            if verdict.status == "fail":
                return "roll back", f"{verdict.text} failed: {verdict.reason}"
    candidate = versions.get(ws, "model", rollout.candidate)
    try:
        said = skew.before_promotion(project, rollout.endpoint, candidate)
    except ModelError as error:
        return "hold", f"training rows cannot be replayed: {error.message}"
    if said:
        return "roll back", f"the endpoint sees other features than training did: {said}"
    return "promote", reason


def decide(
    config: Config, rollout: Rollout, judged: Sequence[Verdict], answered: int, now: int
) -> tuple[str, str]:
    """What to do, from verdicts and what was answered at this stage (rows; requests of a shadow)."""
    failed = [one for one in judged if one.status == "fail"]
    if failed:
        return "roll back", f"{failed[0].text} failed: {failed[0].reason}"
    stage = rollout.stages[rollout.stage]
    asked = [one for one in judged if not guarding(one)]
    waiting = [one for one in asked if one.status != "pass"]
    too_few = answered < MIN_STAGE_ROWS
    if waiting or too_few:
        if now - rollout.staged_at > config.serve.max_hold_hours * _HOUR:
            what = waiting[0].reason if waiting else f"only {answered} rows were answered"
            return (
                "roll back",
                f"undecided for {config.serve.max_hold_hours:g} h at {stage}: {what}",
            )
        if waiting and selected.REASON in waiting[0].reason:
            return "hold", f"{waiting[0].text}: {waiting[0].reason}"
        if waiting and waiting[0].status == "missing":
            return "hold", f"{waiting[0].text}: no answer of the candidate has its label yet"
        if waiting:
            return "hold", f"{waiting[0].text} is {waiting[0].status}: {waiting[0].reason}"
        what = "requests shadowed" if stage == "shadow" else f"rows answered at {stage}"
        return "hold", f"{answered} of {MIN_STAGE_ROWS} {what}"
    passed = "; ".join(one.reason for one in asked) or "no requirement can be measured here"
    if not config.serve.labels:
        passed += f"; {blind.BLIND}"
    if rollout.stage + 1 >= len(rollout.stages):
        return "promote", passed
    return "advance", passed


def is_guard(metric: str) -> bool:
    """Whether a metric only guards a rollout: it must not fail, and need not pass."""
    return metric in ("latency_ms", "error_rate")


def guarding(one: Verdict) -> bool:
    """Whether a verdict only guards: it must not fail, and need not pass."""
    return bool(one.details.get("guard")) or is_guard(one.metric)


def _needs_labels(requirement: Requirement) -> bool:
    metric = metrics.get(requirement.metric)
    return isinstance(metric, Metric) and metric.needs_labels


def _is_of_bench(requirement: Requirement) -> bool:
    """Costs, capacity and skew are measured on their own; gains over the baseline on withheld rows."""
    return (
        requirement.metric in ("cost_per_1000", "capacity", "skew")
        or requirement.better_than == "baseline"
    )
