"""Metrics, params and tags of a run: one metric, or a batch that is whole or nothing.

Keys are interned: thousands of runs have the same ones.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final

from trimtab.interop.mlflow import limits, runs
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, invalid, unknown
from trimtab.interop.mlflow.state import LoggedModel, TrackedRun
from trimtab.interop.mlflow.wire import Asked

Point = tuple[str, float, int, int]
_STEPS: Final = 2**63


def metric(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/log-metric`."""
    point = _point(asked)
    model = _model(board, asked)
    one = runs.active(board, runs.known(board, asked))
    board.log(one, (point,))
    if model is not None:
        _measure(board, model, one, asked, point)
    return {}


def batch(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/log-batch`."""
    run = runs.known(board, asked)
    parts = asked.array("metrics")
    params, tags = asked.parts("params"), asked.parts("tags")
    _check_sizes(len(parts), len(params), len(tags))
    points = _points(parts)
    given = _params(params)
    labels = [
        (
            intern(limits.name(one.text("key", needed=True), f"{one.at}.key", "key")),
            one.text("value")[: limits.TAG],
        )
        for one in tags
    ]
    models = [
        (_model(board, Asked(part)), Asked(part), point)
        for part, point in zip(parts, points, strict=True)
        if part.get("model_id")
    ]
    runs.active(board, run)
    runs.check_params(run, given)
    if points:
        board.log(run, points)
    if given:
        run.params.update(given)
        board.touch(run)
    for key, value in labels:
        runs.put_tag(board, run, key, value)
    for model, one, point in models:
        if model is not None:
            _measure(board, model, run, one, point)
    return {}


def _point(asked: Asked) -> Point:
    key = asked.text("key", needed=True)
    limits.name(key, f"{asked.at}.name" if asked.at else "name", "Metric name")
    value = asked.number("value")
    path = f"{asked.at}.timestamp" if asked.at else "timestamp"
    time = asked.integer("timestamp", needed=True)
    if time < 0:
        raise invalid(
            path,
            time,
            f"metric '{key}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) ",
        )
    return intern(key), value, limits.moment(time, path), asked.integer("step", 0)


def _points(parts: list[Any]) -> list[Point]:
    """The points of a batch; those that are plainly right cost no more than a look."""
    found: list[Point] = []
    for place, part in enumerate(parts):
        if not isinstance(part, dict):
            raise invalid("metrics", part, "Its items must be objects.")
        key, value = part.get("key"), part.get("value")
        time, step = part.get("timestamp"), part.get("step", 0)
        if (
            type(value) is float
            and type(time) is int
            and type(step) is int
            and 0 <= time <= limits.GREATEST_MS
            and -_STEPS <= step < _STEPS
            and type(key) is str
            and limits.is_name(key)
        ):
            found.append((intern(key), value, time, step))
            continue
        found.append(_point(Asked(part, f"metrics[{place}]")))
    return found


def _params(parts: list[Asked]) -> dict[str, str]:
    keys = [
        intern(limits.name(one.text("key", needed=True), f"{one.at}.key", "Param key"))
        for one in parts
    ]
    if len(set(keys)) < len(keys):
        twice = [key for place, key in enumerate(keys) if key in keys[:place]]
        raise Fault(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure "
            "the request contains only one param value per param key."
        )
    values = [one.text("value")[: limits.PARAM] for one in parts]
    return dict(zip(keys, values, strict=True))


def _check_sizes(metrics: int, params: int, tags: int) -> None:
    for what, count, most in (
        ("metrics", metrics, limits.METRICS),
        ("params", params, limits.PAIRS),
        ("tags", tags, limits.PAIRS),
    ):
        if count > most:
            raise Fault(
                f"A batch logging request can contain at most {most} {what}. Got {count} {what}."
            )
    if metrics + params + tags > limits.METRICS:
        raise Fault(
            f"A batch logging request can contain at most {limits.METRICS} entities. "
            f"Got {metrics + params + tags} entities."
        )


def _model(board: Board, asked: Asked) -> LoggedModel | None:
    name = asked.text("model_id")
    if not name:
        return None
    found = board.models.get(name)
    if found is None:
        raise unknown(f"Logged model with ID '{name}' not found.")
    return found


def _measure(board: Board, model: LoggedModel, run: TrackedRun, asked: Asked, point: Point) -> None:
    """A model keeps the last point of each key, data set and run."""
    key, value, time, step = point
    dataset = asked.text("dataset_name"), asked.text("dataset_digest")
    found: dict[str, Any] = {"key": key, "value": value, "timestamp": time, "step": step}
    if dataset[0]:
        found["dataset_name"] = dataset[0]
    if dataset[1]:
        found["dataset_digest"] = dataset[1]
    found |= {"model_id": model.id, "run_id": run.id}
    kept = []
    for known in model.metrics:
        same = (known["key"], known.get("dataset_name", ""), known.get("dataset_digest", ""))
        if same == (key, *dataset) and known["run_id"] == run.id:
            if (known["step"], known["timestamp"]) > (step, time):
                return
            continue
        kept.append(known)
    model.metrics = [*kept, found]
    board.touch(model)
