"""Runs: created, shown, ended, deleted, restored; tags and params one by one."""

from __future__ import annotations

from typing import Any, Final

from trimtab import ids
from trimtab.interop.mlflow import experiments, limits, names, rows, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, invalid, missing, unknown
from trimtab.interop.mlflow.state import ACTIVE, DELETED, TrackedRun
from trimtab.interop.mlflow.wire import Asked
from trimtab.store.packed import Points

NAME: Final = "mlflow.runName"
_OVER: Final = ("FINISHED", "FAILED", "KILLED")


def create(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/create`."""
    tags = _tags(asked)
    name, said = asked.text("run_name"), tags.get(NAME, "")
    if name and said and name != said:
        raise Fault(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different "
            f"values (run_name='{name}', mlflow.runName='{said}')."
        )
    name = name or said or names.invented()
    start = limits.moment(asked.integer("start_time", 0), "start_time")
    experiment = experiments.active(board, asked.text("experiment_id") or "0")
    run = ids.new_id()
    one = TrackedRun(
        id=run,
        experiment=experiment.number,
        name=name,
        user=asked.text("user_id"),
        start=start,
        location=f"{experiment.location.rstrip('/')}/{run}/artifacts",
        tags={**tags, NAME: name},
    )
    board.add_run(one)
    made = shown(one)
    del made["outputs"]  # stock MLflow leaves it out here, and nowhere else
    return {"run": made}


def get(board: Board, asked: Asked) -> bytes:
    """`runs/get`, deleted runs too."""
    return b'{"run":%b}' % spelt(board, known(board, asked))


def update(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/update`: status, end and name."""
    one = active(board, known(board, asked))
    status = _status(asked.fields.get("status")) if asked.has("status") else one.status
    end = limits.moment(asked.integer("end_time"), "end_time") if asked.has("end_time") else one.end
    name = asked.text("run_name")
    one.status = status
    one.end = end
    if name:
        one.name = name
        one.tags[NAME] = name
    one.is_summed = status in _OVER
    if one.is_summed:
        one.metrics = Points(one.metrics)
    board.touch(one)
    return {"run_info": info(one)}


def delete(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/delete`: it stays, and can be restored."""
    one = own(known(board, asked))
    one.stage, one.deleted = DELETED, ids.now() // 1000
    board.touch(one)
    return {}


def restore(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/restore`."""
    one = own(known(board, asked))
    one.stage, one.deleted = ACTIVE, 0
    board.touch(one)
    return {}


def set_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/set-tag`; the tag `mlflow.runName` names the run."""
    key = limits.name(asked.text("key", needed=True), "key", "key")
    value = asked.text("value")[: limits.TAG]
    put_tag(board, active(board, known(board, asked)), key, value)
    return {}


def delete_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/delete-tag`."""
    key = asked.text("key", needed=True)
    one = active(board, known(board, asked))
    if key not in one.tags:
        raise unknown(f"No tag with name: {key} in run with id {one.id}")
    del one.tags[key]
    board.touch(one)
    return {}


def log_parameter(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/log-parameter`: set once; the same value again is no fault."""
    key = limits.name(asked.text("key", needed=True), "key", "Param key")
    value = asked.text("value")[: limits.PARAM]
    one = active(board, known(board, asked))
    check_params(one, {key: value})
    if key not in one.params:
        one.params[key] = value
        board.touch(one)
    return {}


def put_tag(board: Board, one: TrackedRun, key: str, value: str) -> None:
    """Set a tag of a run."""
    one.tags[key] = value
    if key == NAME and value:
        one.name = value
    board.touch(one)


def check_params(one: TrackedRun, params: dict[str, str]) -> None:
    """Raise a fault where a param would change."""
    for key, value in params.items():
        old = one.params.get(key, value)
        if old != value:
            raise Fault(
                "Changing param values is not allowed. Param with key="
                f"'{key}' was already logged with value='{old}' for run ID='{one.id}'. "
                f"Attempted logging new value '{value}'."
            )


def known(board: Board, asked: Asked) -> TrackedRun:
    """The run that a request names, by either of its two names."""
    text = asked.text("run_id") or asked.text("run_uuid")
    if not text:
        raise missing("run_id")
    return named(board, text)


def named(board: Board, text: str) -> TrackedRun:
    """The run of an id."""
    found = board.runs.get(text)
    if found is None:
        limits.run_id(text)
        raise unknown(f"Run with id={text} not found")
    return found


def active(_board: Board, one: TrackedRun) -> TrackedRun:
    """The run, where it is not deleted."""
    if one.stage != ACTIVE:
        raise Fault(
            f"The run {one.id} must be in the 'active' state. Current state is {one.stage}."
        )
    return own(one)


def own(one: TrackedRun) -> TrackedRun:
    """The run, where clients may change it."""
    if one.is_followed:
        raise Fault(f"The run {one.id} is written by trimtab itself: clients can only read it.")
    return one


def shown(one: TrackedRun) -> dict[str, Any]:
    """A run as on the wire."""
    data: dict[str, Any] = {}
    if one.metrics:
        data["metrics"] = rows.points(one.metrics)
    if one.params:
        data["params"] = rows.pairs(one.params)
    if one.tags:
        data["tags"] = rows.pairs(one.tags)
    inputs: dict[str, Any] = {}
    if one.inputs:
        inputs["dataset_inputs"] = one.inputs
    if one.model_inputs:
        inputs["model_inputs"] = one.model_inputs
    outputs = {"model_outputs": one.outputs} if one.outputs else {}
    return {"info": info(one), "data": data, "inputs": inputs, "outputs": outputs}


def spelt(board: Board, one: TrackedRun) -> bytes:
    """A run as the bytes of its JSON."""
    return board.spelt.of(one.id, lambda: wire.encode(shown(one)))


def info(one: TrackedRun) -> dict[str, Any]:
    """A run's own fields."""
    found: dict[str, Any] = {
        "run_uuid": one.id,
        "experiment_id": str(one.experiment),
        "run_name": one.name,
        "user_id": one.user,
        "status": one.status,
        "start_time": one.start,
    }
    if one.end is not None:
        found["end_time"] = one.end
    found |= {"artifact_uri": one.location, "lifecycle_stage": one.stage, "run_id": one.id}
    return found


def _status(value: Any) -> str:
    numbers: dict[Any, str] = {
        1: "RUNNING",
        2: "SCHEDULED",
        3: "FINISHED",
        4: "FAILED",
        5: "KILLED",
    }
    found: Any = numbers.get(value, value) if isinstance(value, int | str) else None
    if found not in rows.STATUS:
        raise invalid("status", value, f"It must be one of {', '.join(rows.STATUS)}.")
    return str(found)


def _tags(asked: Asked) -> dict[str, str]:
    return {
        limits.name(key, f"tags[{place}].key", "key"): value[: limits.TAG]
        for place, (key, value) in enumerate(asked.pairs("tags").items())
    }
