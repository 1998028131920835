"""Versions of registered models: numbered, staged, tagged, and where their files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from trimtab import ids
from trimtab.interop.mlflow import filters, limits, ordering, pages, rows
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, invalid, unknown
from trimtab.interop.mlflow.state import Registered, RegisteredVersion
from trimtab.interop.mlflow.wire import Asked

STAGES: Final = ("None", "Staging", "Production", "Archived")
_STAGES: Final = {one.lower(): one for one in STAGES}


def create(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/create`: the next number, which is never given again."""
    source = asked.text("source", needed=True)
    run, model = asked.text("run_id"), asked.text("model_id")
    tags = limits.registry_tags(asked.pairs("tags"))
    is_prompt = tags.get(filters.PROMPT, "").lower() == "true"
    if not is_prompt:
        _check_source(board, source, run)
    location, of_model = _resolved(board, source)
    if model and model not in board.models:
        raise unknown(f"Logged model with ID '{model}' not found.")
    if of_model and model and of_model != model:
        raise Fault(
            f"Invalid model version source: '{source}'. The model_id request parameter must identify "
            "the resource that contains the source."
        )
    run_link = asked.text("run_link")
    description = asked.text("description") if asked.has("description") else None
    one = model_of(board, asked)
    now = ids.now() // 1000
    one.last, one.updated = one.last + 1, now
    made = RegisteredVersion(
        name=one.name,
        number=one.last,
        source=source,
        created=now,
        updated=now,
        run=run or _run_of(board, model or of_model),
        run_link=run_link,
        description=description,
        model=model or of_model,
        location=location,
        tags=tags,
    )
    board.versions[one.name][made.number] = made
    board.touch(one)
    board.touch(made)
    return {"model_version": plain(made)}


