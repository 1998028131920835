"""Quality from late labels: requirements per window, and the detector of a changed meaning.

Every look goes over all labelled rows of the model in order of event time, so the same labels give
the same answer however they came in.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, Requirement, duration
from trimtab.data import outcomes
from trimtab.evaluate import measure
from trimtab.evaluate.judge import judge
from trimtab.evaluate.scored import Scored
from trimtab.model.signature import Signature
from trimtab.monitor import basis as bases
from trimtab.monitor import budget as budgets
from trimtab.monitor import concept, names, spread, strata, traffic
from trimtab.monitor.basis import Basis
from trimtab.monitor.budget import Budget
from trimtab.monitor.concept import ConceptState
from trimtab.monitor.findings import Finding
from trimtab.monitor.traffic import Answers
from trimtab.profile.reference import Reference
from trimtab.store import evidence, operations, states, verdicts
from trimtab.store.records import Evidence, Label, Version, Window
from trimtab.store.workspace import Workspace

_COMPLETE: Final = 0.9
"""The share of a window's labels that must have arrived, unless a later window has labels."""
_MONTH: Final = 30 * 86_400_000_000
_SHOWN: Final = ("roc_auc", "accuracy", "f1", "macro_f1", "mae", "rmse", "r2")


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Sentences for people and alarms as the fields of `observe.Alarm`."""

    sentences: list[str] = []
    alarms: list[dict[str, Any]] = []


def take_labels(ws: Workspace, config: Config) -> list[str]:
    """Read new files of `[serve] labels`; returns sentences on files that were refused."""
    if not config.serve.labels:
        return []
    cursor = msgspec.convert(states.get(ws, "outcomes") or {}, outcomes.Cursor)
    target = next((one.target for one in config.data.values() if one.target), "")
    found = outcomes.read_outcomes(
        config.serve.labels,
        ws.project_dir,
        target=target,
        since=cursor,
        zone=config.project.timezone,
        root=ws.root,
    )
    if found.cursor == cursor:
        return []
    arrived = ids.now()
    labels = [
        Label(
            prediction=row.pop(outcomes.PREDICTION),
            labelled_at=ids.from_datetime(row.pop(outcomes.LABELLED)),
            value=row.pop(target),
            received_at=arrived,
            extra=row,
        )
        for row in found.frame.to_dicts()
    ]
    with ws.transaction():
        operations.add_labels(ws, labels)
        states.put(ws, "outcomes", found.cursor)
    return [f"label file {one.file} was refused: {one.error}" for one in found.problems]


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    version: Version,
    signed: Signature,
    basis: Basis,
    reference: Reference,
    closed: list[Window],
    inputs: list[Finding],
) -> Quality:
    """Judge labelled windows of the champion and say whether the inputs' meaning changed."""
    if not closed or not config.serve.labels:
        return Quality()
    rows, labels = labelled(ws, endpoint, version, signed)
    if not rows.rows:
        return Quality(sentences=[f"{endpoint}: no labels have arrived for {version.label}"])
    sentences, alarms = _requirements(ws, config, endpoint, version, signed, closed, rows, labels)
    state = _detect(config, basis, signed, closed, rows, labels)
    finding, said = _name(basis, signed, reference, rows, labels, state, inputs)
    sentences.append(f"{endpoint}: {said}")
    if finding is not None:
        since = int(finding.since or closed[0].start)
        alarms.insert(
            0,
            {
                "kind": finding.kind,
                "title": finding.text,
                "severity": "page",
                "since": since,
                "detail": {**finding.detail, "loss": [one["detail"] for one in alarms]},
            },
        )
    return Quality(sentences=sentences, alarms=alarms)


def labelled(
    ws: Workspace, endpoint: str, version: Version, signed: Signature
) -> tuple[Answers, list[Label]]:
    """What a model answered to clients and got the truth of, in order of event time."""
    frames, _ = traffic.read_all(ws.root / "endpoints" / endpoint / "log")
    grouped = traffic.by_model(frames)
    mine = [
        frame
        for (model, role), some in grouped.items()
        if model == version.digest and role != "shadow"
        for frame in some
    ]
    rows = traffic.answers(mine, signed)
    known, labels = traffic.with_labels(rows, operations.labels_of(ws, rows.ids))
    order = np.argsort(known.times, kind="stable").tolist()
    return known.take(order), [labels[index] for index in order]


def table(config: Config, signed: Signature, rows: Answers, labels: list[Label]) -> Scored:
    """Labelled rows as a scored table, with the columns that requirements group by."""
    selected = config.serve.label_policy == "selected"
    return traffic.scored(
        rows,
        [one.value for one in labels],
        signed,
        slices=traffic.slices(
            rows, labels, {one.across or one.by for one in config.require} - {""}
        ),
        biased="outcomes are seen only for selected cases" if selected else "",
    )


