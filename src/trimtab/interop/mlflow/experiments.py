"""Experiments: made, looked up, searched, renamed, deleted with their runs and restored."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from trimtab import ids
from trimtab.interop.mlflow import filters, limits, ordering, pages, rows
from trimtab.interop.mlflow.board import ROOT, Board
from trimtab.interop.mlflow.fault import Fault, exists, invalid, missing, unknown
from trimtab.interop.mlflow.state import ACTIVE, DELETED, Experiment
from trimtab.interop.mlflow.wire import Asked
from trimtab.store import tracked

VIEWS = {"ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,), "ALL": (ACTIVE, DELETED)}


def create(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/create`; the name of a deleted experiment is free again."""
    name = _name(asked.text("name", needed=True), "name")
    location = asked.text("artifact_location")
    tags = asked.pairs("tags")
    for key, value in tags.items():
        _check_tag(key, value)
    if location:
        _check_location(location)
    if name in board.names:
        raise exists(f"Experiment(name={name}) already exists.")
    number = max(*board.experiments, tracked.last_experiment(board.ws)) + 1
    now = ids.now() // 1000
    one = Experiment(number, name, location or f"{ROOT}{number}", now, now, tags=tags)
    board.add_experiment(one)
    board.touch(one)
    return {"experiment_id": str(number)}


def get(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/get`."""
    return {"experiment": shown(known(board, asked.text("experiment_id", needed=True)))}


def get_by_name(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/get-by-name`: the active one, or else the one deleted last."""
    name = asked.text("experiment_name", needed=True)
    found = board.names.get(name)
    if found is None:
        gone = [one for one in board.experiments.values() if one.name == name]
        found = max(gone, key=lambda one: one.updated, default=None)
    if found is None:
        raise unknown(f"Could not find experiment with name '{name}'")
    return {"experiment": shown(found)}


def search(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/search`."""
    most = asked.integer("max_results", 1000)
    if not 1 <= most <= 50_000:
        raise invalid("max_results", most, "It must be between 1 and 50000.")
    stages = _stages(asked.text("view_type") or "ACTIVE_ONLY", "view_type")
    matches = filters.experiments(asked.text("filter"))
    order = ordering.experiments(asked.texts("order_by"))
    found = [one for one in board.experiments.values() if one.stage in stages and matches(one)]
    page, token = pages.page(order(found), most, asked.text("page_token"))
    answer: dict[str, Any] = {"experiments": [shown(one) for one in page]} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def delete(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/delete`, and every run of it that is active."""
    one = known(board, asked.text("experiment_id", needed=True))
    if one.stage != ACTIVE:
        raise unknown(f"No Experiment with id={one.number} exists")
    if one.number == 0:
        raise Fault(
            "Cannot delete the default experiment '0'. This is an internally reserved experiment."
        )
    one.stage, one.updated = DELETED, ids.now() // 1000
    board.names.pop(one.name, None)
    board.touch(one)
    for run in board.by_experiment[one.number].values():
        if run.stage == ACTIVE:
            run.stage, run.deleted = DELETED, one.updated
            board.touch(run)
    return {}


def restore(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/restore`, with the runs that were deleted with it."""
    one = known(board, asked.text("experiment_id", needed=True))
    if one.stage == ACTIVE:
        raise unknown(f"No Experiment with id={one.number} exists")
    if one.name in board.names:
        raise exists(f"Experiment(name={one.name}) already exists.")
    together, now = one.updated, ids.now() // 1000
    one.stage, one.updated = ACTIVE, now
    board.names[one.name] = one
    board.touch(one)
    for run in board.by_experiment[one.number].values():
        if run.stage == DELETED and run.deleted == together:
            run.stage, run.deleted = ACTIVE, 0
            board.touch(run)
    return {}


def update(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/update`: another name."""
    one = active(board, asked.text("experiment_id", needed=True))
    if not asked.has("new_name"):
        return {}
    name = _name(asked.text("new_name"), "name")
    if name != one.name and name in board.names:
        raise exists(f"Experiment(name={name}) already exists.")
    board.names.pop(one.name, None)
    one.name, one.updated = name, ids.now() // 1000
    board.names[name] = one
    board.touch(one)
    return {}


def set_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/set-experiment-tag`."""
    key, value = asked.text("key", needed=True), asked.text("value")
    _check_tag(key, value)
    one = active(board, asked.text("experiment_id", needed=True))
    one.tags[key], one.updated = value, ids.now() // 1000
    board.touch(one)
    return {}


def delete_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/delete-experiment-tag`."""
    key = asked.text("key", needed=True)
    one = active(board, asked.text("experiment_id", needed=True))
    if key not in one.tags:
        raise unknown(f"No tag with name: {key} in experiment with id {one.number}")
    del one.tags[key]
    one.updated = ids.now() // 1000
    board.touch(one)
    return {}


def known(board: Board, text: str) -> Experiment:
    """The experiment of an id."""
    one = board.experiments.get(number(text))
    if one is None:
        raise unknown(f"No Experiment with id={text} exists")
    return one


def active(board: Board, text: str) -> Experiment:
    """The same, where it is not deleted."""
    one = known(board, text)
    if one.stage != ACTIVE:
        raise Fault(
            f"The experiment {one.number} must be in the 'active' state. \nCurrent state is deleted."
        )
    return one


def number(text: str) -> int:
    """An experiment's id as a number."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Fault(f"Invalid experiment ID: {text[:200]!r}. Experiment ID must be an integer.")
    return int(text)


def shown(one: Experiment) -> dict[str, Any]:
    """An experiment as on the wire."""
    found: dict[str, Any] = {
        "experiment_id": str(one.number),
        "name": one.name,
        "artifact_location": one.location,
        "lifecycle_stage": one.stage,
        "last_update_time": one.updated,
        "creation_time": one.created,
        "workspace": "default",
    }
    if one.tags:
        found["tags"] = rows.pairs(one.tags)
    return found


def _stages(view: str, name: str) -> tuple[str, ...]:
    if view not in VIEWS:
        raise invalid(name, view, f"It must be one of {', '.join(VIEWS)}.")
    return VIEWS[view]


def _name(value: str, path: str) -> str:
    if not value.strip():
        raise missing(path)
    return limits.length(value, limits.EXPERIMENT_NAME, "Experiment name")


def _check_tag(key: str, value: str) -> None:
    limits.name(key, "name", "key")
    limits.length(value, limits.EXPERIMENT_TAG, "value")


def _check_location(location: str) -> None:
    # What lies elsewhere is the client's own affair, as with stock MLflow; what an address hides is not.
    parts = urlsplit(location)
    if parts.query or parts.fragment or "?" in location or "#" in location or "\0" in location:
        raise invalid("artifact_location", location, "It must not hold '?', '#' or NUL.")
    if ".." in unquote(parts.path).split("/"):
        raise invalid("artifact_location", location, "It must not hold '..'.")
