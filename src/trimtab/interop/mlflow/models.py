"""Logged models: what `log_model` makes, with its files, before anything is registered."""

from __future__ import annotations

from typing import Any, Final

from trimtab import ids
from trimtab.interop.mlflow import (
    experiments,
    files,
    filters,
    limits,
    names,
    ordering,
    pages,
    rows,
)
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, invalid, missing, unknown
from trimtab.interop.mlflow.state import ACTIVE, DELETED, LoggedModel
from trimtab.interop.mlflow.wire import Asked, number

STATUSES: Final = (
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
)
_BAD: Final = ("/", ":", ".", "%", '"', "'")


def create(board: Board, asked: Asked) -> dict[str, Any]:
    """`POST logged-models`."""
    experiment = experiments.active(board, asked.text("experiment_id", needed=True))
    name = asked.text("name") or names.invented()
    if any(mark in name for mark in _BAD):
        raise Fault(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string "
            f"and cannot contain the following characters: {_BAD}"
        )
    id_, now = f"m-{ids.new_id()}", ids.now() // 1000
    one = LoggedModel(
        id=id_,
        experiment=experiment.number,
        name=limits.length(name, limits.EXPERIMENT_NAME, "Model name"),
        location=f"{experiment.location.rstrip('/')}/models/{id_}/artifacts",
        created=now,
        updated=now,
        kind=asked.text("model_type"),
        run=asked.text("source_run_id"),
        params=_params(asked),
        tags=_tags(asked),
    )
    board.models[id_] = one
    board.touch(one)
    return {"model": shown(one)}


def get(board: Board, asked: Asked) -> dict[str, Any]:
    """`GET logged-models/{id}`."""
    found = named(board, asked)
    if found.stage != ACTIVE and not asked.flag("allow_deleted"):
        raise _unknown(found.id)
    return {"model": shown(found)}


def finalize(board: Board, asked: Asked) -> dict[str, Any]:
    """`PATCH logged-models/{id}`: its files are a tree, and an output of the run that logged it."""
    one = named(board, asked)
    if not asked.has("status"):
        raise missing("status")
    said = asked.fields["status"]
    status = STATUSES[said] if type(said) is int and 0 < said < len(STATUSES) else said
    if status not in STATUSES[1:]:
        raise invalid("status", said, f"It must be one of {', '.join(STATUSES[1:])}.")
    digest = files.keep_model(board, one) if status == "LOGGED_MODEL_READY" else one.digest
    one.status, one.updated, one.digest = status, ids.now() // 1000, digest
    board.touch(one)
    return {"model": shown(one)}


def delete(board: Board, asked: Asked) -> dict[str, Any]:
    """`DELETE logged-models/{id}`."""
    one = named(board, asked)
    one.stage, one.updated = DELETED, ids.now() // 1000
    board.touch(one)
    return {}


def search(board: Board, asked: Asked) -> dict[str, Any]:
    """`POST logged-models/search`."""
    wanted = asked.texts("experiment_ids")
    if not wanted:
        raise missing("experiment_ids")
    most = asked.integer("max_results", 100)
    if not 1 <= most <= 50_000:
        raise invalid("max_results", most, "It must be between 1 and 50000.")
    datasets = [
        (one.text("dataset_name"), one.text("dataset_digest")) for one in asked.parts("datasets")
    ]
    if not all(name for name, _ in datasets):
        raise Fault("`dataset_name` in the `datasets` clause must be specified.")
    matches = filters.models(asked.text("filter"), datasets)
    order = ordering.models(asked.parts("order_by"))
    numbers = {experiments.number(text) for text in wanted}
    found = [
        one
        for one in board.models.values()
        if one.experiment in numbers and one.stage == ACTIVE and matches(one)
    ]
    page, token = pages.page(order(found), most, asked.text("page_token"))
    answer: dict[str, Any] = {"models": [shown(one) for one in page]} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def set_tags(board: Board, asked: Asked) -> dict[str, Any]:
    """`PATCH logged-models/{id}/tags`."""
    one, tags = named(board, asked), _tags(asked)
    one.tags.update(tags)
    board.touch(one)
    return {}


def delete_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`DELETE logged-models/{id}/tags/{key}`."""
    one, key = named(board, asked), asked.text("tag_key", needed=True)
    if key not in one.tags:
        raise unknown(f"No tag with key {key!r} found for model with ID {one.id!r}.")
    del one.tags[key]
    board.touch(one)
    return {}


def log_params(board: Board, asked: Asked) -> dict[str, Any]:
    """`POST logged-models/{id}/params`: set once."""
    one, params = named(board, asked), _params(asked)
    for key, value in params.items():
        if one.params.get(key, value) != value:
            raise Fault(
                f"Changing param values is not allowed. Param with key='{key}' was already logged "
                f"with value='{one.params[key]}' for model ID='{one.id}'."
            )
    one.params.update(params)
    board.touch(one)
    return {}


def directories(board: Board, asked: Asked) -> dict[str, Any]:
    """`GET logged-models/{id}/artifacts/directories`."""
    one = named(board, asked)
    return files.listed(board, one.location, asked.text("artifact_directory_path"))


def named(board: Board, asked: Asked) -> LoggedModel:
    """The model that a request names."""
    text = asked.text("model_id", needed=True)
    found = board.models.get(text)
    if found is None:
        raise _unknown(text)
    return found


def shown(one: LoggedModel) -> dict[str, Any]:
    """A logged model as on the wire."""
    info: dict[str, Any] = {
        "model_id": one.id,
        "experiment_id": str(one.experiment),
        "name": one.name,
        "creation_timestamp_ms": one.created,
        "last_updated_timestamp_ms": one.updated,
        "artifact_uri": one.location,
        "status": one.status,
        "model_type": one.kind,
        "source_run_id": one.run,
    }
    if one.tags:
        info["tags"] = rows.pairs(one.tags)
    data: dict[str, Any] = {}
    if one.params:
        data["params"] = rows.pairs(one.params)
    if one.metrics:
        data["metrics"] = [{**point, "value": number(point["value"])} for point in one.metrics]
    return {"info": info, "data": data}


def _unknown(text: str) -> Fault:
    return unknown(f"Logged model with ID '{text}' not found.")


def _params(asked: Asked) -> dict[str, str]:
    return {
        limits.length(key, limits.KEY, "Param key"): value[: limits.PARAM]
        for key, value in asked.pairs("params").items()
    }


def _tags(asked: Asked) -> dict[str, str]:
    return {
        limits.length(key, limits.KEY, "key"): value[: limits.TAG]
        for key, value in asked.pairs("tags").items()
    }
