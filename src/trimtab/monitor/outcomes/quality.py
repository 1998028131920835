"""Quality from late labels: joined by prediction id, held against the requirements by window.

Every window is judged once for the labels that it has, and where nothing came nothing is done.
Whether the meaning of the inputs changed is left to `meaning`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.config import Config, duration
from trimtab.data import outcomes
from trimtab.data.columns import Type
from trimtab.errors import NotFoundError
from trimtab.model.signature import Signature
from trimtab.monitor.log import catalogue, history, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import completion, joined, meaning, pooled, proof, repeated
from trimtab.monitor.outcomes.joined import Joined
from trimtab.monitor.outcomes.proof import Look
from trimtab.monitor.watched import Watched
from trimtab.store import (
    estimates,
    evidence,
    label_requests,
    operations,
    states,
    verdicts,
    versions,
)
from trimtab.store.records import Evidence, Label, Version, Window
from trimtab.store.workspace import Workspace

_COMPLETE: Final = 0.9
"""The share of a window's labels that must have arrived, unless a later window has labels."""
SHOWN: Final = ("roc_auc", "accuracy", "f1", "macro_f1", "mae", "rmse", "r2")


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Sentences for people, alarms as the fields of `observe.Alarm`, and kinds of
    what was there and is over, with since when.
    """

    sentences: list[str] = []
    alarms: list[dict[str, Any]] = []
    over: dict[str, int] = {}


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
    truths = outcomes.truths(found.frame[target], _kind(ws, config))
    labels = [
        Label(
            prediction=row.pop(outcomes.PREDICTION),
            labelled_at=ids.from_datetime(row.pop(outcomes.LABELLED)),
            value=value,
            received_at=arrived,
            extra=row,
        )
        for value, row in zip(truths, found.frame.drop(target).to_dicts(), strict=True)
    ]
    _announce(ws, labels)
    with ws.transaction():
        operations.add_labels(ws, labels)
        states.put(ws, "outcomes", found.cursor)
    said = [f"label file {one.file} was refused: {one.error}" for one in found.problems]
    if found.conflicting:
        got = "prediction" if found.conflicting == 1 else "predictions"
        said.append(
            f"{found.conflicting:,} {got} got several different labels at once; of each the one "
            "labelled last stands"
        )
    return said


def _kind(ws: Workspace, config: Config) -> Type | None:
    """What the target is in the newest version of its source; None where there is no version."""
    name, target = next(((n, one.target) for n, one in config.data.items() if one.target), ("", ""))
    try:
        schema = versions.get(ws, "data", f"{name}@latest").meta.get("schema", {})
    except NotFoundError:
        return None
    found: dict[str, Type] = {one["name"]: one["type"] for one in schema.get("columns", [])}
    return found.get(target)


def _announce(ws: Workspace, labels: list[Label]) -> None:
    """Have every endpoint look for the rows of these labels once they are stored.

    First this, then the labels: a pass that dies in between looks for labels that are not there.
    """
    for path in sorted((ws.root / "endpoints").glob(f"*/{catalogue.FOLDER}/{catalogue.FILE}")):
        with catalogue.open_catalogue(path.parents[1]) as index:
            joined.queue(index, (one.prediction for one in labels))


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: list[Window],
    index: Catalogue,
    moment: int,
) -> Quality:
    """Judge labelled windows of the champion and say whether the inputs' meaning changed.

    `closed` carry the findings on their inputs; those that ended less than `label_delay` before
    `moment` are left for later. What was found before is found again, without another look, where
    neither labels nor windows are new.
    """
    if not closed or not config.serve.labels:
        return Quality()
    closed = [one for one in closed if one.end + duration(config.monitor.label_delay) <= moment]
    if not closed:
        said = f"{endpoint}: labels are judged {config.monitor.label_delay} after their window"
        return Quality(sentences=[said])
    name, key = f"quality:{endpoint}", _key(ws, config, model, closed, index)
    before = states.get(ws, name)
    if before and before["key"] == key:
        return msgspec.convert(before["found"], Quality)
    found = _look(ws, config, endpoint, model, closed, index)
    states.put(ws, name, {"key": key, "found": msgspec.to_builtins(found)})
    return found


def _key(
    ws: Workspace, config: Config, model: Watched, closed: list[Window], index: Catalogue
) -> str:
    """Changes with everything that may change what a look finds."""
    digest = model.version.digest
    marks, last = joined.marks(index, digest, closed[0].start), joined.last_time(index, digest)
    windows = [
        (one.start, one.rows, one.judged_at, marks.get(one.start, (0,))[0], last >= one.end)
        for one in closed
    ]
    told = [joined.orphans(index), joined.odd(index, digest)[0], last >= 0]
    told += [operations.count_label_changes(ws), repeated.known(index)]
    return hashing.object_digest("config", [config.digest, digest, windows, told])


def _look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: list[Window],
    index: Catalogue,
) -> Quality:
    version = model.version
    sentences = [
        *_left_out(endpoint, version, index),
        *_unknown(endpoint, index),
        *repeated.said(endpoint, index),
        *_changed(ws, endpoint),
    ]
    if joined.last_time(index, version.digest) < 0:
        return Quality(
            sentences=[*sentences, f"{endpoint}: no labels have arrived for {version.label}"]
        )
    state = meaning.detect(config, model, closed, index)
    if not state.rows:
        none = f"no label of a closed window can be a truth of {version.label} yet"
        return Quality(sentences=[*sentences, f"{endpoint}: {none}"])
    over = state.ended[-1].until if state.ended else 0
    said, alarms, failed = _requirements(ws, config, endpoint, model, closed, index, over)
    for one in meaning.episodes(state, endpoint, version.digest):
        estimates.save_episode(ws, one)
    past = estimates.episodes(ws, endpoint, model=version.digest, kind="concept drift")
    naming = meaning.judge(config, model, closed, index, failed, past)
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
    gone = finding is None and state.alarm is None and over
    ended = {"concept drift": over} if gone else {}
    return Quality(sentences=sentences, alarms=alarms, over=ended)


def labelled(
    ws: Workspace, endpoint: str, version: Version, signed: Signature, *, since: int = 0
) -> tuple[Answers, list[Label]]:
    """What a model answered to clients from a moment on and got the truth of, with all columns.

    In order of event time; labels that cannot be a truth of the model are left out. It reads all
    of that time's log: for jobs, not for every pass.
    """
    with catalogue.open_catalogue(ws.root / "endpoints" / endpoint) as index:
        rows = history.read(index, signed, version.digest, since=since, tail=True)
    came = operations.labels_of(ws, rows.ids)
    good = {name: one for name, one in came.items() if traffic.usable(one.value, signed)}
    known, labels = traffic.with_labels(rows, good)
    order = known.times.argsort(kind="stable").tolist()
    return known.take(order), [labels[index] for index in order]


def _left_out(endpoint: str, version: Version, index: Catalogue) -> list[str]:
    count, prediction, value = joined.odd(index, version.digest)
    if not count:
        return []
    what = "label cannot be a truth" if count == 1 else "labels cannot be truths"
    left = "is" if count == 1 else "are"
    said = f"{endpoint}: {count:,} {what} of {version.label} and {left} left out"
    return [f"{said}, for example {value!r} of prediction {prediction}"]


def _unknown(endpoint: str, index: Catalogue) -> list[str]:
    count = joined.orphans(index)
    what = "label belongs" if count == 1 else "labels belong"
    return [f"{endpoint}: {count:,} {what} to no prediction in its log"] if count else []


def _changed(ws: Workspace, endpoint: str) -> list[str]:
    count = operations.count_label_changes(ws)
    if not count:
        return []
    what = "label" if count == 1 else "labels"
    return [
        f"{endpoint}: {count:,} {what} said otherwise than an earlier one; the later one stands"
    ]


def _requirements(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: list[Window],
    index: Catalogue,
    over: int,
) -> tuple[list[str], list[dict[str, Any]], Window | None]:
    """Every requirement on every complete window once; evidence at levels that allow all looks.

    Returns sentences, and the alarm and the window where the newest labelled one fails, or else the
    last few together since the last concept drift was `over`.
    """
    digest, least = model.version.digest, config.monitor.min_rows
    last_labelled = joined.last_time(index, digest)
    marks = joined.marks(index, digest, closed[0].start)
    drawn = _drawn(ws, endpoint)
    judged: list[tuple[Window, dict[str, Any]]] = []
    for window in closed:
        mark, most = marks.get(window.start, (0, 0))
        late = last_labelled >= window.end
        if most < least or not (late or most >= _COMPLETE * window.rows):
            continue
        if most < _COMPLETE * window.rows and any(
            a < window.end and window.start < b for a, b in drawn
        ):
            continue
        kept = window.features.get("quality", {})
        if kept.get("part") != mark:
            found = joined.window(index, digest, model.signature, window.start)
            count = found.rows.rows
            if count < least or not (late or count >= _COMPLETE * window.rows):
                continue
            if (kept.get("rows"), kept.get("came")) != (count, found.came):
                kept = _judge_window(ws, config, endpoint, model, window, found, mark)
        judged.append((window, kept))
    if not judged:
        return [], [], None
    joint = pooled.look(
        ws, config, endpoint, model, index, [(one, kept["rows"]) for one, kept in judged], over
    )
    newest, kept = judged[-1]
    failed = [one for one in kept["verdicts"] if one["status"] == "fail"]
    if failed:
        return _failed(endpoint, failed, newest)
    if joint is not None:
        return _failed(endpoint, joint.failed, pooled.as_window(joint, newest), joint.windows)
    return [], [], None


def _failed(
    endpoint: str, failed: list[dict[str, Any]], window: Window, windows: int = 1
) -> tuple[list[str], list[dict[str, Any]], Window]:
    """What is said, the alarm and the window where requirements fail in it."""
    first = failed[0]
    alarm = {
        "kind": "requirement",
        "title": f"{first['text']} does not hold at {endpoint}: {first['reason']}",
        "severity": "page",
        "since": window.start,
        "detail": {
            "requirement": first["text"],
            "verdict": first["id"],
            "window": first["details"].get("window", pooled.span(window, window)),
            "windows": windows,
            **{name: first[name] for name in ("reason", "value", "lo", "hi")},
        },
    }
    return [f"{endpoint}: {one['reason']}" for one in failed], [alarm], window


def _drawn(ws: Workspace, endpoint: str) -> list[tuple[int, int]]:
    """Times in which labels were asked for: what came of them alone is no fair sample of a window."""
    return [
        (one.since, one.until)
        for one in label_requests.find(ws, endpoint=endpoint)
        if one.answered or one.state == "open"
    ]


def _judge_window(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    window: Window,
    found: Joined,
    mark: int,
) -> dict[str, Any]:
    """Measure and judge one window; labels that come later make another look at a level of its own."""
    version = model.version
    weight = completion.standing(model, window, found.rows.score)
    part = proof.table(config, model.signature, found.rows, found.labels, weight)
    looks = f"looks:{endpoint}:{version.digest}"
    number = int(states.get(ws, looks) or 0) + 1
    proved = proof.prove(
        config,
        part,
        Look(number, pooled.ALONE),
        subject=f"endpoint:{endpoint}",
        window=(when := pooled.span(window, window)),
        details={"model": version.digest, "window": when},
    )
    kept = {
        "rows": part.rows,
        "came": found.came,
        "part": mark,
        "model": version.label,
        "values": {one.metric: _shown(one) for one in proved.shown if one.metric in SHOWN},
        "verdicts": [msgspec.to_builtins(one) for one in proved.verdicts],
    }
    with ws.transaction():
        evidence.append(ws, proved.evidence)
        verdicts.append(ws, proved.verdicts)
        states.put(ws, looks, number)
        stored = _stored(ws, window)
        operations.save_window(
            ws, msgspec.structs.replace(stored, features={**stored.features, "quality": kept})
        )
    return kept


def _stored(ws: Workspace, window: Window) -> Window:
    """The row of a window as it is now: judging its inputs may have changed it since it was read."""
    return operations.window(ws, window) or window


def _shown(one: Evidence) -> dict[str, Any]:
    return {"value": one.value, "lo": one.lo, "hi": one.hi, "n": one.n}
