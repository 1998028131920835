"""Folders as artifacts: a Merkle node per directory, without times or owners.

A node is canonical JSON `[[name, kind, exec, digest, size], …]` sorted by the UTF-8 bytes of the
names; it is stored under its digest in the tree context, so no file's bytes can pass for a node.
Nodes are checked whenever they are read. docs/formats/tree.md is the specification.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.errors import ConflictError, DataError, IntegrityError, NotFoundError, StorageError
from trimtab.store.blobs import Blobs

MAX_DEPTH: Final = 100
_MAX_NAME: Final = 255


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One name in a tree: `kind` "blob" is a file, "tree" a directory, `digest` that of its node.

    `size` is in bytes, for a directory the sum of what is in it.
    """

    name: str
    kind: str
    exec: bool
    digest: str
    size: int


def put_folder(blobs: Blobs, folder: Path) -> str:
    """Store a folder's regular files and return the tree's digest.

    Raises DataError for links and other things that are no files, ConflictError for a file that
    changes meanwhile.
    """
    return _put_folder(blobs, folder, 1)


def _put_folder(blobs: Blobs, folder: Path, depth: int) -> str:
    _check_depth(depth, str(folder))
    listed = []
    for item in _items(folder):
        _check_name(item.name, str(item))
        if item.is_symlink():
            raise DataError(f"{item} is a link: a tree holds only files and folders")
        if item.is_dir():
            node = _put_folder(blobs, item, depth + 1)
            listed.append(Entry(item.name, "tree", False, node, _size(blobs, node)))
        else:
            listed.append(_put_file(blobs, item))
    return _put_node(blobs, listed)


def put_files(blobs: Blobs, files: Mapping[str, str]) -> str:
    """Store a tree of blobs that are in the store already: relative path -> blob digest.

    Raises DataError for a path that is empty, absolute, leads out or is a folder of another path.
    """
    return _put_files(blobs, {tuple(path.split("/")): (path, files[path]) for path in files}, 0)


def _put_files(blobs: Blobs, files: Mapping[tuple[str, ...], tuple[str, str]], above: int) -> str:
    here: dict[str, Entry] = {}
    below: dict[str, dict[tuple[str, ...], tuple[str, str]]] = {}
    for parts, (path, digest) in files.items():
        name = parts[above]
        _check_name(name, path)
        if len(parts) == above + 1:
            here[name] = Entry(name, "blob", False, digest, blobs.size(digest))
        else:
            _check_depth(above + 2, path)
            below.setdefault(name, {})[parts] = (path, digest)
    for name, inner in below.items():
        if name in here:
            path = next(iter(inner.values()))[0]
            raise DataError(f"{path!r} needs a folder where another path has a file")
        node = _put_files(blobs, inner, above + 1)
        here[name] = Entry(name, "tree", False, node, _size(blobs, node))
    return _put_node(blobs, list(here.values()))


def entries(blobs: Blobs, digest: str) -> list[Entry]:
    """The names directly in a tree; raises IntegrityError where its bytes are not a node."""
    data = blobs.read(digest)
    if hashing.digest("tree", data) != digest:
        raise IntegrityError(f"{digest} is not a tree, or its bytes were changed")
    try:
        found = msgspec.json.decode(data, type=list[Entry])
        names = [entry.name.encode() for entry in found]
        if names != sorted(set(names)):
            raise DataError("its names are not in order")
        for entry in found:
            _check_name(entry.name, entry.name)
            if entry.kind not in ("blob", "tree") or not hashing.is_digest(entry.digest):
                raise DataError(f"the entry {entry.name!r} is none")
    except (msgspec.DecodeError, DataError, UnicodeError) as error:
        raise IntegrityError(f"{digest} is not a tree: {error}") from error
    return found


def is_tree(blobs: Blobs, digest: str) -> bool:
    """Whether a digest is that of a tree, by its bytes; False where they are not here."""
    if not blobs.has(digest):
        return False
    with blobs.path(digest).open("rb") as stream:
        if stream.read(1) != b"[":
            return False
        stream.seek(0)
        state = hashing.hasher("tree")
        while chunk := stream.read(1 << 20):
            state.update(chunk)
    return hashing.text(state) == digest