def get(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/get`."""
    return {"model_version": shown(board, named(board, asked))}


def update(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/update`: its description."""
    one = named(board, asked)
    one.description, one.updated = asked.text("description"), ids.now() // 1000
    board.touch(one)
    return {"model_version": shown(board, one)}


def transition(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/transition-stage`."""
    one, wanted = named(board, asked), stage(asked.text("stage", needed=True))
    is_alone = asked.flag("archive_existing_versions")
    if is_alone and wanted not in ("Staging", "Production"):
        raise Fault(
            f"Model version transition cannot archive existing model versions because '{wanted}' is "
            "not an Active stage. Valid stages are ['Staging', 'Production']"
        )
    now = ids.now() // 1000
    if is_alone:
        for other in board.versions[one.name].values():
            if other is not one and other.stage == wanted:
                other.stage, other.updated = "Archived", now
                board.touch(other)
    one.stage, one.updated = wanted, now
    parent = board.registered[one.name]
    parent.updated = now
    board.touch(parent)
    board.touch(one)
    return {"model_version": shown(board, one)}


def delete(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/delete`, and every alias that means it."""
    one = named(board, asked)
    parent = board.registered[one.name]
    parent.aliases = {
        alias: number for alias, number in parent.aliases.items() if number != one.number
    }
    parent.updated = ids.now() // 1000
    del board.versions[one.name][one.number]
    board.touch(parent)
    board.drop(one)
    return {}


def search(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/search`."""
    most = asked.integer("max_results", 10_000)
    if not 1 <= most <= 200_000:
        raise invalid("max_results", most, "It must be between 1 and 200000.")
    matches = filters.versions(asked.text("filter"))
    order = ordering.versions(asked.texts("order_by"))
    found = order(
        one for inner in board.versions.values() for one in inner.values() if matches(one)
    )
    page, token = pages.page(found, most, asked.text("page_token"))
    answer: dict[str, Any] = {"model_versions": [plain(one) for one in page]} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def download_uri(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/get-download-uri`."""
    one = named(board, asked)
    return {"artifact_uri": one.location or one.source}


def set_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/set-tag`."""
    one = named(board, asked)
    one.tags.update(limits.registry_tags({asked.text("key", needed=True): asked.text("value")}))
    board.touch(one)
    return {}


def delete_tag(board: Board, asked: Asked) -> dict[str, Any]:
    """`model-versions/delete-tag`; one that is not there is no fault."""
    one = named(board, asked)
    one.tags.pop(asked.text("key", needed=True), None)
    board.touch(one)
    return {}


def model_of(board: Board, asked: Asked) -> Registered:
    """The registered model that a request names."""
    name = asked.text("name", needed=True)
    found = board.registered.get(name)
    if found is None:
        limits.registered_name(name)
        raise unknown(f"Registered Model with name={name} not found")
    return found


def named(board: Board, asked: Asked) -> RegisteredVersion:
    """The version that a request names."""
    name, text = asked.text("name", needed=True), asked.text("version", needed=True)
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Fault(f"Parameter 'version' must be an integer, got '{text[:100]}'.")
    found = board.versions.get(name, {}).get(int(text))
    if found is None:
        limits.registered_name(name)
        raise unknown(f"Model Version (name={name}, version={text}) not found")
    return found


def latest(board: Board, name: str, stages: Sequence[str]) -> list[RegisteredVersion]:
    """The highest number in each stage, or in those named."""
    newest: dict[str, RegisteredVersion] = {}
    for _, one in sorted(board.versions[name].items()):
        newest[one.stage] = one
    return [one for kind, one in newest.items() if not stages or kind in stages]


def stage(text: str) -> str:
    """The canonical name of a stage."""
    found = _STAGES.get(text.lower())
    if found is None:
        raise Fault(
            f"Invalid Model Version stage: {text[:100]}. Value must be one of {', '.join(STAGES)}."
        )
    return found


def plain(one: RegisteredVersion) -> dict[str, Any]:
    """A version as on the wire, without its aliases."""
    found: dict[str, Any] = {
        "name": one.name,
        "version": str(one.number),
        "creation_timestamp": one.created,
        "last_updated_timestamp": one.updated,
        "current_stage": one.stage,
        "description": one.description or "",
        "source": one.source,
        "run_id": one.run,
        "status": "READY",
        "run_link": one.run_link,
    }
    if one.tags:
        found["tags"] = rows.pairs(one.tags)
    return found


def shown(board: Board, one: RegisteredVersion) -> dict[str, Any]:
    """The same with its aliases."""
    found = plain(one)
    aliases = [
        alias
        for alias, number in board.registered[one.name].aliases.items()
        if number == one.number
    ]
    return found | {"aliases": aliases} if aliases else found


def _check_source(board: Board, source: str, run: str) -> None:
    """Raise a fault for a source that leads anywhere but to stored files."""
    parts = urlsplit(source)
    decoded = source
    for _ in range(4):
        decoded = unquote(decoded)
    wrong = Fault(f"Invalid model version source: '{source[:500]}'.")
    if "\0" in decoded or "\\" in decoded or ".." in decoded.split("/"):
        raise wrong
    if parts.scheme in ("runs", "models", "mlflow-artifacts") and (parts.query or parts.fragment):
        raise wrong
    if parts.scheme in ("runs", "models") and parts.netloc:
        raise wrong
    if parts.scheme in ("", "file"):
        home = board.runs.get(run)
        own = urlsplit(home.location) if home is not None else None
        inside = (
            own is not None
            and own.scheme in ("", "file")
            and f"{unquote(parts.path)}/".startswith(f"{unquote(own.path).rstrip('/')}/")
        )
        if not inside:
            raise Fault(
                f"Invalid model version source: '{source[:500]}'. To use a local path as a model "
                "version source, the run_id request parameter has to be specified and the local path "
                "has to be contained within the artifact directory of the run specified by the run_id."
            )


def _resolved(board: Board, source: str) -> tuple[str, str]:
    """Where the files of a source are, and the logged model that they are of."""
    parts = urlsplit(source)
    if parts.scheme == "models":
        wanted = parts.path.strip("/")
        model = board.models.get(wanted)
        if model is not None:
            return model.location, model.id
        name, _, version = wanted.partition("/")
        known = board.versions.get(unquote(name), {})
        if version.isdecimal() and int(version) in known:
            other = known[int(version)]
            return other.location or other.source, other.model
        raise unknown(f"Unable to find the model of the source '{source[:300]}'.")
    if parts.scheme == "runs":
        run_id, _, path = parts.path.strip("/").partition("/")
        run = board.runs.get(run_id)
        if run is None:
            raise unknown(f"Run with id={run_id[:300]} not found")
        return f"{run.location}/{path}", ""
    for piece in source.split("/"):
        if piece in board.models and source.startswith(board.models[piece].location):
            return source, piece
    return source, ""


def _run_of(board: Board, model: str) -> str:
    return board.models[model].run if model else ""
