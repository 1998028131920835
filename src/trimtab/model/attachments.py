"""What is linked to a model and not part of it: calibration, environment, bill of materials, signature.

Each attachment is an artifact of its own, named by a ref of the model's digest, so it can come
later or be replaced, and the change is in the ledger; the model's digest stays.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.model.calibration import beside
from trimtab.model.digest import folder_digest
from trimtab.store import artifacts, refs, trees
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace

KIND: Final = "attachment"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


def attach(ws: Workspace, model: str, name: str, data: bytes | Path) -> str:
    """Link bytes, a file or a folder to a model under a name; returns the attachment's digest.

    One of that name is replaced. Raises NotFoundError for a model that is not in the store.
    """
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} cannot name an attachment", hint="letters, digits, '.', '_' and '-'"
        )
    artifacts.get(ws, model)
    if isinstance(data, bytes):
        digest = ws.blobs.put(data)
        size = len(data)
    elif data.is_dir():
        digest = trees.put_folder(ws.blobs, data)
        size = sum(entry.size for entry in trees.entries(ws.blobs, digest))
    else:
        digest = ws.blobs.put_file(data)
        size = ws.blobs.size(digest)
    made = Artifact(digest=digest, kind=KIND, size=size, meta={"name": name}, created_at=ids.now())
    with ws.transaction():
        artifacts.record(ws, made)
        refs.move(ws, KIND, f"{model}/{name}", digest)
    return digest


def find(ws: Workspace, model: str) -> dict[str, str]:
    """The attachments of a model: name -> digest, by name."""
    prefix = f"{model}/"
    found = refs.find(ws, KIND, prefix=prefix)
    return {name.removeprefix(prefix): digest for name, digest in found.items()}


def lay(ws: Workspace, model: str, folder: Path) -> Path:
    """Write a model's attachments beside its package in `folder`; returns their folder.

    Files that are there already and the same are left alone; others are replaced whole.
    """
    place = beside(folder)
    for name, digest in find(ws, model).items():
        target = place / name
        if trees.is_tree(ws.blobs, digest):
            _lay_folder(ws, digest, target)
            continue
        data = ws.blobs.read(digest)
        if target.is_file() and target.read_bytes() == data:
            continue
        place.mkdir(parents=True, exist_ok=True)
        staged = place / f".{name}.{ids.new_id()}"
        staged.write_bytes(data)
        staged.replace(target)
    return place


def _lay_folder(ws: Workspace, digest: str, target: Path) -> None:
    if target.is_dir():
        if folder_digest(target) == digest:
            return
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    trees.checkout(ws.blobs, digest, target)
