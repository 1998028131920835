"""From a flow to a verdict: run it, package its candidate, measure it, ask the gate.

What was done before is not done again: the flow's steps are cached, a candidate is packaged once,
and evidence is taken once for each packaged model and configuration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import polars as pl

from trimtab import hashing, ids
from trimtab.errors import DataError
from trimtab.evaluate import latency, measure
from trimtab.evaluate.requirements import check_requirements
from trimtab.loop import gate as gating
from trimtab.loop.candidate import capacity, ordinary, selected, training
from trimtab.loop.candidate.packaging import WITHHELD, scored, write_package
from trimtab.loop.project import Project, apply
from trimtab.loop.reports import Parity, Trained
from trimtab.loop.turn import turn
from trimtab.model import codec, registry
from trimtab.model.equipment import equip
from trimtab.model.load import load
from trimtab.pipeline import driver
from trimtab.pipeline import plan as planning
from trimtab.pipeline.events import Listener, Progress, silent
from trimtab.pipeline.result import FlowResult
from trimtab.serve.measured import bench
from trimtab.store import artifacts, cache, evidence, metrics, runs
from trimtab.store.records import CachedStep, Evidence, Point, Run
from trimtab.tune.candidate import Candidate

Say = Callable[[str], None]

BENCH: Final = "bench"
_BENCH_ROWS: Final = 64
_LEVELS: Final = (1, 4, 16, 64)
_LEVEL_SECONDS: Final = 1.0
_PACKAGE_FORMAT: Final = "2"
"""Part of the key under which a package is remembered; a change here packages anew."""


def plan(project: Project, params: Mapping[str, Any] | None = None) -> planning.Plan:
    """What `train` would run, and why; changes nothing."""
    return planning.plan(project.ws, project.config, params=params)


def train(
    project: Project,
    *,
    params: Mapping[str, Any] | None = None,
    cause: Mapping[str, Any] | None = None,
    code: str = "",
    data: Mapping[str, str] | None = None,
    on_event: Listener = silent,
) -> Trained:
    """Run the project's flow to a gated candidate.

    `code` is the digest of a snapshot to run instead of the project's files, `data` the version of
    a source (`NAME@vN`) to use instead of the latest. Raises PipelineError, DataError, ModelError;
    a refusal is no error but a decision.
    """

    def say(stage: str) -> None:
        on_event(Progress("candidate", 0, 0, stage))

    apply(project)
    ws = project.ws
    result = driver.run(
        ws,
        project.config,
        params=params,
        cause=cause or {"kind": "manual"},
        data=data,
        code=code,
        on_event=on_event,
    )
    # Two runs of the same flow end in the same candidate: the second finds what the first did.
    with turn(ws, result.outputs["result"]):
        subject, fresh = packaged(project, result, say)
        known = gating.last(project, subject)
        done = known is None or fresh
        if known is None or fresh:
            measured(project, _candidate(result), subject, result.run, result.data, say)
            say("gate")
            known = gating.gate(project, subject, run=result.run.id)
    parity = _parity(project, subject)
    return Trained(
        run=result.run,
        nothing_to_do=result.nothing_to_do and not done,
        steps_run=sum(1 for one in result.steps if one.status != "cached"),
        steps_cached=sum(1 for one in result.steps if one.status == "cached"),
        trials=len(runs.find(ws, kind="trial", limit=100_000)),
        subject=subject,
        parity=parity,
        decision=known,
        metrics=_metrics(project, subject),
    )


def packaged(project: Project, result: FlowResult, say: Say) -> tuple[str, bool]:
    """The digest of the candidate's package, and whether it was made just now."""
    ws = project.ws
    watch = project.config.monitor
    wanted = [_PACKAGE_FORMAT, watch.window, watch.season, watch.entity]
    key = hashing.object_digest("key", ["package", *wanted, result.outputs["result"]])
    known = cache.get(ws, key)
    if known is not None:
        _equip(project, known.outputs[0], None)
        return known.outputs[0], False
    say("package")
    candidate = _candidate(result)
    run = runs.start(ws, "package", "package", parent=result.run.id, key=key)
    try:
        with tempfile.TemporaryDirectory(dir=ws.root / "tmp") as place:
            out = Path(place) / "package"
            found = write_package(
                project, candidate, out, ordinary.rows(project, result.run.cause, candidate)
            )
            digest = registry.put(ws, out, parity=found.parity, run=run.id)
            left_out = _equip(project, digest, out)
    except BaseException as error:
        runs.fail(ws, run.id, error)
        raise
    with ws.transaction():
        runs.link(ws, run.id, "in", "candidate", result.outputs["result"])
        runs.link(ws, run.id, "out", "model", digest)
        step = CachedStep(
            key=key, run=run.id, name="package", outputs=[digest], codecs=["model"],
            created_at=ids.now(),
        )  # fmt: skip
        cache.put(ws, step)
        runs.finish(ws, run.id, "done", tags={"left_out": "; ".join(left_out)} if left_out else {})
    for sentence in left_out:
        say(sentence)
    return digest, True


