"""All runs of a project at once, as a search holds them: few statements, little work for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from trimtab.store import database, tables
from trimtab.store import deleted as deletion
from trimtab.store.database import from_row
from trimtab.store.records import Link, Run
from trimtab.store.series import newest as series
from trimtab.store.workspace import Workspace

Latest = dict[str, float]


class Row(NamedTuple):
    """A run's row; what is JSON is text still."""

    id: str
    kind: str
    name: str
    status: str
    parent: str
    cause: str
    params: str
    tags: str
    code: str
    environment: str
    started: int
    ended: int
    peak: int
    error: str | None


class Seen(NamedTuple):
    """What a connection had seen of the database when something was read over it."""

    version: int
    own: int


def seen(db: sa.Connection) -> Seen | None:
    """What changes with every commit that is visible to this connection, None where that is unknown.

    SQLite counts the commits of others (data_version) and a connection's own changes.
    """
    if db.engine.dialect.name != "sqlite":
        return None
    raw: Any = db.connection.dbapi_connection
    (version,) = raw.execute("PRAGMA data_version").fetchone()
    return Seen(int(version), int(raw.total_changes))


def rows(db: sa.Connection, ws: Workspace) -> list[tuple[Any, ...]]:
    """Every run: the fields of `Row`, which whoever needs them by name makes of them."""
    table = tables.runs
    texts = [sa.type_coerce(table.c[name], sa.Text) for name in ("cause", "params", "tags")]
    query = sa.select(
        table.c.id,
        table.c.kind,
        table.c.name,
        table.c.status,
        table.c.parent,
        *texts,
        table.c.code,
        table.c.environment,
        table.c.started_at,
        table.c.ended_at,
        table.c.peak_bytes,
        sa.type_coerce(table.c.error, sa.Text),
    ).where(table.c.project == ws.project)
    return _tuples(db, query)


def newest(db: sa.Connection, ws: Workspace, equal: dict[str, str], *, hidden: bool) -> list[str]:
    """The ids of all runs whose columns equal some values, those that began last first.

    `hidden` says whether deleted runs are among them.
    """
    table = tables.runs
    query = sa.select(table.c.id).where(
        table.c.project == ws.project, *(table.c[name] == value for name, value in equal.items())
    )
    found = [run for (run,) in _tuples(db, query.order_by(table.c.started_at.desc(), table.c.id))]
    gone = set() if hidden else deleted(db, ws)
    return [run for run in found if run not in gone] if gone else found


def deleted(db: sa.Connection, ws: Workspace) -> set[str]:
    """The runs that somebody deleted and that may be restored still."""
    own, plain = tables.tracked_runs, tables.states
    tracked = sa.select(own.c.run).where(
        own.c.project == ws.project, own.c.stage == deletion.DELETED
    )
    others = sa.select(plain.c.name).where(
        plain.c.project == ws.project,
        plain.c.name >= deletion.STATE,
        plain.c.name < deletion.STATE + "\U0010ffff",
    )
    found = {name.removeprefix(deletion.STATE) for name in db.execute(others).scalars()}
    return found | set(db.execute(tracked).scalars())


def marks(db: sa.Connection, ws: Workspace) -> dict[str, int]:
    """The number of each run's newest batch of points; it grows with every batch."""
    batches, compacted = tables.metric_batches, tables.metric_marks
    waiting = (
        sa.select(batches.c.run, sa.func.max(batches.c.seq))
        .where(batches.c.project == ws.project)
        .group_by(batches.c.run)
    )
    done = sa.select(compacted.c.run, compacted.c.through).where(compacted.c.project == ws.project)
    found: dict[str, int] = dict(_tuples(db, done))
    for run, seq in _tuples(db, waiting):
        found[run] = max(seq, found.get(run, 0))
    return found


def latest(
    db: sa.Connection, ws: Workspace, runs: Sequence[str] | None = None
) -> dict[str, Latest]:
    """The last value of each series of some runs, or of all."""
    found = series.ends(db, ws, runs)
    return {run: {key: end[2] for key, end in mine.items()} for run, mine in found.items()}


def inputs(db: sa.Connection, ws: Workspace) -> Iterator[Link]:
    """What every run read and made."""
    table = tables.links
    query = sa.select(table.c.run, table.c.direction, table.c.name, table.c.digest)
    for row in db.execute(query.where(table.c.project == ws.project)):
        yield from_row(Link, row)


def labels(db: sa.Connection, ws: Workspace) -> dict[str, list[str]]:
    """Digest -> the versions that are these bytes, as `name@v3`."""
    table = tables.versions
    query = sa.select(table.c.digest, table.c.name, table.c.number)
    found: dict[str, list[str]] = {}
    for digest, name, number in db.execute(query.where(table.c.project == ws.project)):
        found.setdefault(digest, []).append(f"{name}@v{number}")
    return found


def foreign(db: sa.Connection, ws: Workspace) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The data sets that other tools' clients named, run by run."""
    table = tables.tracked_runs
    query = sa.select(table.c.run, table.c.body).where(table.c.project == ws.project)
    for run, body in db.execute(query):
        found = body.get("inputs") or []
        if found:
            yield run, [one.get("dataset", {}) for one in found]


def whole(ws: Workspace, runs: Sequence[str]) -> list[Run]:
    """Runs by their ids, in that order; those that are gone are left out."""
    table = tables.runs
    found: dict[str, Run] = {}
    with database.reading(ws.engine) as db:
        for begin in range(0, len(runs), series.AT_ONCE):
            some = runs[begin : begin + series.AT_ONCE]
            # by the key alone: with the project beside it SQLite walks through all of that instead
            for row in db.execute(sa.select(table).where(table.c.id.in_(some))):
                if row.project == ws.project:
                    found[row.id] = from_row(Run, row)
    return [found[one] for one in runs if one in found]


def _tuples(db: sa.Connection, query: Any) -> list[tuple[Any, ...]]:
    """What a query finds as the driver has it: of ten thousand rows SQLAlchemy's own cost as much again."""
    compiled = query.compile(dialect=db.dialect)
    order = compiled.positiontup
    given = compiled.params if order is None else [compiled.params[name] for name in order]
    cursor = db.connection.cursor()
    try:
        cursor.execute(str(compiled), given)
        return list(cursor.fetchall())
    finally:
        cursor.close()
