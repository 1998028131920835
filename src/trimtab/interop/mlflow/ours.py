"""Models that passed the gate, in the registry that MLflow's clients see: as `trimtab.NAME`, by number.

They are read there and changed by the gate alone. A package that is an ONNX graph gets an `MLmodel`,
so that a client loads it; its inputs are the tensors `numbers` and `words` of the package.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.errors import IntegrityError, NotFoundError
from trimtab.interop.mlflow.board import ROOT, Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import Registered, RegisteredVersion
from trimtab.interop.mlflow.wire import Asked
from trimtab.store import artifacts, refs, tracked, trees, versions
from trimtab.store.records import Artifact, Version
from trimtab.store.workspace import Workspace

PREFIX: Final = "trimtab."
FOLDER: Final = "trimtab"
_ALIASES: Final = "alias:model"
_GRAPH: Final = "model.onnx"
_MLMODEL: Final = "MLmodel"


def check(asked: Asked) -> None:
    """Raise a fault for a change of a model that the gate alone changes."""
    if any(str(asked.text(name)).startswith(PREFIX) for name in ("name", "new_name")):
        raise Fault(
            f"Names that begin with '{PREFIX}' are of models that passed trimtab's gate; clients can "
            "only read them."
        )


def check_path(path: str) -> None:
    """Raise a fault for a file of such a model."""
    if path.partition("/")[0] == FOLDER:
        raise Fault(f"What lies below '{FOLDER}/' is of models that passed trimtab's gate.")


def mark(ws: Workspace) -> object:
    """What is another once a model has passed, or an alias has moved."""
    return versions.marks(ws, "model"), refs.find(ws, _ALIASES)


def show(board: Board) -> None:
    """Put every version and alias on the board; the caller holds its lock."""
    found = versions.find(board.ws, "model")
    for name in [name for name in board.registered if name.startswith(PREFIX)]:
        del board.registered[name], board.versions[name]
    for one in sorted(found, key=lambda one: (one.name, one.number)):
        name, at = PREFIX + one.name, one.created_at // 1000
        model = board.registered.setdefault(name, Registered(name, at, at))
        model.last, model.updated = one.number, at
        board.versions.setdefault(name, {})[one.number] = _version(board, name, one)
    for reference, digest in refs.find(board.ws, _ALIASES).items():
        name, _, alias = reference.rpartition("@")
        for number, version in board.versions.get(PREFIX + name, {}).items():
            if version.tags["trimtab.digest"] == digest:
                board.registered[PREFIX + name].aliases[alias] = number


def publish(ws: Workspace) -> None:
    """Give the files of every version their paths; those that have them are passed over."""
    for one in versions.find(ws, "model"):
        folder = _folder(one)
        if not tracked.is_file(ws, f"{folder}/{_MLMODEL}"):
            with ws.transaction():
                _publish(ws, one, folder)


def _publish(ws: Workspace, one: Version, folder: str) -> None:
    now = ids.now()
    try:
        entries = trees.walk(ws.blobs, one.digest)
    except (NotFoundError, IntegrityError):  # collected since, or damaged: the doctor says so
        return
    files = {name: (entry.digest, entry.size) for name, entry in entries.items()}
    if _GRAPH in files:
        data = _mlmodel(one)
        digest = ws.blobs.put(data)
        made = Artifact(digest=digest, kind="file", size=len(data), run=one.run, created_at=now)
        artifacts.record(ws, made)
        files[_MLMODEL] = (digest, len(data))
    rows = [
        {"path": f"{folder}/{name}", "digest": digest, "size": size, "updated_at": now}
        for name, (digest, size) in files.items()
    ]
    tracked.save(ws, "stored_files", rows)


def _version(board: Board, name: str, one: Version) -> RegisteredVersion:
    at, where = one.created_at // 1000, ROOT + _folder(one)
    tags = {"trimtab.version": one.label, "trimtab.digest": one.digest}
    tags |= {f"trimtab.{key}": str(one.meta[key]) for key in ("engine", "task") if key in one.meta}
    made = (one.meta.get("origin") or {}).get("run", one.run)
    run = made if made in board.runs else ""
    return RegisteredVersion(
        name=name, number=one.number, source=where, created=at, updated=at, run=run, location=where,
        tags=tags, description="passed the gate" + (", provisionally" * bool(one.meta.get("provisional"))),
    )  # fmt: skip


def _folder(one: Version) -> str:
    return f"{FOLDER}/{one.name}/{one.number}"


def _mlmodel(one: Version) -> bytes:
    """What MLflow's `onnx` flavor is read by; JSON is YAML too."""
    told: dict[str, Any] = {
        "flavors": {
            "onnx": {
                "code": None,
                "data": _GRAPH,
                "onnx_version": metadata.version("onnxruntime"),
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "data": _GRAPH,
                "loader_module": "mlflow.onnx",
                "python_version": platform.python_version(),
            },
        },
        "model_uuid": one.digest.rpartition(":")[2][:32],
        "utc_time_created": ids.iso(one.created_at),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=1)