def walk(blobs: Blobs, digest: str) -> dict[str, Entry]:
    """Every file of a tree by its relative path."""
    return _walk(blobs, digest, 1)


def _walk(blobs: Blobs, digest: str, depth: int) -> dict[str, Entry]:
    _check_read_depth(depth, digest)
    found: dict[str, Entry] = {}
    for entry in entries(blobs, digest):
        if entry.kind == "tree":
            for name, inner in _walk(blobs, entry.digest, depth + 1).items():
                found[f"{entry.name}/{name}"] = inner
        else:
            found[entry.name] = entry
    return found


def nodes(blobs: Blobs, digest: str) -> list[str]:
    """Every digest that a tree is made of, its nodes included."""
    found, ahead = [digest], [digest]
    while ahead:
        for entry in entries(blobs, ahead.pop()):
            found.append(entry.digest)
            if entry.kind == "tree":
                ahead.append(entry.digest)
    return found


def checkout(blobs: Blobs, digest: str, into: Path) -> None:
    """Write a tree's files into a folder that does not exist yet, whole or not at all.

    Raises ConflictError where the folder exists, IntegrityError where a file's size is not that of
    the tree, StorageError where the disk refuses.
    """
    if into.exists():
        raise ConflictError(f"{into} exists already")
    staged = into.with_name(f".{into.name[:100]}.{ids.new_id()}")
    try:
        staged.mkdir(parents=True)
        _write(blobs, digest, staged, 1)
        _move(staged, into)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write {into}: {error.strerror}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write(blobs: Blobs, digest: str, folder: Path, depth: int) -> None:
    _check_read_depth(depth, digest)
    for entry in entries(blobs, digest):
        target = folder / entry.name
        if entry.kind == "tree":
            target.mkdir()
            _write(blobs, entry.digest, target, depth + 1)
            continue
        shutil.copyfile(blobs.path(entry.digest), target)
        size = target.stat().st_size
        if size != entry.size:
            raise IntegrityError(
                f"{entry.name} of tree {digest} has {size} bytes, not {entry.size}",
                hint="`trimtab doctor` says which blobs were changed",
            )
        target.chmod(0o755 if entry.exec else 0o644)


def _move(staged: Path, into: Path) -> None:
    try:
        staged.rename(into)
    except OSError as error:
        if into.exists():
            raise ConflictError(f"{into} was made meanwhile") from error
        raise


def file(blobs: Blobs, digest: str, name: str) -> Path:
    """The local read-only file of one name in a tree."""
    entry = walk(blobs, digest).get(name)
    if entry is None:
        raise NotFoundError(f"artifact {digest} has no file {name!r}")
    return blobs.path(entry.digest)


def _items(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no folder {folder}") from error
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error


def _put_file(blobs: Blobs, path: Path) -> Entry:
    before = path.stat()
    if not stat.S_ISREG(before.st_mode):
        raise DataError(f"{path} is neither a file nor a folder: a tree holds nothing else")
    digest = blobs.put_file(path)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ConflictError(
            f"{path} changed while it was stored", hint="try again when nothing writes to it"
        )
    return Entry(path.name, "blob", bool(before.st_mode & stat.S_IXUSR), digest, before.st_size)


def _check_name(name: str, path: str) -> None:
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise DataError(f"the name of {path!r} is not UTF-8") from error
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise DataError(f"{path!r} is not a path inside the tree")
    if length > _MAX_NAME:
        raise DataError(f"{path!r} has a name of {length} bytes: a tree takes at most {_MAX_NAME}")


def _check_depth(depth: int, path: str) -> None:
    if depth > MAX_DEPTH:
        raise DataError(f"{path!r} is more than {MAX_DEPTH} folders deep")


def _check_read_depth(depth: int, digest: str) -> None:
    if depth > MAX_DEPTH:
        raise IntegrityError(f"tree {digest} is more than {MAX_DEPTH} folders deep")


def _size(blobs: Blobs, digest: str) -> int:
    return sum(entry.size for entry in entries(blobs, digest))


def _put_node(blobs: Blobs, listed: list[Entry]) -> str:
    ordered: list[Any] = sorted(listed, key=lambda entry: entry.name.encode())
    return blobs.put(hashing.canonical(ordered), kind="tree")