def _requirements(
    ws: Workspace,
    config: Config,
    endpoint: str,
    version: Version,
    signed: Signature,
    closed: list[Window],
    rows: Answers,
    labels: list[Label],
) -> tuple[list[str], list[dict[str, Any]]]:
    """Every requirement on every complete window once; evidence at levels that allow all looks."""
    sentences: list[str] = []
    alarms: list[dict[str, Any]] = []
    last_labelled = int(rows.times.max())
    for number, window in enumerate(closed, start=1):
        index = np.flatnonzero((rows.times >= window.start) & (rows.times < window.end)).tolist()
        complete = len(index) >= _COMPLETE * window.rows or last_labelled >= window.end
        if len(index) < config.monitor.min_rows or not complete:
            continue
        kept = window.features.get("quality", {})
        if kept.get("rows") != len(index):
            part = table(config, signed, rows.take(index), [labels[i] for i in index])
            kept = _judge_window(ws, config, endpoint, version, window, part, number)
        failed = [one for one in kept["verdicts"] if one["status"] == "fail"]
        if window is closed[-1] or last_labelled < window.end + (window.end - window.start):
            sentences += [f"{endpoint}: {one['reason']}" for one in failed]
            alarms += [
                {
                    "kind": "requirement",
                    "title": f"{one['text']} does not hold at {endpoint}: {one['reason']}",
                    "severity": "page",
                    "since": window.start,
                    "detail": {"requirement": one["text"], "reason": one["reason"],
                               "value": one["value"], "lo": one["lo"], "hi": one["hi"]},
                }
                for one in failed[:1]
            ]  # fmt: skip
    return sentences, alarms[-1:]


def _judge_window(
    ws: Workspace,
    config: Config,
    endpoint: str,
    version: Version,
    window: Window,
    part: Scored,
    number: int,
) -> dict[str, Any]:
    subject, when = f"endpoint:{endpoint}", f"{ids.iso(window.start)}/{ids.iso(window.end)}"
    wanted = [one for one in config.require if not one.better_than]
    spent = [_at_look(one, number) for one in wanted]
    measured = measure.measure(part, spent, subject=subject, window=when)
    found = [
        msgspec.structs.replace(
            one,
            validity="anytime",
            method=f"{one.method}, level spent over looks",
            details={**one.details, "model": version.digest, "look": number},
        )
        for one in measured
    ]
    judged = [
        judge(one, found, subject=subject, place="monitor", config=config.digest) for one in wanted
    ]
    judged = [one for one in judged if one.status != "missing"]
    kept = {
        "rows": part.rows,
        "model": version.label,
        "values": {one.metric: _shown(one) for one in found if _is_shown(one)},
        "verdicts": [msgspec.to_builtins(one) for one in judged],
    }
    with ws.transaction():
        evidence.append(ws, _required(found, spent))
        verdicts.append(ws, judged)
        stored = _stored(ws, window)
        operations.save_window(
            ws, msgspec.structs.replace(stored, features={**stored.features, "quality": kept})
        )
    return kept


def _required(found: list[Evidence], asked: list[Requirement]) -> list[Evidence]:
    named = {(one.metric, one.statistic) for one in asked}
    return [one for one in found if (one.metric, one.statistic) in named]


def _at_look(requirement: Requirement, number: int) -> Requirement:
    level = spread.confidence(1 - requirement.level, number)
    return msgspec.structs.replace(requirement, level=level)


def _stored(ws: Workspace, window: Window) -> Window:
    """The row of a window as it is now: judging its inputs may have changed it since it was read."""
    same = operations.windows(ws, endpoint=window.endpoint, model=window.model, role=window.role)
    return next((one for one in same if one.start == window.start), window)


def _is_shown(one: Evidence) -> bool:
    return one.metric in _SHOWN and not one.statistic and not one.slice


def _shown(one: Evidence) -> dict[str, Any]:
    return {"value": one.value, "lo": one.lo, "hi": one.hi, "n": one.n}


def _detect(
    config: Config,
    basis: Basis,
    signed: Signature,
    closed: list[Window],
    rows: Answers,
    labels: list[Label],
) -> ConceptState:
    """The detector after every labelled closed window, each fed as one batch."""
    span = duration(config.monitor.window)
    per_month = max(_MONTH / span, 1.0) * max(sum(one.rows for one in closed) / len(closed), 1.0)
    limit = Budget(
        pages_per_month=config.monitor.false_pages_per_month,
        windows_per_month=max(_MONTH / span, 1.0),
    )
    state = concept.start(
        max(budgets.run_length(limit, float(per_month)), 2.0),
        streams=basis.streams,
        threshold=basis.threshold,
    )
    score = traffic.outputs(rows.score, rows.decision, signed)[traffic.SCORE]
    happened = _events(basis, signed, rows, labels)
    for window in closed:
        inside = np.flatnonzero((rows.times >= window.start) & (rows.times < window.end))
        state = concept.update(
            state, basis.calibration, score[inside], happened[inside], times=rows.times[inside]
        )
    return state


def _name(
    basis: Basis,
    signed: Signature,
    reference: Reference,
    rows: Answers,
    labels: list[Label],
    state: ConceptState,
    inputs: list[Finding],
) -> tuple[Finding | None, str]:
    alarm = state.alarm
    excesses: dict[str, strata.Excess] = {}
    drift = next((one for one in inputs if one.kind == "data drift"), None)
    if alarm is not None and drift is not None:
        first = alarm.since_time if alarm.since_time is not None else int(rows.times[0])
        after = np.flatnonzero(rows.times >= first)
        part = rows.take(after.tolist())
        columns = traffic.profiled(part, signed)
        score = columns[traffic.SCORE]
        happened = _events(basis, signed, rows, labels)[after]
        for one in drift.features:
            excesses[one.feature] = strata.excess(
                basis.strata,
                reference.bins,
                basis.calibration,
                one.feature,
                columns,
                score,
                happened,
                flip=bases.flip(basis, alarm.stream, score),
            )
    naming = names.name_errors(alarm, inputs, excesses)
    return naming.finding, naming.reason


def _events(basis: Basis, signed: Signature, rows: Answers, labels: list[Label]) -> Any:
    truth = [one.value for one in labels]
    return bases.events(signed, basis.limit, rows.score, rows.decision, truth)
