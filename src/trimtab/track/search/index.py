"""The table of a workspace's runs, kept in memory and brought up to date before it is asked.

What a commit changed the database notes itself, so any process may write; only those runs are read.
Series and data are read when a filter first asks for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from weakref import WeakKeyDictionary, ref

import sqlalchemy as sa

from trimtab.errors import StorageError
from trimtab.store import changes, database, listing
from trimtab.store.changes import Changes
from trimtab.store.listing import Row
from trimtab.store.packed import Numbers
from trimtab.store.statements import in_parts
from trimtab.store.workspace import Workspace
from trimtab.track.search.record import Record, Shapes, read
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.table import newest

_SHAPES: Final = 1_000
_FEW: Final = 500  # runs that changed, above which it costs less to read all rows
Read = dict[str, list[tuple[str, str]]]
Made = dict[str, list[str]]
Lasts = dict[str, Numbers]
_NONE: Final = Numbers({})


class Index:
    """The runs of one project: `table` answers with them as they are now."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # weakly: the indexes are kept by engines, which a workspace holds
        self._asker: Callable[[], Workspace | None] = lambda: None
        self._shapes = Shapes()
        self._records: dict[str, Record] = {}
        self._latest: Lasts | None = None
        self._some: Lasts = {}
        self._used: tuple[Read, Made] | None = None
        self._labels: dict[str, list[str]] = {}
        self._table: RunTable | None = None
        self._mark = -1

    @property
    def is_made(self) -> bool:
        """Whether there is a table, however old."""
        return self._table is not None

    def table(self, ws: Workspace) -> RunTable:
        """The runs as they are stored now."""
        with self._lock, database.reading(ws.engine) as db:
            self._asker = ref(ws)
            return self._now(db, ws)

    def alone(self, ws: Workspace) -> RunTable:
        """The runs as the open transaction sees them."""
        self._asker = ref(ws)
        with database.reading(ws.engine) as db:
            return self._read(db, ws)

    def _now(self, db: sa.Connection, ws: Workspace) -> RunTable:
        # First: what is committed while this reads is read again by whoever asks next.
        mark = changes.mark(db)
        last = self._table
        if last is not None and changes.is_exact(db) and mark == self._mark:
            return last
        told = None if last is None else changes.since(db, ws, self._mark)
        if last is None or told is None:
            self._latest = self._used = None
            self._some = {}
            found = self._read(db, ws)
        elif len(told.runs) > _FEW:
            found = self._read(db, ws)
            self._follow(db, ws, told)
        else:
            found = self._moved(db, ws, last, told) if told else last
        self._table, self._mark = found, mark
        return found

    def _read(self, db: sa.Connection, ws: Workspace) -> RunTable:
        """A table of all rows; those that are as they were are not read into records again."""
        self._records = {one.id: one for one in self._taken(listing.rows(db, ws))}
        return RunTable(sorted(self._records.values(), key=newest), None, self)

    def _taken(self, rows: Iterable[Sequence[object]]) -> list[Record]:
        if len(self._shapes) > 2 * len(self._records) + _SHAPES:  # of runs that got more keys since
            self._shapes = Shapes()
        found = []
        for row in rows:
            known, mark = self._records.get(str(row[0])), hash(tuple(row))
            same = known is not None and known.mark == mark
            found.append(known if known and same else read(Row._make(row), self._shapes, mark))
        return found

    def _moved(self, db: sa.Connection, ws: Workspace, last: RunTable, told: Changes) -> RunTable:
        """The table with what has changed since the last one."""
        now = {one.id: one for one in self._taken(listing.rows(db, ws, told.runs))}
        known = self._records
        pairs = [(known.get(run), now.get(run)) for run in told.runs]
        others = (told.points | told.links) - told.runs
        pairs += [(known[run], known[run]) for run in others if run in known]
        for run in told.runs:
            if run in now:
                known[run] = now[run]
            else:
                known.pop(run, None)
        self._follow(db, ws, told)
        kept = last.without_data() if told.versions else last
        return kept.changed((a, b) for a, b in pairs if a is not None or b is not None)

    def _follow(self, db: sa.Connection, ws: Workspace, told: Changes) -> None:
        """Take in points and data of runs, where all were read before."""
        grown = sorted(told.points)
        for run in grown:
            self._some.pop(run, None)
        if self._latest is not None and grown:
            kept = self._latest.copy()  # a table that somebody has is not changed
            for run in grown:
                kept.pop(run, None)
            kept.update(_lasts(db, ws, grown))
            self._latest = kept
        if told.versions:
            self._used = None
        if self._used is not None and (told.links or told.runs):
            runs = sorted(told.links | told.runs)
            before_read, before_made = self._used[0].copy(), self._used[1].copy()
            for run in runs:
                before_read.pop(run, None)
                before_made.pop(run, None)
            read, made = _used(db, ws, self._labels, runs)
            self._used = before_read | read, before_made | made

    def _open(self) -> Workspace:
        found = self._asker()
        if found is None:
            raise StorageError("the workspace of these runs is not open any more")
        return found

    def latest(self) -> Lasts:
        """The last value of each series of each run."""
        found = self._latest
        if found is None:
            ws = self._open()
            with self._lock, database.reading(ws.engine) as db:
                found = self._latest
                if found is None:
                    found = self._latest = _lasts(db, ws, list(self._records))
                    self._some = {}
        return found

    def lasts(self, runs: Sequence[str]) -> Lasts:
        """Those of some runs, which are read where not all are."""
        with self._lock:
            held = self._some if self._latest is None else self._latest
            missing = [run for run in runs if run not in held] if self._latest is None else []
            if missing:
                ws = self._open()
                with database.reading(ws.engine) as db:
                    held |= dict.fromkeys(missing, _NONE) | _lasts(db, ws, missing)
            return {run: mine for run in runs if (mine := held.get(run))}

    def used(self) -> tuple[Read, Made]:
        """What each run read, as (part, text) with part a key of data, and what it made."""
        found = self._used
        if found is None:
            ws = self._open()
            with self._lock, database.reading(ws.engine) as db:
                found = self._used
                if found is None:
                    self._labels = listing.labels(db, ws)
                    found = self._used = _used(db, ws, self._labels)
        return found


