"""The datasets of a flow: which version a run reads, and whether the source has changed since."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from trimtab import hashing
from trimtab.config import Config
from trimtab.data import snapshot, sources
from trimtab.data.record import SourceRecord
from trimtab.data.sources import SourceFile
from trimtab.store import versions
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace


def read(ws: Workspace, config: Config, name: str, *, run: str, pinned: str = "") -> Version:
    """The version that a run reads: the pinned one, else the source as it is now, ingested."""
    if pinned:
        return versions.get(ws, "data", pinned)
    return snapshot.add(ws, config, name, run=run).version


def peek(ws: Workspace, config: Config, name: str, *, pinned: str = "") -> Version | None:
    """The version that a run would read, None where the run would make a new one. Stores nothing.

    Raises NotFoundError where the source has nothing.
    """
    if pinned:
        return versions.get(ws, "data", pinned)
    known = versions.find(ws, "data", name)
    if not known:
        return None
    with tempfile.TemporaryDirectory(prefix="trimtab-") as scratch:
        fetched = sources.fetch(config.data[name].source, ws.project_dir, Path(scratch))
        return next((one for one in known if _holds(one, fetched.files)), None)


def _holds(version: Version, files: tuple[SourceFile, ...]) -> bool:
    """Whether a version is of exactly these files; unmoved ones are told by size and time."""
    record = msgspec.convert(version.meta["source"], SourceRecord)
    if [one.name for one in record.files] != [one.name for one in files]:
        return False
    for old, new in zip(record.files, files, strict=True):
        same_size = old.size == new.path.stat().st_size
        if not same_size:
            return False
        if old.mtime != new.mtime and hashing.file_digest(new.path) != old.digest:
            return False
    return True
