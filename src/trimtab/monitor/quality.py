"""Quality from late labels: joined by prediction id, held against the requirements by window.

Every window is judged once for the labels that it has. Whether the meaning of the inputs changed is
left to `meaning`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, Requirement
from trimtab.data import outcomes
from trimtab.evaluate import measure
from trimtab.evaluate.judge import judge
from trimtab.evaluate.scored import Scored
from trimtab.model.signature import Signature
from trimtab.monitor import meaning, spread, traffic
from trimtab.monitor.traffic import Answers
from trimtab.monitor.watched import Watched
from trimtab.store import evidence, operations, states, verdicts
from trimtab.store.records import Evidence, Label, Version, Window
from trimtab.store.workspace import Workspace

_COMPLETE: Final = 0.9
"""The share of a window's labels that must have arrived, unless a later window has labels."""
_SHOWN_LEVEL: Final = 0.95
"""Level of the figures shown to people, which hold for one look; no level spent over looks equals it."""
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
    ws: Workspace, config: Config, endpoint: str, model: Watched, closed: list[Window]
) -> Quality:
    """Judge labelled windows of the champion and say whether the inputs' meaning changed.

    `closed` carry the findings on their inputs.
    """
    if not closed or not config.serve.labels:
        return Quality()
    label = model.version.label
    rows, labels, odd = _join(ws, endpoint, model.version, model.signature)
    sentences = [_left_out(endpoint, label, odd)] if odd else []
    if not rows.rows:
        return Quality(sentences=[*sentences, f"{endpoint}: no labels have arrived for {label}"])
    said, alarms, failed = _requirements(ws, config, endpoint, model, closed, rows, labels)
    naming = meaning.judge(config, model, closed, meaning.truths(model, rows, labels), failed)
    sentences += [*said, f"{endpoint}: {naming.reason}"]
    finding = naming.finding
    if finding is not None:
        alarms.insert(
            0,
            {
                "kind": finding.kind,
                "title": finding.text,
                "severity": "page",
                "since": finding.since,
                "detail": {**finding.detail, "loss": [one["detail"] for one in alarms]},
            },
        )
    return Quality(sentences=sentences, alarms=alarms)


def labelled(
    ws: Workspace, endpoint: str, version: Version, signed: Signature
) -> tuple[Answers, list[Label]]:
    """What a model answered to clients and got the truth of, in order of event time.

    Labels that cannot be a truth of the model are left out.
    """
    rows, labels, _ = _join(ws, endpoint, version, signed)
    return rows, labels


def _join(
    ws: Workspace, endpoint: str, version: Version, signed: Signature
) -> tuple[Answers, list[Label], list[Label]]:
    frames, _ = traffic.read_all(ws.root / "endpoints" / endpoint / "log")
    grouped = traffic.by_model(frames)
    mine = [
        frame
        for (model, role), some in grouped.items()
        if model == version.digest and role != "shadow"
        for frame in some
    ]
    rows = traffic.answers(mine, signed)
    came = operations.labels_of(ws, rows.ids)
    good = {name: one for name, one in came.items() if traffic.usable(one.value, signed)}
    known, labels = traffic.with_labels(rows, good)
    order = np.argsort(known.times, kind="stable").tolist()
    odd = [one for name, one in came.items() if name not in good]
    return known.take(order), [labels[index] for index in order], odd


def _left_out(endpoint: str, label: str, odd: list[Label]) -> str:
    return (
        f"{endpoint}: {len(odd):,} labels cannot be truths of {label} and are left out, "
        f"for example {odd[0].value!r} of prediction {odd[0].prediction}"
    )


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
    model: Watched,
    closed: list[Window],
    rows: Answers,
    labels: list[Label],
) -> tuple[list[str], list[dict[str, Any]], Window | None]:
    """Every requirement on every complete window once; evidence at levels that allow all looks.

    Returns sentences, and of the newest labelled window the alarm and the window, if it fails.
    """
    last_labelled = int(rows.times.max())
    failed: list[dict[str, Any]] = []
    newest: Window | None = None
    for window in closed:
        index = np.flatnonzero((rows.times >= window.start) & (rows.times < window.end)).tolist()
        complete = len(index) >= _COMPLETE * window.rows or last_labelled >= window.end
        if len(index) < config.monitor.min_rows or not complete:
            continue
        came = max(labels[i].received_at for i in index)
        kept = window.features.get("quality", {})
        if (kept.get("rows"), kept.get("came")) != (len(index), came):
            part = table(config, model.signature, rows.take(index), [labels[i] for i in index])
            kept = _judge_window(ws, config, endpoint, model.version, window, part, came)
        newest, failed = window, [one for one in kept["verdicts"] if one["status"] == "fail"]
    if newest is None or not failed:
        return [], [], None
    first = failed[0]
    alarm = {
        "kind": "requirement",
        "title": f"{first['text']} does not hold at {endpoint}: {first['reason']}",
        "severity": "page",
        "since": newest.start,
        "detail": {
            "requirement": first["text"],
            **{name: first[name] for name in ("reason", "value", "lo", "hi")},
        },
    }
    return [f"{endpoint}: {one['reason']}" for one in failed], [alarm], newest


def _judge_window(
    ws: Workspace,
    config: Config,
    endpoint: str,
    version: Version,
    window: Window,
    part: Scored,
    came: int,
) -> dict[str, Any]:
    """Measure and judge one window; labels that come later make another look at a level of its own."""
    subject, when = f"endpoint:{endpoint}", f"{ids.iso(window.start)}/{ids.iso(window.end)}"
    looks = f"looks:{endpoint}:{version.digest}"
    number = int(states.get(ws, looks) or 0) + 1
    wanted = [one for one in config.require if not one.better_than]
    spent = [_at_look(one, number) for one in wanted]
    measured = measure.measure(part, spent, subject=subject, window=when, level=_SHOWN_LEVEL)
    found = [
        msgspec.structs.replace(
            one,
            validity="anytime",
            method=f"{one.method}, level spent over looks",
            details={**one.details, "model": version.digest, "look": number},
        )
        for one in measured
        if one.level != _SHOWN_LEVEL
    ]
    judged = [
        judge(one, found, subject=subject, place="monitor", config=config.digest) for one in wanted
    ]
    judged = [one for one in judged if one.status != "missing"]
    kept = {
        "rows": part.rows,
        "came": came,
        "model": version.label,
        "values": {one.metric: _shown(one) for one in measured if _is_shown(one)},
        "verdicts": [msgspec.to_builtins(one) for one in judged],
    }
    with ws.transaction():
        evidence.append(ws, found)
        verdicts.append(ws, judged)
        states.put(ws, looks, number)
        stored = _stored(ws, window)
        operations.save_window(
            ws, msgspec.structs.replace(stored, features={**stored.features, "quality": kept})
        )
    return kept


def _at_look(requirement: Requirement, number: int) -> Requirement:
    level = spread.confidence(1 - requirement.level, number)
    return msgspec.structs.replace(requirement, level=level)


def _stored(ws: Workspace, window: Window) -> Window:
    """The row of a window as it is now: judging its inputs may have changed it since it was read."""
    same = operations.windows(ws, endpoint=window.endpoint, model=window.model, role=window.role)
    return next((one for one in same if one.start == window.start), window)


def _is_shown(one: Evidence) -> bool:
    return one.metric in _SHOWN and one.level == _SHOWN_LEVEL


def _shown(one: Evidence) -> dict[str, Any]:
    return {"value": one.value, "lo": one.lo, "hi": one.hi, "n": one.n}
