"""Folders as artifacts: a Merkle node per directory, without times or owners.

A node is canonical JSON `[[name, kind, exec, digest, size], …]` sorted by the UTF-8 bytes of the
names; it is stored as a blob, and its tree digest is over the same bytes in the tree context.
docs/formats/tree.md is the specification.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from trimtab import hashing
from trimtab.errors import ConflictError, DataError, IntegrityError, NotFoundError
from trimtab.store.blobs import Blobs


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One name in a tree. `digest` is a blob's, or for a directory its node's blob digest."""

    name: str
    kind: str
    exec: bool
    digest: str
    size: int


def put_folder(blobs: Blobs, folder: Path) -> str:
    """Store a folder's regular files and return the tree's digest; links are refused."""
    entries = []
    for item in sorted(folder.iterdir(), key=lambda path: path.name.encode()):
        if item.is_symlink():
            raise DataError(f"{item} is a link: a tree holds only files and folders")
        if item.is_dir():
            node = put_folder(blobs, item)
            entries.append(Entry(item.name, "tree", False, node, _size(blobs, node)))
        else:
            entries.append(_file(item.name, blobs.put_file(item), item.stat().st_size, item))
    return _put_node(blobs, entries)


def put_files(blobs: Blobs, files: Mapping[str, str]) -> str:
    """Store a tree of blobs that are in the store already: relative path -> blob digest."""
    here: list[Entry] = []
    below: dict[str, dict[str, str]] = {}
    for path, digest in files.items():
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise DataError(f"{path!r} is not a path inside the tree")
        if len(parts) == 1:
            here.append(Entry(path, "blob", False, digest, blobs.size(digest)))
        else:
            below.setdefault(parts[0], {})["/".join(parts[1:])] = digest
    for name, inner in below.items():
        node = put_files(blobs, inner)
        here.append(Entry(name, "tree", False, node, _size(blobs, node)))
    return _put_node(blobs, here)


def entries(blobs: Blobs, digest: str) -> list[Entry]:
    """The names directly in a tree."""
    data = blobs.read(digest)
    try:
        return msgspec.json.decode(data, type=list[Entry])
    except msgspec.DecodeError as error:
        raise IntegrityError(f"{digest} is not a tree: {error}") from error


def walk(blobs: Blobs, digest: str) -> dict[str, Entry]:
    """Every file of a tree by its relative path."""
    found: dict[str, Entry] = {}
    for entry in entries(blobs, digest):
        if entry.kind == "tree":
            for name, inner in walk(blobs, entry.digest).items():
                found[f"{entry.name}/{name}"] = inner
        else:
            found[entry.name] = entry
    return found


def nodes(blobs: Blobs, digest: str) -> list[str]:
    """Every blob digest a tree is made of, its nodes included."""
    found = [digest]
    for entry in entries(blobs, digest):
        found += nodes(blobs, entry.digest) if entry.kind == "tree" else [entry.digest]
    return found


def checkout(blobs: Blobs, digest: str, into: Path) -> None:
    """Write a tree's files into a folder that does not exist yet, whole or not at all."""
    if into.exists():
        raise ConflictError(f"{into} exists already")
    staged = into.with_name(f".{into.name}.{os.getpid()}")
    for name, entry in walk(blobs, digest).items():
        target = staged / name
        if not target.resolve().is_relative_to(staged.resolve()):
            raise IntegrityError(f"tree {digest} names {name!r}, which is outside of it")
        target.parent.mkdir(parents=True, exist_ok=True)
        data = blobs.read(entry.digest)
        if len(data) != entry.size:
            raise IntegrityError(f"{name} of tree {digest} has {len(data)} bytes, not {entry.size}")
        target.write_bytes(data)
        target.chmod(0o755 if entry.exec else 0o644)
    staged.mkdir(parents=True, exist_ok=True)
    try:
        staged.rename(into)
    except OSError as error:
        raise ConflictError(f"{into} was made meanwhile") from error


def file(blobs: Blobs, digest: str, name: str) -> Path:
    """The local read-only file of one name in a tree."""
    entry = walk(blobs, digest).get(name)
    if entry is None:
        raise NotFoundError(f"artifact {digest} has no file {name!r}")
    return blobs.path(entry.digest)


def _file(name: str, digest: str, size: int, path: Path) -> Entry:
    return Entry(name, "blob", os.access(path, os.X_OK), digest, size)


def _size(blobs: Blobs, digest: str) -> int:
    return sum(entry.size for entry in entries(blobs, digest))


def _put_node(blobs: Blobs, listed: list[Entry]) -> str:
    ordered: list[Any] = sorted(listed, key=lambda entry: entry.name.encode())
    return blobs.put(hashing.canonical(ordered))
