"""All runs of a project at once, as a search holds them: few statements, little work for each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from trimtab.store import database, tables
from trimtab.store import deleted as deletion
from trimtab.store.database import from_row
from trimtab.store.records import Link, Run
from trimtab.store.series import newest as series
from trimtab.store.statements import in_parts
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
    deleted: int


def rows(
    db: sa.Connection, ws: Workspace, runs: Iterable[str] | None = None
) -> list[tuple[Any, ...]]:
    """Every run, or those of some ids that are there: the fields of `Row`, by which they can be named."""
    if runs is None:
        return _tuples(db, _ROWS, of_project=ws.project)
    given = {"of_project": ws.project}
    return [row for run in runs for row in _tuples(db, _ROW, of_id=run, **given)]


def _rows() -> sa.Select[Any]:
    table = tables.runs
    texts = [sa.type_coerce(table.c[name], sa.Text) for name in ("cause", "params", "tags")]
    return sa.select(
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
        sa.case((deletion.is_deleted(), 1), else_=0),
    ).where(table.c.project == sa.bindparam("of_project"))


_ROWS: Final = _rows()
_ROW: Final = _ROWS.where(tables.runs.c.id == sa.bindparam("of_id"))


def newest(db: sa.Connection, ws: Workspace, equal: dict[str, str], *, hidden: bool) -> list[str]:
    """The ids of all runs whose columns equal some values, those that began last first.

    `hidden` says whether deleted runs are among them.
    """
    table = tables.runs
    query = sa.select(table.c.id).where(
        table.c.project == ws.project, *(table.c[name] == value for name, value in equal.items())
    )
    if not hidden:
        query = query.where(~deletion.is_deleted())
    return [run for (run,) in db.execute(query.order_by(table.c.started_at.desc(), table.c.id))]


def latest(
    db: sa.Connection, ws: Workspace, runs: Sequence[str] | None = None
) -> dict[str, Latest]:
    """The last value of each series of some runs, or of all."""
    found = series.ends(db, ws, runs)
    return {run: {key: end[2] for key, end in mine.items()} for run, mine in found.items()}


def inputs(db: sa.Connection, ws: Workspace, runs: Sequence[str] | None = None) -> Iterator[Link]:
    """What some runs, or all, read and made."""
    table = tables.links
    query = sa.select(table.c.run, table.c.direction, table.c.name, table.c.digest)
    for some in series.parts(runs):
        mine = query if some is None else query.where(table.c.run.in_(some))
        for row in db.execute(mine.where(table.c.project == ws.project)):
            yield from_row(Link, row)


def labels(db: sa.Connection, ws: Workspace) -> dict[str, list[str]]:
    """Digest -> the versions that are these bytes, as `name@v3`."""
    table = tables.versions
    query = sa.select(table.c.digest, table.c.name, table.c.number)
    found: dict[str, list[str]] = {}
    for digest, name, number in db.execute(query.where(table.c.project == ws.project)):
        found.setdefault(digest, []).append(f"{name}@v{number}")
    return found


def foreign(
    db: sa.Connection, ws: Workspace, runs: Sequence[str] | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The data sets that other tools' clients named, of some runs or of all."""
    table = tables.tracked_runs
    query = sa.select(table.c.run, table.c.body).where(table.c.project == ws.project)
    for some in series.parts(runs):
        for run, body in db.execute(query if some is None else query.where(table.c.run.in_(some))):
            found = body.get("inputs") or []
            if found:
                yield run, [one.get("dataset", {}) for one in found]


def whole(ws: Workspace, runs: Sequence[str]) -> list[Run]:
    """Runs by their ids, in that order; those that are gone are left out."""
    table = tables.runs
    found: dict[str, Run] = {}
    with database.reading(ws.engine) as db:
        for some in in_parts(runs):
            # by the key alone: with the project beside it SQLite walks through all of that instead
            for row in db.execute(sa.select(table).where(table.c.id.in_(some))):
                if row.project == ws.project:
                    found[row.id] = from_row(Run, row)
    return [found[one] for one in runs if one in found]


def _tuples(db: sa.Connection, query: Any, **values: Any) -> list[tuple[Any, ...]]:
    """What a query finds as the driver has it: of ten thousand rows SQLAlchemy's own cost as much again."""
    text, fixed, order = _compiled(db.dialect, query)
    given = fixed | values
    cursor = db.connection.cursor()
    try:
        cursor.execute(text, given if order is None else [given[name] for name in order])
        return list(cursor.fetchall())
    finally:
        cursor.close()


@lru_cache(maxsize=16)
def _compiled(dialect: sa.Dialect, query: Any) -> tuple[str, dict[str, Any], list[str] | None]:
    """A query that lives on as text, its own values, and the order of all where places have no names."""
    made = query.compile(dialect=dialect)
    return str(made), dict(made.params), made.positiontup
