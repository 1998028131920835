"""The table of a workspace's runs, kept in memory and brought up to date before it is asked.

What a commit changed is found by comparing rows, so that any process may write; where nothing was
committed since, nothing is read. Series and data are read when a filter first asks for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary, ref

import numpy as np
import sqlalchemy as sa

from trimtab.errors import StorageError
from trimtab.store import database, listing
from trimtab.store.listing import Latest, Row
from trimtab.store.workspace import Workspace
from trimtab.track.search.record import Record, Shapes, read
from trimtab.track.search.table import Table, Used
from trimtab.track.search.tree import Entity

_INFO: Final = "trimtab.search"
_SHAPES: Final = 1_000


class Index:
    """The runs of one project: `table` answers with them as they are now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # weakly: the indexes are kept by engines, which a workspace holds
        self._asker: Callable[[], Workspace | None] = lambda: None
        self._shapes = Shapes()
        self._records: dict[str, Record] = {}
        self._deleted: set[str] = set()
        self._marks: dict[str, int] | None = None
        self._latest: dict[str, Latest] = {}
        self._used: Used | None = None
        self._table: Table | None = None

    @property
    def is_made(self) -> bool:
        """Whether there is a table, however old."""
        return self._table is not None

    def table(self, ws: Workspace) -> Table:
        """The runs as they are stored now."""
        # What is committed while this reads is read again by whoever asks next: `seen` is older.
        with self._lock, database.reading(ws.engine) as db:
            self._asker = ref(ws)
            seen = listing.seen(db)
            if self._table is None or seen is None or db.info.get((_INFO, ws.project)) != seen:
                self._table = self._refreshed(db, ws)
            if seen is not None:
                db.info[_INFO, ws.project] = seen
            return self._table

    def alone(self, ws: Workspace) -> Table:
        """The runs as the open transaction sees them."""
        self._asker = ref(ws)
        with database.reading(ws.engine) as db:
            return self._refreshed(db, ws)

    def _refreshed(self, db: sa.Connection, ws: Workspace) -> Table:
        """A table of what is stored, with those columns of the last one that are right still."""
        changed: list[tuple[Record | None, Record]] = []
        found: dict[str, Record] = {}
        for row in listing.rows(db, ws):
            known, mark = self._records.get(row[0]), hash(row)
            if known is None or known.mark != mark:
                new = read(Row._make(row), self._shapes, mark)
                changed.append((known, new))
                found[new.id] = new
            else:
                found[known.id] = known
        deleted = listing.deleted(db, ws)
        is_same = len(found) == len(self._records) and deleted == self._deleted
        self._records, self._deleted, self._used = found, deleted, None
        if len(self._shapes) > 2 * len(found) + _SHAPES:  # of runs that got more keys since
            self._shapes = Shapes()
        stale = _stale(changed)
        if self._refresh_series(db, ws):
            stale.add("metric")
        last = self._table
        if last is None or not is_same or any(known is None for known, _ in changed):
            return self._made()
        if not stale and not last.has_data:
            return last
        if any(known and known.started != now.started for known, now in changed):
            return self._made()
        fresh = Table(
            [found[one.id] for one in last.records], last.deleted, self._series, self._data
        )
        fresh.keep(last, without=stale)
        return fresh

    def _refresh_series(self, db: sa.Connection, ws: Workspace) -> bool:
        """Take in what was logged since, once series were asked for; says whether anything was."""
        before = self._marks
        if before is None:
            return False
        now = listing.marks(db, ws)
        grown = [run for run, mark in now.items() if before.get(run) != mark]
        gone = before.keys() - now.keys()
        if grown or gone:
            kept = {run: mine for run, mine in self._latest.items() if run not in gone}
            self._latest = kept | listing.latest(db, ws, grown)
            self._marks = now
        return bool(grown or gone)

    def _made(self) -> Table:
        records = sorted(self._records.values(), key=_newest)
        gone = self._deleted
        deleted = np.array([one.id in gone for one in records], dtype=np.bool_)
        return Table(records, deleted, self._series, self._data)

    def _open(self) -> Workspace:
        found = self._asker()
        if found is None:
            raise StorageError("the workspace of these runs is not open any more")
        return found

    def _series(self) -> dict[str, Latest]:
        ws = self._open()
        with self._lock:
            if self._marks is None:
                with database.reading(ws.engine) as db:
                    self._marks = listing.marks(db, ws)  # first: what comes meanwhile is read twice
                    self._latest = listing.latest(db, ws)
            return self._latest

    def _data(self) -> Used:
        ws = self._open()
        with self._lock:
            if self._used is None:
                with database.reading(ws.engine) as db:
                    self._used = _used(db, ws)
            return self._used


def table(ws: Workspace) -> Table:
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


def _stale(changed: Iterable[tuple[Record | None, Record]]) -> set[Entity]:
    """What of some runs is different from before."""
    found: set[Entity] = set()
    for before, now in changed:
        if before is None or (before.param_keys, before.params) != (now.param_keys, now.params):
            found.add("param")
        if before is None or (before.tag_keys, before.tags) != (now.tag_keys, now.tags):
            found.add("tag")
        found.add("attribute")
    return found


def _newest(one: Record) -> tuple[int, str]:
    return -one.started, one.id


def _used(db: sa.Connection, ws: Workspace) -> Used:
    labels = listing.labels(db, ws)
    read: dict[str, list[tuple[str, str]]] = {}
    made: dict[str, list[str]] = {}
    for link in listing.inputs(db, ws):
        versions = labels.get(link.digest, [])
        if link.direction == "in":
            read.setdefault(link.run, []).extend(_parts(link.name, link.digest, versions))
        else:
            made.setdefault(link.run, []).extend([link.name, link.digest, *versions])
    for run, sets in listing.foreign(db, ws):
        for one in sets:
            name, digest = str(one.get("name", "")), str(one.get("digest", ""))
            read.setdefault(run, []).extend(_parts(name, digest, []))
    return read, made


def _parts(name: str, digest: str, versions: Iterable[str]) -> list[tuple[str, str]]:
    return [("name", name), ("digest", digest), *(("version", one) for one in versions)]
