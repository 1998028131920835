"""Bytes of files on their way in: fetched one at a time through the disk, checked, named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trimtab import ids
from trimtab.errors import DataError, IntegrityError, NotFoundError, StorageError
from trimtab.interop.mlflow import files
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import TrackedRun
from trimtab.interop.transfer.intake import Taking
from trimtab.interop.transfer.source import Owner
from trimtab.store import artifacts, runs, tracked
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace


class File(NamedTuple):
    """A file that is stored: its path below its owner, digest and size."""

    path: str
    digest: str
    size: int


def kept(ws: Workspace, location: str) -> dict[str, File]:
    """The files that are stored below a location, by their paths there."""
    root = files.below(location)
    return {
        row["path"].removeprefix(f"{root}/"): File(row["path"], row["digest"], row["size"])
        for row in tracked.files(ws, root)
    }


def take(taking: Taking, owner: Owner, has: dict[str, File], *, trust: bool = True) -> list[File]:
    """Fetch the files of a run or a model that are not among those; a dry run only counts them.

    `trust` takes a file of the same path and size for the same.
    """
    made = []
    for path, size in taking.source.files(owner):
        if not _is_wanted(taking, owner, path, size):
            continue
        known = has.get(path)
        if trust and known is not None and known.size == size and not taking.again:
            continue
        if not taking.tally.dry_run:
            one = _fetch(taking, owner, path, size)
            if one is None or (known is not None and known.digest == one.digest):
                continue
            made.append(one)
        taking.tally.files += 1
        taking.tally.bytes += size
    return made


def name(taking: Taking, run: TrackedRun, made: list[File]) -> None:
    """Give the files of a run their paths, and make them its outputs."""
    ws, before = taking.ws, kept(taking.ws, run.location)
    for one in made:
        old = before.get(one.path)
        if old is not None and old.digest != one.digest:
            tracked.unlink(ws, run.id, one.path, old.digest)
        note(ws, files.below(run.location, one.path), one, run.id)
        runs.link(ws, run.id, "out", one.path, one.digest)


def note(ws: Workspace, path: str, one: File, run: str) -> None:
    """Give a file its path."""
    now = ids.now()
    row = {"path": path, "digest": one.digest, "size": one.size, "updated_at": now}
    tracked.save(ws, "stored_files", [row])
    artifacts.record(
        ws, Artifact(digest=one.digest, kind="file", size=one.size, run=run, created_at=now)
    )


def _is_wanted(taking: Taking, owner: Owner, path: str, size: int) -> bool:
    shown = f"{owner.id}/{path[:200]}"
    try:
        files.checked(path)
    except Fault:
        taking.tally.skip("file", shown, "its path is none that is stored here")
        return False
    if size > taking.largest:
        taking.tally.skip("file", shown, f"it has {size:,} bytes, more than {taking.largest:,}")
        return False
    return True


def _fetch(taking: Taking, owner: Owner, path: str, size: int) -> File | None:
    """Fetch one file; None where the source cannot give it, which is listed."""
    with staged(taking.ws, size) as into:
        try:
            taking.source.fetch(owner, path, into)
            got = into.stat().st_size
            if got != size:
                raise IntegrityError(f"it came with {got:,} bytes instead of {size:,}")
        except (DataError, NotFoundError, IntegrityError) as error:
            taking.tally.skip("file", f"{owner.id}/{path}", error.message)
            return None
        return File(path, taking.ws.blobs.put_file(into), size)


@contextlib.contextmanager
def staged(ws: Workspace, size: int) -> Iterator[Path]:
    """A path to write a file of that size to, gone afterwards; raises StorageError without space."""
    place = os.statvfs(ws.root)
    if 2 * size > place.f_bavail * place.f_frsize:
        raise StorageError(
            f"a file of {size:,} bytes does not fit on the disk that holds {ws.root}",
            hint="free some space and run it again: what is in stays",
        )
    path = ws.root / "tmp" / ids.new_id()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
