"""Spools into the store: each frame exactly once, whoever does it and whenever it is cut short.

What is taken in and how far that is stand in one transaction (state `spool:ID`); a spool is removed
when all of it is in. A run whose process died without ending it is marked as failed, as
`process.reap` does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError, IntegrityError, NotFoundError
from trimtab.store import artifacts, database, metrics, outside, runs, states, tables, trees
from trimtab.store.blobs import Blobs, LocalBlobs
from trimtab.store.records import Artifact, Run
from trimtab.store.series import compaction
from trimtab.store.workspace import Workspace
from trimtab.track import spool
from trimtab.track.frames import Batch, Reader
from trimtab.track.spool import Begin

FOLDER: Final = spool.FOLDER
"""Where a workspace keeps the spools of its own runs."""
DAMAGED: Final = ".damaged"
DIED: Final = "Died"
DAY: Final = 86_400_000_000
Alive = Callable[[Run], bool]


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken in: points, the runs they are of, files that are all in and gone, files of runs
    that go on, and what could not be read.
    """

    points: int
    runs: list[str]
    whole: int
    open: int
    damaged: list[str]


def sync(ws: Workspace, folder: Path, alive: Alive) -> Synced:
    """Take in every spool of a folder; those of live processes as far as they are."""
    points, seen, whole, unfinished, damaged = 0, [], 0, 0, []
    for path in spool.found(folder):
        try:
            reader = Reader(path)
            goes_on = alive(row(reader.begin, seen_at=_changed(path)))
            taken, is_whole = take_in(ws, reader, LocalBlobs(folder), goes_on=goes_on)
        except FileNotFoundError:  # another process was quicker
            continue
        except IntegrityError as error:
            damaged.append(f"{path}: {error}")
            continue
        points += taken
        seen.append(reader.begin.run["id"])
        whole, unfinished = whole + is_whole, unfinished + (not is_whole)
    _sweep(folder)
    for run in sorted(set(seen)):
        compaction.tidy(ws, run=run)
    return Synced(
        points=points, runs=sorted(set(seen)), whole=whole, open=unfinished, damaged=damaged
    )


def leftovers(ws: Workspace, alive: Alive) -> None:
    """Take in what processes that died have left in the workspace."""
    for path in spool.found(ws.root / FOLDER):
        try:
            reader = Reader(path)
            if not alive(row(reader.begin, seen_at=_changed(path))):
                take_in(ws, reader, ws.blobs, goes_on=False)
        except FileNotFoundError:
            continue
        except IntegrityError as error:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(path.name + DAMAGED))
            print(f"trimtab: {error}", file=sys.stderr)  # noqa: T201 - said once, the file is kept


def take_in(ws: Workspace, reader: Reader, blobs: Blobs, *, goes_on: bool) -> tuple[int, bool]:
    """Take in the rest of a spool; how many points that were, and whether it is all in and removed.

    Raises IntegrityError where it cannot be read to its end, with all before that taken in.
    """
    points, over = 0, False
    try:
        while not over:
            known, over = _mark(ws, reader.begin)
            if over:
                break
            if known != reader.at:  # also where nothing is in: what was read may not have arrived
                reader.seek(known)
            batch = reader.read()
            if batch.until == batch.since and known:
                break
            if not _apply(ws, reader, batch, blobs, known):
                continue  # somebody else was quicker
            points += len(batch.columns)
            over = batch.over
        return points, _settled(ws, reader, over=over, goes_on=goes_on)
    except FileNotFoundError:  # somebody else has taken in the rest
        return points, True


def _settled(ws: Workspace, reader: Reader, *, over: bool, goes_on: bool) -> bool:
    """Whether no more will come of a spool that is read to its end; it is removed then."""
    if not over:
        ending = reader.ending()
        if goes_on and not ending:
            return False
        if ending:
            with ws.transaction():
                _end(ws, reader.begin.run["id"], ending)
        else:
            _died(ws, reader.begin)
        _check_tail(reader)
    remove(ws, reader)
    return True


def remove(ws: Workspace, reader: Reader) -> None:
    """Remove a spool that is all in. Its mark stays where a copy of it could come again.

    Inside a transaction it stays: what was taken in may be undone, and a later pass removes it.
    """
    if database.in_transaction(ws.engine):
        return
    reader.path.unlink(missing_ok=True)
    if reader.path.parent == ws.root / FOLDER:
        with ws.transaction() as tx:
            table = tables.states
            name = _state(reader.begin)
            tx.execute(table.delete().where(table.c.project == ws.project, table.c.name == name))


def row(begin: Begin, *, seen_at: int = 0) -> Run:
    """The run of a spool as it began, under the process that wrote the spool."""
    run = msgspec.convert(begin.run, Run)
    tags = {**run.tags, "process": begin.process}
    seen_at = max(seen_at, run.heartbeat_at)
    return msgspec.structs.replace(run, pid=begin.pid, tags=tags, heartbeat_at=seen_at)


