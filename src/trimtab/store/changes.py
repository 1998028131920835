"""Which runs changed since somebody last looked: what the database's triggers note of every commit.

The last several thousand changes are kept. A mark is taken before anything is read, so that what is
committed meanwhile is told again; nothing is ever left out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from trimtab.store.workspace import Workspace

_XMIN: Final = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class Changes(NamedTuple):
    """Runs of which something changed: their rows (or whether they are there), points and links; one
    that went away, though it may be there again, is among all of them.

    `versions` says whether a version of anything came or went.
    """

    runs: set[str]
    points: set[str]
    links: set[str]
    versions: bool

    def __bool__(self) -> bool:
        return bool(self.runs or self.points or self.links or self.versions)


def mark(db: sa.Connection) -> int:
    """What has been committed by now, as a number for `since`."""
    query = "SELECT coalesce(max(seq), 0) FROM changes" if _is_sqlite(db) else f"SELECT {_XMIN}"
    return int(_rows(db, query)[0][0])


def is_exact(db: sa.Connection) -> bool:
    """Whether an equal mark says that nothing was committed since."""
    return _is_sqlite(db)


def since(db: sa.Connection, ws: Workspace, before: int) -> Changes | None:
    """What was committed since a mark; None where that is too long ago to be told."""
    if _is_sqlite(db):
        # Writers take turns: numbers are given in the order of commits.
        query = "SELECT (SELECT min(seq) FROM changes), (SELECT max(seq) FROM changes)"
        first, last = _rows(db, query)[0]
        if (last or 0) < before or (first or 0) > before + 1:
            return None
        query = "SELECT DISTINCT what, run FROM changes WHERE seq > {} AND project = {}"
    else:
        # A transaction that had not ended at the mark has its number or a higher one. What goes away is
        # older than all that is left, so something older than the mark says that nothing is missing.
        kept = _rows(db, "SELECT min(tx) FROM changes")[0][0]
        if kept is not None and kept >= before:
            return None
        query = "SELECT DISTINCT what, run FROM changes WHERE tx >= {} AND project = {}"
    found: dict[str, set[str]] = {}
    for what, run in _rows(db, query, before, ws.project):
        found.setdefault(what, set()).add(run)
    gone = found.get("gone", set())
    runs, points, links = (found.get(name, set()) | gone for name in ("run", "points", "links"))
    return Changes(runs, points, links, versions="versions" in found)


def _is_sqlite(db: sa.Connection) -> bool:
    return db.dialect.name == "sqlite"


def _rows(db: sa.Connection, query: str, *values: Any) -> list[Any]:
    """The rows of a query whose values stand in braces; it is asked for every search, straight."""
    mark = "?" if _is_sqlite(db) else "%s"
    cursor = db.connection.cursor()
    try:
        cursor.execute(query.format(*[mark] * len(values)), values)
        return list(cursor.fetchall())
    finally:
        cursor.close()
