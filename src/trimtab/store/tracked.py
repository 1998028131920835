"""What other tools' clients log, as rows: saved, taken away and loaded, a kind of thing at a time.

`TABLES` names the kinds and the columns of each beside its project. Who writes keeps the rules; the
keys and unique indexes are the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import sqlalchemy as sa

from trimtab.store import statements, states, tables
from trimtab.store.database import insert, writing
from trimtab.store.workspace import Workspace

Kind = Literal[
    "experiments",
    "tracked_runs",
    "logged_models",
    "registered_models",
    "registered_versions",
    "stored_files",
]
_LAST: Final = "experiments.last"
TABLES: Final[dict[Kind, sa.Table]] = {
    "experiments": tables.experiments,
    "tracked_runs": tables.tracked_runs,
    "logged_models": tables.logged_models,
    "registered_models": tables.registered_models,
    "registered_versions": tables.registered_versions,
    "stored_files": tables.stored_files,
}


def save(ws: Workspace, kind: Kind, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or replace those of the same keys."""
    if rows:
        values = [{"project": ws.project, **row} for row in rows]
        with writing(ws.engine) as tx:
            statements.write(tx, _upsert(ws.engine.dialect.name, kind), values)


def remove(ws: Workspace, kind: Kind, keys: Sequence[dict[str, Any]]) -> None:
    """Take rows away by their keys; those that are not there are passed over."""
    if keys:
        values = [
            {"of_project": ws.project, **{f"of_{name}": key for name, key in one.items()}}
            for one in keys
        ]
        with writing(ws.engine) as tx:
            statements.write(tx, _delete(kind), values)


def load(ws: Workspace, kind: Kind) -> Iterator[dict[str, Any]]:
    """Every row, in the order of its keys."""
    table = TABLES[kind]
    query = sa.select(table).where(table.c.project == ws.project)
    with ws.reading() as db:
        for row in db.execute(query.order_by(*table.primary_key.columns)).mappings():
            yield dict(row)


def files(ws: Workspace, folder: str) -> list[dict[str, Any]]:
    """The stored files below a folder, or the file of that very path, by path."""
    table = tables.stored_files
    inside = (table.c.path > f"{folder}/") & (table.c.path < f"{folder}0")  # "0" comes after "/"
    query = sa.select(table).where(
        table.c.project == ws.project, inside | (table.c.path == folder) if folder else sa.true()
    )
    with ws.reading() as db:
        return [dict(row) for row in db.execute(query.order_by(table.c.path)).mappings()]


def last_experiment(ws: Workspace) -> int:
    """The highest number that an experiment ever had: none is given again, a client may remember it."""
    table = tables.experiments
    query = sa.select(sa.func.max(table.c.id)).where(table.c.project == ws.project)
    with ws.reading() as db:
        found = db.execute(query).scalar() or 0
    return max(int(found), int((states.get(ws, _LAST) or {}).get("number", 0)))


def keep_last_experiment(ws: Workspace) -> None:
    """Remember the highest number, before experiments are taken away."""
    states.put(ws, _LAST, {"number": last_experiment(ws)})


def has_version(ws: Workspace, name: str, number: int) -> bool:
    """Whether a registered model has a version of that number."""
    table = tables.registered_versions
    mine = (table.c.project == ws.project, table.c.name == name, table.c.number == number)
    with ws.reading() as db:
        return db.execute(sa.select(table.c.number).where(*mine)).first() is not None


@lru_cache(maxsize=16)
def _upsert(dialect: str, kind: Kind) -> Any:
    table = TABLES[kind]
    keys = [column.name for column in table.primary_key.columns]
    statement = insert(dialect, table)
    rest = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@lru_cache(maxsize=16)
def _delete(kind: Kind) -> Any:
    table = TABLES[kind]
    matches = [
        column == sa.bindparam(f"of_{column.name}", type_=column.type)
        for column in table.primary_key.columns
    ]
    return table.delete().where(*matches)


def save_runs(ws: Workspace, rows: Sequence[dict[str, Any]]) -> None:
    """Write what clients change of runs that are there: every row has the fields of `CHANGED` and `id`."""
    if rows:
        values = [
            {"of_project": ws.project, "of_id": row["id"], **{name: row[name] for name in CHANGED}}
            for row in rows
        ]
        with writing(ws.engine) as tx:
            statements.write(tx, _change(), values)


CHANGED: Final = (
    "name",
    "status",
    "parent",
    "params",
    "tags",
    "started_at",
    "heartbeat_at",
    "ended_at",
)


@lru_cache(1)
def _change() -> Any:
    table = tables.runs
    return (
        table.update()
        .where(table.c.id == sa.bindparam("of_id"), table.c.project == sa.bindparam("of_project"))
        .values({name: sa.bindparam(name) for name in CHANGED})
    )


def runs(ws: Workspace) -> Iterator[dict[str, Any]]:
    """Every tracked run, joined with its ordinary row.

    Where a process of this machine has taken a run up (`pid`), how it stands is in that row.
    """
    own, table = tables.tracked_runs, tables.runs
    query = (
        sa.select(own.c.run, own.c.experiment, own.c.stage, own.c.body)
        .add_columns(table.c.name, table.c.params, table.c.tags)
        .add_columns(table.c.pid, table.c.status, table.c.ended_at)
        .join(table, (table.c.id == own.c.run) & (table.c.project == own.c.project))
        .where(own.c.project == ws.project)
    )
    with ws.reading() as db:
        for row in db.execute(query.order_by(own.c.run)).mappings():
            yield dict(row)


def is_file(ws: Workspace, path: str) -> bool:
    """Whether a stored file has that very path."""
    table = tables.stored_files
    query = sa.select(table.c.size).where(table.c.project == ws.project, table.c.path == path)
    with ws.reading() as db:
        return db.execute(query).first() is not None


def unlink(ws: Workspace, run: str, name: str, digest: str) -> None:
    """Take back that a run made an artifact under a name."""
    table = tables.links
    mine = {"project": ws.project, "run": run, "direction": "out", "name": name, "digest": digest}
    with writing(ws.engine) as tx:
        tx.execute(table.delete().where(*(table.c[key] == value for key, value in mine.items())))
