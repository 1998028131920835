"""Collecting deleted runs for good: first what would go, in rows and bytes, then taking it away.

A run goes in one transaction, which also notes what it named (state `collecting`); blobs go after
that, and only those that nothing names any more. A process that dies in between leaves a store that
is whole, and the next collection goes on where it stopped. The ledger and evidence stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError
from trimtab.store import deleted, ledger, outside, states, tables, tracked
from trimtab.store.collected import Collection, Doomed
from trimtab.store.named import Marks
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace
from trimtab.track import doomed
from trimtab.track.doomed import NOTES

LOCK: Final = "collect.lock"
GRACE: Final = 86_400_000_000
"""How long a blob that no row names is left alone: whoever stored it may be about to name it."""
_AT_ONCE: Final = 100
"""Runs that go in one transaction."""
Tell = Callable[[int, int], None]


class Noted(msgspec.Struct, kw_only=True):
    """What a collection that is not over has taken: digest that a run named -> its deletion."""

    runs: dict[str, int] = {}
    digests: dict[str, int] = {}


def survey(ws: Workspace, before: int) -> Collection:
    """What a collection of all that was deleted until `before` (microseconds) would take."""
    plan, kept = doomed.runs(ws, before)
    places = doomed.spools(ws)
    gone = {run.id: at for run, at in plan}
    models = doomed.models(ws, before)
    noted = _noted(ws)
    named = doomed.digests(ws, set(gone), models)
    noted.digests |= {digest: gone.get(run, before) for run, digest in named}
    leaves = doomed.Leaves(ws, gone.keys() | noted.runs.keys(), models)
    without = {path for run in gone for path in places.get(run, [])}
    garbage = _garbage(ws, Marks(ws, without), leaves, noted.digests)
    runs = [doomed.measured(ws, run, at, places) for run, at in plan]
    return Collection(
        done=False,
        before=before,
        runs=runs,
        kept=kept,
        experiments=[name for _, name in doomed.empty_experiments(ws, before, gone)],
        models=sorted(models),
        blobs=len(garbage),
        blob_bytes=sum(_size(ws, digest) for digest in garbage),
        bytes=sum(one.bytes for one in runs),
    )


def collect(ws: Workspace, before: int, *, tell: Tell | None = None) -> Collection:
    """Take away what `survey` lists; again where an earlier one died. One at a time.

    Raises ConflictError where another process collects.
    """
    with _alone(ws):
        plan, kept = doomed.runs(ws, before)
        models, places = doomed.models(ws, before), doomed.spools(ws)
        taken: list[Doomed] = []
        for begin in range(0, len(plan), _AT_ONCE):
            part = plan[begin : begin + _AT_ONCE]
            measured = [doomed.measured(ws, run, at, places) for run, at in part]
            gone = _remove(ws, part, places)
            taken += [one for one in measured if one.run in gone]
            if tell is not None:
                tell(begin + len(part), len(plan))
        experiments = _remove_rest(ws, before, models)
        blobs, size = _sweep(ws, [one.run for one in taken])
    return Collection(
        done=True,
        before=before,
        runs=taken,
        kept=kept,
        experiments=experiments,
        models=sorted(models),
        blobs=blobs,
        blob_bytes=size,
        bytes=sum(one.bytes for one in taken),
    )


def _remove(
    ws: Workspace, plan: list[tuple[Run, int]], places: dict[str, list[Path]]
) -> dict[str, int]:
    """Take the rows and files of runs away; returns which, without those restored or used meanwhile."""
    with ws.transaction() as tx:
        stays = doomed.needed(ws, {run.id for run, _ in plan})
        gone = {
            run.id: at
            for run, at in plan
            if run.id not in stays and deleted.find_one(ws, run.id) == at
        }
        noted = _noted(ws)
        noted.runs |= gone
        noted.digests |= {digest: gone[run] for run, digest in doomed.digests(ws, gone, ())}
        for run in gone:
            for row in doomed.stored(tx, ws, run):
                _delete(tx, ws, tables.stored_files, path=row.path)
            for table in (tables.links, tables.metric_batches, tables.metric_chunks,
                          tables.metric_marks, tables.steps, tables.tracked_runs):  # fmt: skip
                _delete(tx, ws, table, run=run)
            _delete(tx, ws, tables.states, name=deleted.STATE + run)
            _delete(tx, ws, tables.runs, id=run)
        states.put(ws, NOTES, msgspec.to_builtins(noted))
        # before the commit: a spool must not bring back a run that is gone
        for path in [path for run in gone for path in places.get(run, [])]:
            path.unlink(missing_ok=True)
        outside.note(ws)
    return gone


def _remove_rest(ws: Workspace, before: int, models: set[str]) -> list[str]:
    """Take away deleted experiments that have no run left, and deleted models with their files."""
    with ws.transaction() as tx:
        models = models & doomed.models(ws, before)  # one may be registered since
        noted = _noted(ws)
        noted.digests |= {digest: before for _, digest in doomed.digests(ws, (), models)}
        for row in doomed.model_rows(tx, ws, models):
            for file in doomed.below(tx, ws, str(row.body["location"])):
                _delete(tx, ws, tables.stored_files, path=file.path)
            _delete(tx, ws, tables.logged_models, id=row.id)
        empty = doomed.empty_experiments(ws, before, ())
        if empty:
            tracked.keep_last_experiment(ws)
        for number, _ in empty:
            _delete(tx, ws, tables.experiments, id=number)
        if models:
            states.put(ws, NOTES, msgspec.to_builtins(noted))
        if empty or models:
            outside.note(ws)
    return [name for _, name in empty]


def _sweep(ws: Workspace, runs: list[str]) -> tuple[int, int]:
    """Take away the blobs that nothing names any more; how many, and their bytes."""
    marks, noted = Marks(ws), _noted(ws)
    leaves = doomed.Leaves(ws, noted.runs, ())
    _settle(ws, marks, leaves, noted)
    found = _garbage(ws, marks, leaves, noted.digests)
    with ws.transaction() as tx:
        # nobody can name a blob meanwhile; what was named since stays
        garbage = _garbage(ws, marks, leaves, noted.digests) if found else {}
        number, size = 0, 0
        for digest, at in sorted(garbage.items()):
            # one that was stored again since it was looked at is about to be named
            if digest in found and at == _stored_at(ws, digest):
                number, size = number + 1, size + _size(ws, digest)
                ws.blobs.remove(digest)
        _delete(tx, ws, tables.states, name=NOTES)
        if runs or number:
            ledger.append(ws, "collect", {"runs": runs, "blobs": number, "bytes": size})
    return number, size


def _settle(ws: Workspace, marks: Marks, leaves: doomed.Leaves, noted: Noted) -> None:
    """Take away what was noted of artifacts that only collected runs made; others lose their maker."""
    table = tables.artifacts
    with ws.transaction() as tx:
        query = sa.select(table.c.digest, table.c.run).where(table.c.project == ws.project)
        mine = [digest for digest, run in tx.execute(query) if run in noted.runs]
        named = marks.all(leaves) if mine else set()
        for digest in mine:
            if digest in named:
                tx.execute(
                    table.update()
                    .where(table.c.project == ws.project, table.c.digest == digest)
                    .values(run="")
                )
            else:
                _delete(tx, ws, table, digest=digest)


def _garbage(
    ws: Workspace, marks: Marks, leaves: doomed.Leaves, digests: dict[str, int]
) -> dict[str, int]:
    """Blobs that nothing names: those that collected runs named, and old ones that nobody ever did.

    Each has the moment at which it was stored last. A blob that was stored again since the deletion of
    its run is left for a day, with all that it names.
    """
    named = marks.all(leaves)
    until = {one: at for digest, at in digests.items() for one in marks.below([digest])}
    old = ids.now() - GRACE
    unnamed = {one: _stored_at(ws, one) for one in ws.blobs.digests() if one not in named}
    found = {one: at for one, at in unnamed.items() if at <= max(old, until.get(one, 0))}
    stays = marks.below(unnamed.keys() - found.keys())
    return {one: at for one, at in found.items() if one not in stays}


def _stored_at(ws: Workspace, digest: str) -> int:
    try:
        return ws.blobs.path(digest).stat().st_mtime_ns // 1000
    except (NotFoundError, FileNotFoundError):
        return ids.now()


def _size(ws: Workspace, digest: str) -> int:
    try:
        return ws.blobs.size(digest)
    except NotFoundError:
        return 0


def _noted(ws: Workspace) -> Noted:
    """The notes; a run that was imported again since names what it has, as any other."""
    found = msgspec.convert(states.get(ws, NOTES) or {}, Noted)
    for run in deleted.load(ws, found.runs):
        del found.runs[run.id]
    return found


def _delete(tx: sa.Connection, ws: Workspace, table: sa.Table, **keys: Any) -> None:
    matches = [table.c[name] == value for name, value in keys.items()]
    tx.execute(table.delete().where(table.c.project == ws.project, *matches))


@contextlib.contextmanager
def _alone(ws: Workspace) -> Iterator[None]:
    handle = os.open(ws.root / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError("another process collects deleted runs", hint="wait for it") from None
    else:
        yield
    finally:
        os.close(handle)