def _apply(ws: Workspace, reader: Reader, batch: Batch, blobs: Blobs, known: int) -> bool:
    begin = reader.begin
    run = begin.run["id"]
    for document in batch.documents:  # bytes before what names them
        for digest in document.get("blobs", ()):
            copy(blobs, ws.blobs, digest)
    with ws.transaction():
        if _mark(ws, begin)[0] != known or not reader.path.exists():
            return False
        if not known and not _begin(ws, begin):
            return False
        metrics.append_columns(ws, run, batch.columns)
        for document in batch.documents:
            _document(ws, run, document)
        if batch.end is not None:
            _end(ws, run, batch.end)
        states.put(ws, _state(begin), {"until": batch.until, "over": batch.over})
    return True


def _begin(ws: Workspace, begin: Begin) -> bool:
    """Have the run's row; False where somebody else put it there just now."""
    run = begin.run["id"]
    if not _is_known(ws, run):
        try:
            runs.record(ws, row(begin))
        except ConflictError:
            if _is_known(ws, run):
                return False
            raise
    elif begin.resumes:
        runs.update(ws, run, status="running", ended_at=0, error=None, pid=begin.pid)
        given = row(begin)
        _add(ws, run, given.params, given.tags)
    return True


def _is_known(ws: Workspace, run: str) -> bool:
    query = sa.select(tables.runs.c.id).where(tables.runs.c.id == run)
    with ws.reading() as db:
        return db.execute(query).first() is not None


def _add(ws: Workspace, run: str, params: dict[str, Any], tags: dict[str, Any]) -> None:
    """Add what is new; a param stays as it was first set."""
    if not params and not tags:
        return
    with ws.transaction() as tx:
        known = runs.held(tx, ws, run)
        if known is not None:
            both = {"params": {**params, **known.params}, "tags": {**known.tags, **tags}}
            runs.update(ws, run, **both)


def _document(ws: Workspace, run: str, document: dict[str, Any]) -> None:
    _add(ws, run, document.get("params", {}), document.get("tags", {}))
    if "artifact" in document:
        artifacts.record(ws, msgspec.convert(document["artifact"], Artifact))
    if "link" in document:
        link = document["link"]
        runs.link(ws, run, link["direction"], link["name"], link["digest"])


def _end(ws: Workspace, run: str, end: dict[str, Any]) -> None:
    found = runs.get(ws, run)
    thought_dead = found.status == "failed" and (found.error or {}).get("type") == DIED
    lost = {"lost_points": end["lost"]} if end.get("lost") else {}
    if found.status == "running" or thought_dead:
        runs.update(
            ws,
            run,
            status=end["status"],
            ended_at=end["ended_at"],
            peak_bytes=end.get("peak_bytes", 0),
            error=end.get("error"),
            tags={**found.tags, **lost},
        )


def _died(ws: Workspace, begin: Begin) -> None:
    """Mark the run as failed where the process of the spool is still the one that it is of."""
    if not begin.main:
        return
    found = runs.get(ws, begin.run["id"])
    if found.status == "running" and found.pid == begin.pid:
        with ws.transaction():
            runs.finish(ws, found.id, "failed", error=died(begin.pid))
            outside.note_run(ws, found.id)


def died(pid: int) -> dict[str, Any]:
    """The error of a run whose process is gone."""
    return {
        "type": DIED,
        "message": f"process {pid} ended without finishing the run",
        "hint": "run it again: what was finished is kept",
    }


def copy(source: Blobs, target: Blobs, digest: str) -> None:
    """Bring a blob, or a tree with all that is in it, from one place to another."""
    if source is target:
        return
    try:
        if not trees.is_tree(source, digest):
            made = digest if target.again(digest) else target.put_file(source.path(digest))
        else:
            for entry in trees.entries(source, digest):
                copy(source, target, entry.digest)
            made = target.put(source.read(digest), kind="tree")
    except NotFoundError:
        raise IntegrityError(f"{digest}, which a run has made, is not beside its spool") from None
    if made != digest:
        raise IntegrityError(f"{digest} was changed: its bytes are those of {made}")


def _check_tail(reader: Reader) -> None:
    """A last frame that is torn was never acknowledged; what lies behind a bad one was."""
    rest = reader.rest
    if rest <= spool.HEAD.size:
        return
    with reader.path.open("rb") as stream:
        stream.seek(reader.at)
        (length, _) = spool.HEAD.unpack(stream.read(spool.HEAD.size))
    if length + spool.HEAD.size < rest:
        raise IntegrityError(f"{reader.path} is damaged at byte {reader.at}: {rest} bytes are lost")


def _mark(ws: Workspace, begin: Begin) -> tuple[int, bool]:
    """Up to which byte a spool is in, and whether that is its end."""
    found = states.get(ws, _state(begin)) or {"until": 0, "over": False}
    return int(found["until"]), bool(found["over"])


def _state(begin: Begin) -> str:
    return f"spool:{begin.spool}"


def _sweep(folder: Path) -> None:
    """Remove files of processes that were killed before their spool was one: nothing is in them."""
    for path in folder.glob(f"*{spool.UNBORN}"):
        if ids.now() - _changed(path) > DAY:
            path.unlink(missing_ok=True)


def _changed(path: Path) -> int:
    return os.stat(path).st_mtime_ns // 1_000