def table(ws: Workspace) -> RunTable:
    """The runs of a workspace's project as they are now."""
    if database.in_transaction(ws.engine):  # what it sees may be undone: nobody else shall see it
        return Index().alone(ws)
    with _guard:
        mine = _indexes.setdefault(ws.engine, {})
        index = mine.setdefault(ws.project, Index())
    return index.table(ws)


def is_held(ws: Workspace) -> bool:
    """Whether this process holds the table already, so that asking it costs little."""
    index = _indexes.get(ws.engine, {}).get(ws.project)
    return index is not None and index.is_made


_indexes: WeakKeyDictionary[sa.Engine, dict[str, Index]] = WeakKeyDictionary()
_guard = threading.Lock()


def _lasts(db: sa.Connection, ws: Workspace, runs: Sequence[str]) -> Lasts:
    """The last values of runs, some of them at a time: unpacked they take five times as much."""
    found: Lasts = {}
    for some in in_parts(runs):
        latest = listing.latest(db, ws, some)
        found |= {run: Numbers(mine) for run, mine in latest.items()}
    return found


def _used(
    db: sa.Connection,
    ws: Workspace,
    labels: dict[str, list[str]],
    runs: Sequence[str] | None = None,
) -> tuple[Read, Made]:
    read: Read = {}
    made: Made = {}
    for link in listing.inputs(db, ws, runs):
        versions = labels.get(link.digest, [])
        if link.direction == "in":
            read.setdefault(link.run, []).extend(_parts(link.name, link.digest, versions))
        else:
            made.setdefault(link.run, []).extend([link.name, link.digest, *versions])
    for run, sets in listing.foreign(db, ws, runs):
        for one in sets:
            name, digest = str(one.get("name", "")), str(one.get("digest", ""))
            read.setdefault(run, []).extend(_parts(name, digest, []))
    return read, made


def _parts(name: str, digest: str, versions: Iterable[str]) -> list[tuple[str, str]]:
    return [("name", name), ("digest", digest), *(("version", one) for one in versions)]
