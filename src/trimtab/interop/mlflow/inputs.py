"""What a run read and made: data sets, and logged models on either side."""

from __future__ import annotations

from typing import Any, Final

from trimtab.interop.mlflow import limits, runs
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, unknown
from trimtab.interop.mlflow.wire import Asked

_FIELDS: Final = {
    "name": 500,
    "digest": 36,
    "source_type": 65_535,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
}
_NEEDED: Final = ("name", "digest", "source_type", "source")


def log_inputs(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/log-inputs`; a data set of the same name and digest is there once."""
    run = runs.active(board, runs.known(board, asked))
    parts = asked.parts("datasets")
    if len(parts) > limits.METRICS:
        raise Fault(f"A request can contain at most {limits.METRICS} datasets. Got {len(parts)}.")
    found = [_dataset(one) for one in parts]
    models = [{"model_id": _model(board, one)} for one in asked.parts("models")]
    known = {(one["dataset"]["name"], one["dataset"]["digest"]) for one in run.inputs}
    for one in found:
        key = one["dataset"]["name"], one["dataset"]["digest"]
        if key not in known:
            known.add(key)
            run.inputs = [*run.inputs, one]
    run.model_inputs = [*run.model_inputs, *(one for one in models if one not in run.model_inputs)]
    board.touch(run)
    return {}


def log_outputs(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/outputs`."""
    run = runs.active(board, runs.known(board, asked))
    parts = asked.parts("models")
    for one in [{"model_id": _model(board, one), "step": one.integer("step", 0)} for one in parts]:
        others = [known for known in run.outputs if known["model_id"] != one["model_id"]]
        run.outputs = [*others, one]
    board.touch(run)
    return {}


def log_model(board: Board, asked: Asked) -> dict[str, Any]:
    """`runs/log-model`, of clients before 3: the model's description goes into a tag."""
    text = asked.text("model_json", needed=True)
    run = runs.active(board, runs.known(board, asked))
    key = "mlflow.log-model.history"
    before = run.tags.get(key, "[]")[:-1]
    joined = f"{before}, {text}]" if len(before) > 1 else f"[{text}]"
    runs.put_tag(board, run, key, joined)
    return {}


def _dataset(asked: Asked) -> dict[str, Any]:
    if not asked.has("dataset"):
        raise Fault("Dataset cannot be None")
    inner = asked.part("dataset")
    fields = {}
    for name, most in _FIELDS.items():
        if inner.has(name):
            fields[name] = limits.length(inner.text(name), most, name)
        elif name in _NEEDED:
            raise Fault(f"Dataset {name} cannot be None")
    tags = [
        {
            "key": limits.length(one.text("key", needed=True), 255, "key"),
            "value": limits.length(one.text("value"), 500, "value"),
        }
        for one in asked.parts("tags")
    ]
    return {"tags": tags, "dataset": fields} if tags else {"dataset": fields}


def _model(board: Board, asked: Asked) -> str:
    found = asked.text("model_id", needed=True)
    if found not in board.models:
        raise unknown(f"Logged model with ID '{found}' not found.")
    return found
