"""Files of runs and models: named places for blobs, listed, stored and taken away.

A file of a run is an output of the run, under its path there; the files of a logged model become one
tree when it is ready. What trimtab's own runs made is listed and read the same way, and kept.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab import ids
from trimtab.errors import NotFoundError
from trimtab.interop.mlflow import made, runs
from trimtab.interop.mlflow.board import ROOT, Board
from trimtab.interop.mlflow.fault import Fault, unknown
from trimtab.interop.mlflow.state import LoggedModel, TrackedRun
from trimtab.interop.mlflow.wire import Asked
from trimtab.store import artifacts, tracked, trees
from trimtab.store import runs as ordinary
from trimtab.store.records import Artifact

PROXIED: Final = "mlflow-artifacts:"
"""How the location of what a server keeps begins."""
_DEEPEST: Final = 64
_LONGEST: Final = 255


def checked(path: str) -> str:
    """A path inside of the root; raises a fault for one that leads out or is none."""
    parts = path.split("/")
    is_odd = (
        "\0" in path
        or "\\" in path
        or ("%" in path and any(mark in path.lower() for mark in ("%2e", "%2f", "%5c", "%00")))
        or (len(path) > 1 and path[1] == ":" and path[0].isalpha())
        or any(part in ("", ".", "..") for part in parts)
        or any(len(part.encode("utf-8", "replace")) > _LONGEST for part in parts)
        or len(parts) > _DEEPEST
    )
    if path and (is_odd or not path.isprintable()):
        raise Fault("Invalid path")
    return path


def below(location: str, path: str = "") -> str:
    """The path of what is stored under a location; raises a fault for one that is not stored here."""
    if not location.startswith(PROXIED):
        raise Fault(f"The artifacts at '{location[:300]}' are not kept by this server.")
    root = proxied(location)
    return checked(f"{root}/{path}" if path else root)


def proxied(location: str) -> str:
    """The path in a server's own store that a location names."""
    rest = location.removeprefix(PROXIED)
    if rest.startswith("//"):  # a host, which is that server
        rest = rest[2:].partition("/")[2]
    return rest.strip("/")


def list_run(board: Board, asked: Asked) -> dict[str, Any]:
    """`artifacts/list`."""
    run = runs.known(board, asked)
    return listed(board, run.location, asked.text("path"))


def listed(board: Board, location: str, path: str) -> dict[str, Any]:
    """What is directly in a folder below a location, with paths from there."""
    path = checked(path.strip("/"))
    found = children(board, below(location, path))
    shown = [{**one, "path": f"{path}/{one['path']}" if path else one["path"]} for one in found]
    return {"root_uri": location} | ({"files": shown} if shown else {})


def children(board: Board, folder: str) -> list[dict[str, Any]]:
    """Files and folders directly in a folder; nothing for a file, or where nothing is."""
    found: dict[str, dict[str, Any]] = {}
    begin = len(folder) + 1 if folder else 0
    for path, (_, size) in _kept(board, folder).items():
        name, slash, _ = path[begin:].partition("/")
        if not name:
            continue
        if slash:
            found[name] = {"path": name, "is_dir": True}
        else:
            found[name] = {"path": name, "is_dir": False, "file_size": size}
    return [found[name] for name in sorted(found)]


def find(board: Board, path: str) -> tuple[str, int]:
    """Digest and size of a file."""
    found = _kept(board, checked(path)).get(path)
    if found is not None:
        return found
    raise unknown(f"No such artifact: '{path}'")


def store(board: Board, path: str, digest: str, size: int) -> dict[str, Any]:
    """Give a blob a path; what was there before goes."""
    board.ws.blobs.size(digest)
    clash = [row for row in tracked.files(board.ws, path) if row["path"] != path]
    above = path.split("/")
    over = ["/".join(above[:length]) for length in range(1, len(above))]
    owner = _owner(board, path)
    run_id = runs.own(owner[0]).id if owner else ""
    if clash or (owner and not owner[1]) or any(_is_file(board, one) for one in over):
        raise Fault(f"'{path[:300]}' is a folder, or lies below a file.")
    now = ids.now()
    row = {"path": path, "digest": digest, "size": size, "updated_at": now}
    before = [old["digest"] for old in tracked.files(board.ws, path)]
    tracked.save(board.ws, "stored_files", [row])
    made = Artifact(digest=digest, kind="file", size=size, run=run_id, created_at=now)
    artifacts.record(board.ws, made)
    if owner:
        for old in before:
            if old != digest:
                tracked.unlink(board.ws, run_id, owner[1], old)
        ordinary.link(board.ws, run_id, "out", owner[1], digest)
    return {}


def remove(board: Board, path: str) -> dict[str, Any]:
    """Take a file or a folder away; the bytes stay as long as anything else uses them."""
    if not path:
        raise Fault("Invalid path")
    above = _owner(board, path)
    if above:
        runs.own(above[0])
    for row in tracked.files(board.ws, path):
        owner = _owner(board, row["path"])
        if owner:
            tracked.unlink(board.ws, owner[0].id, owner[1], row["digest"])
        tracked.remove(board.ws, "stored_files", [{"path": row["path"]}])
    return {}


def keep_model(board: Board, model: LoggedModel) -> str:
    """The files of a model as a tree, linked to its run; "" where they are not kept here."""
    if not model.location.startswith(ROOT):
        return ""
    root = below(model.location)
    rows = tracked.files(board.ws, root)
    if not rows:
        return ""
    found = {row["path"].removeprefix(f"{root}/"): str(row["digest"]) for row in rows}
    try:
        digest = trees.put_files(board.ws.blobs, found)
    except NotFoundError as error:
        raise Fault(f"A file of the model is gone: {error}") from error
    size = sum(int(row["size"]) for row in rows)
    meta = {"model_id": model.id, "name": model.name}
    made = Artifact(
        digest=digest,
        kind="mlflow-model",
        size=size,
        meta=meta,
        run=model.run,
        created_at=ids.now(),
    )
    artifacts.record(board.ws, made)
    if model.run in board.runs:
        ordinary.link(board.ws, model.run, "out", model.name, digest)
    return digest


def _is_file(board: Board, path: str) -> bool:
    return tracked.is_file(board.ws, path)


def _kept(board: Board, path: str) -> made.Found:
    """The files at a path and below it: digest and size, by whole paths in their order."""
    owner = _owner(board, path)
    if owner is None or not owner[0].is_followed:
        rows = tracked.files(board.ws, path)
        return {row["path"]: (str(row["digest"]), int(row["size"])) for row in rows}
    root = below(owner[0].location)
    every = {f"{root}/{inner}": one for inner, one in made.files(board.ws, owner[0].id)[0].items()}
    inside = (one for one in sorted(every) if one == path or one.startswith(f"{path}/"))
    return {one: every[one] for one in inside if _is_path(one)}


def _is_path(path: str) -> bool:
    try:
        return bool(checked(path))
    except Fault:
        return False


def _owner(board: Board, path: str) -> tuple[TrackedRun, str] | None:
    """The run whose files a path is of, and the path among them."""
    for part in path.split("/"):
        run = board.runs.get(part)
        if run is not None and run.location.startswith(PROXIED):
            root = below(run.location)
            if path == root or path.startswith(f"{root}/"):
                return run, path.removeprefix(root).removeprefix("/")
    return None
