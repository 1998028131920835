"""From a flow to a verdict: run it, package its candidate, measure it, ask the gate.

What was done before is not done again: the flow's steps are cached, a candidate is packaged once,
and evidence is taken once for each packaged model and configuration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import polars as pl

from trimtab import hashing, ids
from trimtab.config import Requirement
from trimtab.errors import DataError
from trimtab.evaluate import latency, measure
from trimtab.evaluate.requirements import check_requirements
from trimtab.evaluate.scored import Scored
from trimtab.loop import capacity, importance, ordinary, selected, teaching, training, watching
from trimtab.loop import gate as gating
from trimtab.loop.project import Project, apply
from trimtab.loop.reports import Parity, Trained
from trimtab.loop.turn import turn
from trimtab.model import codec, registry
from trimtab.model.equipment import equip
from trimtab.model.load import LoadedModel, load
from trimtab.model.package import PROFILE, Packaged, package
from trimtab.monitor import basis as bases
from trimtab.monitor import traffic
from trimtab.pipeline import driver
from trimtab.pipeline import plan as planning
from trimtab.pipeline.events import Listener, Progress, silent
from trimtab.pipeline.result import FlowResult
from trimtab.profile import reference as references
from trimtab.serve import bench
from trimtab.store import artifacts, cache, evidence, metrics, runs
from trimtab.store.records import CachedStep, Evidence, Point, Run
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features

Say = Callable[[str], None]

WITHHELD: Final = "withheld"
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
        runs.finish(
            ws, run.id, "failed", error={"type": type(error).__name__, "message": str(error)}
        )
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


def write_package(
    project: Project, candidate: Candidate, out: Path, more: pl.DataFrame | None = None
) -> Packaged:
    """Write a candidate into a new folder with all that the monitor needs; see `ordinary` for `more`."""
    allowed = project.config.serve.allow_python
    found = package(
        candidate,
        out=out,
        profile=lambda model: watching.reference(
            project.config, candidate, model, lambda rows: _outputs(candidate, model, rows), more
        ),
        context=_context(project, candidate),
        allow_python=allowed,
    )
    if len(rows := _known(candidate)):
        model = load(out, verify=False, allow_python=allowed)
        (out / bases.FILE).write_bytes(_basis(candidate, model, out, project.config.serve.pii))
        importance.write(out, model, _columns(model, candidate, rows), rows[candidate.target])
    return found


def scored(
    model: LoadedModel,
    candidate: Candidate,
    requirements: tuple[Requirement, ...],
    *,
    biased: str = "",
) -> tuple[Scored, pl.DataFrame]:
    """The packaged model's answers on the withheld rows beside the truth and the baseline."""
    rows = _known(candidate)
    if not rows.height:
        raise DataError("no withheld row has a known target: the model cannot be judged")
    columns = _columns(model, candidate, rows)
    answer = model.predict(columns)
    truth = rows[candidate.target].to_list()
    wanted = {one.across or one.by for one in requirements} - {""}
    slices = {
        name: np.array(rows[name].to_list(), dtype=object)
        for name in wanted
        if name in rows.columns
    }
    guess = _baseline(model, candidate, truth)
    table = traffic.build(
        model.signature, truth, answer.score, answer.decision, slices=slices, baseline=guess,
        biased=biased,
    )  # fmt: skip
    return table, rows


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
        runs.finish(
            ws, run.id, "failed", error={"type": type(error).__name__, "message": str(error)}
        )
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


def _outputs(candidate: Candidate, model: LoadedModel, rows: pl.DataFrame) -> dict[str, Any]:
    """Rows as a window counts them: inputs, and the model's answers to them."""
    answer = model.predict(_columns(model, candidate, rows))
    return _profiled(rows, model) | traffic.watched(answer.score, answer.decision, model.signature)


def _basis(
    candidate: Candidate, model: LoadedModel, place: Path, private: Collection[str]
) -> bytes:
    rows = _known(candidate)
    answer = model.predict(_columns(model, candidate, rows))
    table = _profiled(rows, model) | traffic.outputs(answer.score, answer.decision, model.signature)
    reference = references.decode((place / PROFILE).read_bytes())
    found = bases.fit(
        model.signature, reference, table, answer.score, answer.decision,
        rows[candidate.target].to_list(), private=private, teach=teaching.trees,
    )  # fmt: skip
    return bases.encode(found)


def _profiled(rows: pl.DataFrame, model: LoadedModel) -> dict[str, Any]:
    """Input columns as the prediction log has them: nulls as NaN, or None for texts."""
    found: dict[str, Any] = {}
    for column in model.signature.inputs:
        values = rows[column.name]
        if column.kind == "text":
            found[column.name] = np.array(values.cast(pl.String).to_list(), dtype=object)
        else:
            found[column.name] = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return found


def _columns(model: LoadedModel, candidate: Candidate, rows: pl.DataFrame) -> dict[str, Any]:
    names = {column.name: candidate.features[column.name] for column in model.signature.inputs}
    table = features(rows, names)
    return {
        name: np.array(table[name].to_list(), dtype=object)
        if kind == "text"
        else table[name].to_numpy()
        for name, kind in names.items()
    }


def _known(candidate: Candidate) -> pl.DataFrame:
    return candidate.withheld.drop_nulls([candidate.target])


def _baseline(model: LoadedModel, candidate: Candidate, truth: list[Any]) -> Scored:
    """What guessing without inputs would have said on the same rows."""
    signature, rows = model.signature, len(truth)
    if signature.task == "regression":
        guess = np.full(rows, candidate.baseline["value"])
        return traffic.build(signature, truth, guess, guess.tolist())
    shares = {traffic.text(label): share for label, share in candidate.baseline["shares"].items()}
    likeliest = max(shares, key=lambda label: shares[label])
    if signature.task == "binary":
        share = shares.get(traffic.text(signature.positive), 0.0)
        return traffic.build(signature, truth, np.full(rows, share), [likeliest] * rows)
    chances = [shares.get(name, 0.0) for name in traffic.class_names(signature)]
    total = sum(chances) or 1.0
    table = np.tile(np.array(chances) / total, (rows, 1))
    return traffic.build(signature, truth, table, [likeliest] * rows)


def _context(project: Project, candidate: Candidate) -> list[str]:
    """Columns that a client may send along to be logged: key, time and protected."""
    names = [
        name
        for one in project.config.data.values()
        for name in (one.key, one.time, *one.protected)
        if name
    ]
    return [name for name in dict.fromkeys(names) if name in candidate.train.columns]


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