def _equip(project: Project, digest: str, folder: Path | None) -> list[str]:
    config = project.config
    return equip(
        project.ws, digest, folder, name=config.model_name, signing_key=config.model.signing_key,
        allow_python=config.serve.allow_python,
    )  # fmt: skip


def measured(
    project: Project,
    candidate: Candidate,
    subject: str,
    parent: Run,
    data: Mapping[str, str],
    say: Say,
) -> None:
    """Evidence that the gate needs: quality on withheld rows, latency on a throwaway endpoint."""
    ws, config = project.ws, project.config
    say("evaluate")
    check_requirements(config.require, candidate.task, columns=[*candidate.withheld.columns])
    place = registry.folder(ws, subject)
    model = load(place, allow_python=config.serve.allow_python)
    run = runs.start(ws, "evaluate", "evaluate", parent=parent.id)
    try:
        table, rows = scored(model, candidate, config.require, biased=selected.bias(project, data))
        found = measure.measure(table, config.require, subject=subject, window=WITHHELD, run=run.id)
        found += _benched(project, subject, place, candidate, rows, run, say)
        say("replay training rows")
        replayed = training.rows(project, candidate, model, data)
        found.append(training.rehearse(project, replayed, place, subject, run.id))
        now = ids.now()
        points = [
            Point(key=one.metric, step=0, time=now, value=one.value)
            for one in found
            if not one.statistic and not one.slice
        ]
        with ws.transaction():
            evidence.append(ws, found)
            metrics.append(ws, run.id, points)
            metrics.append(ws, parent.id, points)
            runs.link(ws, run.id, "in", "model", subject)
            runs.finish(ws, run.id, "done")
    except BaseException as error:
        runs.fail(ws, run.id, error)
        raise


def _benched(
    project: Project,
    subject: str,
    place: Path,
    candidate: Candidate,
    rows: pl.DataFrame,
    run: Run,
    say: Say,
) -> list[Evidence]:
    config = project.config
    timed = [one for one in config.require if one.metric == "latency_ms" and one.quantile]
    priced = [one for one in config.require if one.metric == "cost_per_1000"]
    found: list[Evidence] = []
    if any(one.metric == "capacity" for one in config.require):
        say("measure capacity")
        curve, first = bench.measure_capacity(
            place, levels=_LEVELS, seconds=_LEVEL_SECONDS, settings=training.settings(project)
        )
        measured = capacity.evidence_of(project, curve, first, subject, run.id)
        found += [one for one in measured if one.metric == "capacity"]
    if not timed and not priced:
        return found
    say("measure latency")
    signature = registry.signature_of(project.ws, subject)
    names = [column.name for column in signature.inputs]
    sample = rows.head(_BENCH_ROWS).select(names).fill_nan(None).to_dicts()
    figures = bench.measure_latency(place, sample, settings=training.settings(project))
    found += [
        latency.quantile_evidence(
            figures.milliseconds, one.quantile, subject=subject, window=BENCH, run=run.id,
            level=one.level,
        )
        for one in timed
    ]  # fmt: skip
    if priced and config.serve.price_per_hour > 0:
        found += [
            latency.cost_evidence(
                np.array(figures.milliseconds) / 1000, 1,
                price_per_hour=config.serve.price_per_hour, subject=subject, window=BENCH,
                run=run.id, level=one.level,
            )
            for one in priced
        ]  # fmt: skip
    return found


def _candidate(result: FlowResult) -> Candidate:
    value = result.value
    if not codec.CANDIDATE.matches(value):
        raise DataError(
            f"the flow returned {type(value).__name__}, not a candidate",
            hint="return search(...), onnx_model(...) or function_model(...) from the flow; one estimator "
            "as it is: search(make, rows, space={}, trials=1), where make() returns it unfitted",
        )
    return cast("Candidate", value)


def _parity(project: Project, subject: str) -> Parity | None:
    meta = artifacts.get(project.ws, subject).meta
    if not (found := meta.get("parity")):
        return None
    return Parity(
        engine=meta["engine"],
        reason=str(meta.get("reason", "")),
        rows=int(found["rows"]),
        max_abs_diff=float(found["max_difference"]),
        share_off=float(found["above"]),
        flipped=int(found["flips"]),
    )


def _metrics(project: Project, subject: str) -> dict[str, float]:
    found = evidence.find(project.ws, subject=subject, window=WITHHELD)
    return {one.metric: one.value for one in reversed(found) if not one.statistic and not one.slice}
