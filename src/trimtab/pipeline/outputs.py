"""Values into the store and out of it again, by their codecs.

What is loaded is verified against its digest, so a damaged blob is never mistaken for a result.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from trimtab import hashing, ids
from trimtab.data import tables
from trimtab.errors import IntegrityError, PipelineError, TrimtabError
from trimtab.pipeline import codecs
from trimtab.store import trees
from trimtab.store.records import CachedStep
from trimtab.store.workspace import Workspace

DATASET: Final = "dataset"
TUPLE: Final = "tuple"


@dataclass(frozen=True)
class Outputs:
    """What a node gave: one digest, or one per item where it returned a tuple."""

    digests: tuple[str, ...]
    codecs: tuple[str, ...]
    is_tuple: bool = False

    def digest(self, item: int | None = None) -> str:
        """The digest of an item, or of the whole."""
        if item is not None:
            return self.digests[item]
        return hashing.object_digest("key", self.digests) if self.is_tuple else self.digests[0]


@dataclass(frozen=True)
class Stored:
    """A value that was stored: its digest (a blob's of a small one, else a tree's), codec, and size
    in bytes.
    """

    digest: str
    codec: str
    size: int


def of_cached(step: CachedStep) -> Outputs:
    """The outputs of a remembered step."""
    is_tuple = step.codecs[:1] == [TUPLE]
    names = step.codecs[1:] if is_tuple else step.codecs
    return Outputs(tuple(step.outputs), tuple(names), is_tuple)


def of_dataset(digest: str) -> Outputs:
    """The outputs of a dataset node."""
    return Outputs((digest,), (DATASET,))


def are_here(ws: Workspace, step: CachedStep) -> bool:
    """Whether the store still has what a remembered step made."""
    return all(ws.blobs.again(digest) for digest in step.outputs)


def split(value: Any) -> tuple[list[Any], bool]:
    """The parts of a step's return value that are stored apart, and whether it was a tuple."""
    return (list(value), True) if type(value) is tuple else ([value], False)


def store(ws: Workspace, value: Any) -> Stored:
    """Store one value, a small one as one blob, else as a tree.

    Raises PipelineError for a kind that no codec knows.
    """
    codec = codecs.find(value)
    if codecs.is_small(codec):
        data = codec.encode(value)
        return Stored(ws.blobs.put(_mark(codec.name) + data), codec.name, len(data))
    folder = ws.root / "tmp" / ids.new_id()
    folder.mkdir(parents=True)
    try:
        _write(codec, value, folder)
        digest = trees.put_folder(ws.blobs, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Stored(digest, codec.name, sum(entry.size for entry in trees.entries(ws.blobs, digest)))


def load(ws: Workspace, outputs: Outputs, item: int | None = None) -> Any:
    """The value of an item, or of the whole; raises IntegrityError where stored bytes changed."""
    if item is not None:
        return _load(ws, outputs.digests[item], outputs.codecs[item])
    pairs = zip(outputs.digests, outputs.codecs, strict=True)
    parts = [_load(ws, digest, codec) for digest, codec in pairs]
    return tuple(parts) if outputs.is_tuple else parts[0]


def in_memory(name: str, value: Any) -> Callable[[], Any] | None:
    """How to get the value again without the store, None where it must be loaded.

    Nobody gets the object itself unless it cannot be changed: a step that writes into its input
    must change it for no other.
    """
    if name == DATASET:
        return lambda: value
    codec = codecs.get(name)
    if getattr(codec, "shares", False):
        return lambda: value
    if codecs.is_small(codec):
        small, data = codec, codec.encode(value)
        return lambda: small.decode(data)
    return None


def _write(codec: codecs.Codec, value: Any, folder: Path) -> None:
    try:
        codec.write(value, folder)
    except (TrimtabError, OSError):
        raise
    except Exception as error:
        kind = type(value)
        raise PipelineError(
            f"the {kind.__qualname__} cannot be stored by codec {codec.name!r}: {error}",
            hint="return a value of a simpler type",
        ) from error


def _load(ws: Workspace, digest: str, name: str) -> Any:
    if name == DATASET:
        return _dataset(ws, digest)
    codec = codecs.get(name)
    if codecs.is_small(codec):
        return codec.decode(_small(ws, digest, name))
    if getattr(codec, "keeps_folder", False):
        return codec.read(_kept(ws, digest))
    folder = ws.root / "tmp" / ids.new_id()
    try:
        _lay_out(ws, digest, folder)
        return codec.read(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _dataset(ws: Workspace, digest: str) -> pl.DataFrame:
    return tables.read(ws, digest)


def _mark(name: str) -> bytes:
    """What a small value's bytes begin with, so that the number 1 and the text "1" are two things."""
    return name.encode() + b"\n"


def _small(ws: Workspace, digest: str, name: str) -> bytes:
    """A small value's bytes: a blob, or the one file of a tree as stores of before had it."""
    data, mark = ws.blobs.read(digest), _mark(name)
    if hashing.digest("blob", data) == digest:
        if not data.startswith(mark):
            raise IntegrityError(f"blob {digest} holds no value of codec {name!r}")
        return data.removeprefix(mark)
    if hashing.digest("tree", data) == digest:
        return _verified(ws, trees.entries(ws.blobs, digest)[0].digest)
    raise _changed(ws, digest)


def _verified(ws: Workspace, digest: str) -> bytes:
    data = ws.blobs.read(digest)
    if hashing.digest("blob", data) != digest:
        raise _changed(ws, digest)
    return data


def _changed(ws: Workspace, digest: str) -> IntegrityError:
    ws.blobs.verify(digest)
    return IntegrityError(f"blob {digest} changed while it was read")


def _kept(ws: Workspace, digest: str) -> Path:
    """A folder of the tree's files that stays; the files are the store's own, read-only."""
    folder = ws.root / "work" / "files" / digest.removeprefix(hashing.PREFIX)
    if not folder.is_dir():
        staged = ws.root / "tmp" / ids.new_id()
        _lay_out(ws, digest, staged)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(folder)
        except OSError:  # another process made it meanwhile
            shutil.rmtree(staged)
    return folder


def _lay_out(ws: Workspace, digest: str, folder: Path) -> None:
    """The tree's files under their names in a new folder, without copying where links work."""
    folder.mkdir(parents=True)
    for name, entry in trees.walk(ws.blobs, digest).items():
        ws.blobs.verify(entry.digest)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(ws.blobs.path(entry.digest), target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
