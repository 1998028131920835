"""The records of `state` as rows of the store, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from sys import intern
from typing import Any, Final

from trimtab.interop.mlflow.state import (
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.mlflow.wire import number
from trimtab.store.packed import Points
from trimtab.store.records import RunStatus

STATUS: Final[dict[str, RunStatus]] = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "done",
    "FAILED": "failed",
    "KILLED": "cancelled",
}
WORDS: Final[dict[RunStatus, str]] = {
    "running": "RUNNING",
    "done": "FINISHED",
    "cached": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
_SHORT: Final = 40
PARENT: Final = "mlflow.parentRunId"
_RUN: Final = (
    "user",
    "start",
    "location",
    "status",
    "end",
    "deleted",
    "inputs",
    "model_inputs",
    "outputs",
)


def experiment(one: Experiment) -> dict[str, Any]:
    """An experiment's row."""
    body = {name: getattr(one, name) for name in ("location", "created", "updated", "tags")}
    return {"id": one.number, "name": one.name, "stage": one.stage, "body": body}


def to_experiment(row: dict[str, Any]) -> Experiment:
    """The inverse of `experiment`."""
    return Experiment(number=row["id"], name=row["name"], stage=row["stage"], **row["body"])


def tracked(one: TrackedRun) -> dict[str, Any]:
    """What of a run is not in its ordinary row; the last points where it is over."""
    body = {name: getattr(one, name) for name in _RUN}
    if one.is_summed:
        body["latest"] = {
            key: [repr(value), time, step]
            for key, (value, time, step) in _plain(one.metrics).items()
        }
    return {"run": one.id, "experiment": one.experiment, "stage": one.stage, "body": body}


def to_tracked(row: dict[str, Any]) -> TrackedRun:
    """The inverse of `tracked`, with the fields of the ordinary row."""
    body = dict(row["body"])
    latest = body.pop("latest", None)
    if row.get("pid") and STATUS[body["status"]] != row["status"]:
        ended = row["ended_at"]
        body |= {"status": WORDS[row["status"]], "end": ended // 1000 if ended else None}
    return TrackedRun(
        id=row["run"],
        experiment=row["experiment"],
        stage=row["stage"],
        name=row["name"],
        params=_texts(row["params"]),
        tags=_texts(row["tags"]),
        metrics=Points(
            {key: (float(value), time, step) for key, (value, time, step) in (latest or {}).items()}
        ),
        is_summed=latest is not None,
        **body,
    )


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Texts that many runs have, each once: keys, and what is short."""
    return {intern(key): _short(str(value)) for key, value in values.items()}


def _short(text: str) -> str:
    return intern(text) if len(text) <= _SHORT else text


def ordinary(one: TrackedRun) -> dict[str, Any]:
    """What the run's ordinary row says; a deleted run stays there."""
    status = STATUS[one.status]
    ended = one.end if one.end is not None and status != "running" else 0
    return {
        "id": one.id,
        "name": one.name,
        "status": status,
        "parent": one.tags.get(PARENT, ""),
        "params": one.params,
        "tags": one.tags,
        "started_at": one.start * 1000,
        "heartbeat_at": one.start * 1000,
        "ended_at": ended * 1000,
    }


def logged(one: LoggedModel) -> dict[str, Any]:
    """A logged model's row."""
    body = asdict(one)
    for name in ("id", "experiment", "stage"):
        del body[name]
    body["metrics"] = [{**point, "value": repr(point["value"])} for point in one.metrics]
    return {"id": one.id, "experiment": one.experiment, "stage": one.stage, "body": body}


def to_logged(row: dict[str, Any]) -> LoggedModel:
    """The inverse of `logged`."""
    body = dict(row["body"])
    body["metrics"] = [{**point, "value": float(point["value"])} for point in body["metrics"]]
    return LoggedModel(id=row["id"], experiment=row["experiment"], stage=row["stage"], **body)


def registered(one: Registered) -> dict[str, Any]:
    """A registered model's row."""
    body = asdict(one)
    del body["name"]
    return {"name": one.name, "body": body}


def to_registered(row: dict[str, Any]) -> Registered:
    """The inverse of `registered`."""
    return Registered(name=row["name"], **row["body"])


def version(one: RegisteredVersion) -> dict[str, Any]:
    """A model version's row."""
    body = asdict(one)
    del body["name"], body["number"]
    return {"name": one.name, "number": one.number, "body": body}


def to_version(row: dict[str, Any]) -> RegisteredVersion:
    """The inverse of `version`."""
    return RegisteredVersion(name=row["name"], number=row["number"], **row["body"])


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    """Keys and values as a list, as on the wire."""
    return [{"key": key, "value": value} for key, value in values.items()]


def points(latest: Mapping[str, tuple[float, int, int]]) -> list[dict[str, Any]]:
    """The last points of a run, as on the wire."""
    return [
        {"key": key, "value": number(value), "timestamp": time, "step": step}
        for key, (value, time, step) in _plain(latest).items()
    ]


def _plain(latest: Mapping[str, tuple[float, int, int]]) -> Mapping[str, tuple[float, int, int]]:
    return latest.plain() if isinstance(latest, Points) else latest
