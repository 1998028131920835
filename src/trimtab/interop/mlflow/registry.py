"""Registered models and their aliases."""

from __future__ import annotations

from typing import Any

from trimtab import ids
from trimtab.interop.mlflow import filters, limits, ordering, pages, rows, versions
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, exists, invalid
from trimtab.interop.mlflow.state import Registered
from trimtab.interop.mlflow.wire import Asked


def create(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/create`."""
    name = limits.registered_name(asked.text("name", needed=True))
    tags = limits.registry_tags(asked.pairs("tags"))
    if name in board.registered:
        raise exists(f"Registered Model (name={name}) already exists.")
    now = ids.now() // 1000
    said = asked.text("description") if asked.has("description") else None
    one = Registered(name, now, now, description=said, tags=tags)
    board.registered[name] = one
    board.versions[name] = {}
    board.touch(one)
    return {"registered_model": shown(board, one)}


def get(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/get`."""
    return {"registered_model": shown(board, versions.model_of(board, asked))}


def update(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/update`: its description."""
    one = versions.model_of(board, asked)
    one.description, one.updated = asked.text("description"), ids.now() // 1000
    board.touch(one)
    return {"registered_model": shown(board, one)}


def rename(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/rename`, and every version with it."""
    one = versions.model_of(board, asked)
    new = limits.registered_name(asked.text("new_name", needed=True))
    if new == one.name:
        return {"registered_model": shown(board, one)}
    if new in board.registered:
        raise exists(f"Registered Model (name={new}) already exists.")
    old, now = one.name, ids.now() // 1000
    inner = board.versions.pop(old)
    board.drop(one)
    del board.registered[old]
    one.name, one.updated = new, now
    board.registered[new], board.versions[new] = one, inner
    board.touch(one)
    for version in inner.values():
        board.drop(version)
        version.name, version.updated = new, now
        board.touch(version)
    return {"registered_model": shown(board, one)}


def delete(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/delete`, with its versions and aliases."""
    one = versions.model_of(board, asked)
    for version in board.versions.pop(one.name).values():
        board.drop(version)
    del board.registered[one.name]
    board.drop(one)
    return {}


def search(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/search`; prompts only where the filter asks for them."""
    most = asked.integer("max_results", 100)
    if not 1 <= most <= 1000:
        raise invalid("max_results", most, "It must be between 1 and 1000.")
    matches = filters.registered(asked.text("filter"))
    order = ordering.registered(asked.texts("order_by"))
    found = order(one for one in board.registered.values() if matches(one))
    page, token = pages.page(found, most, asked.text("page_token"))
    answer: dict[str, Any] = {}
    if page:
        answer["registered_models"] = [shown(board, one) for one in page]
    return answer | ({"next_page_token": token} if token else {})


def set_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/set-tag`."""
    one = versions.model_of(board, asked)
    one.tags.update(limits.registry_tags({asked.text("key", needed=True): asked.text("value")}))
    board.touch(one)
    return {}


def delete_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/delete-tag`; one that is not there is no fault."""
    one = versions.model_of(board, asked)
    one.tags.pop(asked.text("key", needed=True), None)
    board.touch(one)
    return {}


def set_alias(board: Board, asked: Asked) -> dict[str, Any]:
    """`POST registered-models/alias`."""
    one, alias = versions.model_of(board, asked), limits.alias(asked.text("alias", needed=True))
    one.aliases[alias] = versions.named(board, asked).number
    board.touch(one)
    return {}


def delete_alias(board: Board, asked: Asked) -> dict[str, Any]:
    """`DELETE registered-models/alias`; one that is not there is no fault."""
    one = versions.model_of(board, asked)
    one.aliases.pop(asked.text("alias", needed=True), None)
    board.touch(one)
    return {}


def get_alias(board: Board, asked: Asked) -> dict[str, Any]:
    """`GET registered-models/alias`: the version that an alias means."""
    one, alias = versions.model_of(board, asked), asked.text("alias", needed=True)
    inner = board.versions[one.name]
    if alias.lower() == "latest" and inner:
        number: int | None = max(inner)
    else:
        number = one.aliases.get(alias)
    if number is None or number not in inner:
        raise Fault(f"Registered model alias {alias} not found.")
    return {"model_version": versions.shown(board, inner[number])}


def latest(board: Board, asked: Asked) -> dict[str, Any]:
    """`registered-models/get-latest-versions`: of each stage, or of those named, the highest number."""
    one = versions.model_of(board, asked)
    stages = [versions.stage(text) for text in asked.texts("stages")]
    found = versions.latest(board, one.name, stages)
    shown_ones = [versions.shown(board, version) for version in found]
    return {"model_versions": shown_ones} if found else {}


def shown(board: Board, one: Registered) -> dict[str, Any]:
    """A registered model as on the wire."""
    found: dict[str, Any] = {
        "name": one.name,
        "creation_timestamp": one.created,
        "last_updated_timestamp": one.updated,
    }
    if one.description is not None:
        found["description"] = one.description
    newest = versions.latest(board, one.name, [])
    if newest:
        found["latest_versions"] = [versions.plain(version) for version in newest]
    if one.tags:
        found["tags"] = rows.pairs(one.tags)
    if one.aliases:
        found["aliases"] = [
            {"alias": alias, "version": str(number)} for alias, number in one.aliases.items()
        ]
    return found
