"""Runs and the artifacts they read and made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError
from trimtab.store import deleted as deletion
from trimtab.store import outside, tables
from trimtab.store import params as set_once
from trimtab.store.database import from_row, insert_new, to_row, writing
from trimtab.store.records import Link, Run, RunStatus
from trimtab.store.statements import write
from trimtab.store.workspace import Workspace


def start(ws: Workspace, kind: str, name: str, *, id: str = "", **fields: Any) -> Run:  # noqa: A002
    """Begin a run; `fields` are those of `Run`. Raises ConflictError where its concurrency key runs."""
    now = ids.now()
    run = Run(
        id=id or ids.new_id(),
        kind=kind,
        name=name,
        pid=fields.pop("pid", os.getpid()),
        started_at=now,
        heartbeat_at=now,
        **fields,
    )
    record(ws, run)
    return run


def record(ws: Workspace, run: Run) -> None:
    """Store a run as it is, such as a cached step that is over already.

    Raises ConflictError where there is a run of its id, or one that runs with its concurrency key.
    """
    if insert_new(ws.engine, tables.runs, to_row(run, project=ws.project)):
        return
    table = tables.runs
    with ws.reading() as db:
        if db.execute(sa.select(table.c.id).where(table.c.id == run.id)).first():
            raise ConflictError(f"there is a run {run.id} already")
    raise ConflictError(
        f"{run.kind} {run.name!r} is running already ({run.concurrency_key})",
        hint="wait for it, or see `trimtab runs ls`",
    )


def update(ws: Workspace, run: str, **fields: Any) -> None:
    """Change fields of a run."""
    with ws.transaction() as tx:
        tx.execute(
            tables.runs.update()
            .where(tables.runs.c.id == run, tables.runs.c.project == ws.project)
            .values(**fields)
        )
        if not fields.keys() <= {"heartbeat_at", "peak_bytes"}:
            outside.note_run(ws, run)


def held(tx: sa.Connection, ws: Workspace, run: str) -> Run | None:
    """A run that nobody else changes until the transaction is over; None where it is gone."""
    table = tables.runs
    query = sa.select(table).where(table.c.id == run, table.c.project == ws.project)
    row = tx.execute(query.with_for_update()).first()
    return None if row is None else from_row(Run, row)


def add(
    ws: Workspace, run: str, *, params: Mapping[str, Any], tags: Mapping[str, Any]
) -> Run | None:
    """Add params and tags to those that a run has by now, whoever wrote them; None where it is gone.

    Raises UsageError where a param would change.
    """
    with ws.transaction() as tx:
        found = held(tx, ws, run)
        if found is None:
            return None
        set_once.check(found.name, found.params, params)
        found = msgspec.structs.replace(
            found, params={**found.params, **params}, tags={**found.tags, **tags}
        )
        update(ws, run, params=found.params, tags=found.tags)
    return found


def finish(ws: Workspace, run: str, status: RunStatus, **fields: Any) -> None:
    """End a run; one that has ended stays as it ended."""
    values = {"status": status, "ended_at": ids.now(), **fields}
    with writing(ws.engine) as tx:
        write(tx, _finish(*values), [{"of_run": run, "of_project": ws.project, **values}])


def fail(ws: Workspace, run: str, error: BaseException) -> None:
    """End a run by an error, kept by its class and message."""
    finish(ws, run, "failed", error={"type": type(error).__name__, "message": str(error)})


@lru_cache(maxsize=32)
def _finish(*fields: str) -> sa.Update:
    """The statement that sets those fields, made once."""
    table = tables.runs
    return (
        table.update()
        .where(
            table.c.id == sa.bindparam("of_run"),
            table.c.project == sa.bindparam("of_project"),
            table.c.status == "running",
        )
        .values({field: sa.bindparam(field) for field in fields})
    )


def get(ws: Workspace, run: str) -> Run:
    """A run by its id or an unambiguous prefix of at least 6 digits; raises NotFoundError."""
    table = tables.runs
    query = sa.select(table).where(table.c.project == ws.project)
    query = (
        query.where(table.c.id == run)
        if len(run) == 32
        else query.where(table.c.id.startswith(run, autoescape=True))
    )
    with ws.reading() as db:
        rows = db.execute(query.limit(2)).all() if len(run) >= 6 else []
    if len(rows) != 1:
        raise NotFoundError(f"there is no single run {run!r}", hint="see `trimtab runs ls`")
    return from_row(Run, rows[0])


def find(
    ws: Workspace,
    *,
    kind: str | None = None,
    name: str | None = None,
    parent: str | None = None,
    status: str | None = None,
    key: str | None = None,
    deleted: bool | None = None,
    limit: int = 100,
) -> list[Run]:
    """Runs, newest first; `deleted` asks for the deleted ones alone, or for the others."""
    table = tables.runs
    query = sa.select(table).where(table.c.project == ws.project)
    wanted = {"kind": kind, "name": name, "parent": parent, "status": status, "key": key}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(table.c[column] == value)
    if deleted is not None:
        query = query.where(deletion.is_deleted() if deleted else ~deletion.is_deleted())
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.id.desc()).limit(limit)).all()
    return [from_row(Run, row) for row in rows]


def link(ws: Workspace, run: str, direction: Literal["in", "out"], name: str, digest: str) -> None:
    """Note that a run read or made an artifact."""
    one = Link(run=run, direction=direction, name=name, digest=digest)
    insert_new(ws.engine, tables.links, to_row(one, project=ws.project))


def links(ws: Workspace, run: str) -> list[Link]:
    """What a run read and made."""
    return _links(ws, tables.links.c.run == run)


def users(ws: Workspace, digest: str) -> list[Link]:
    """Which runs read or made an artifact."""
    return _links(ws, tables.links.c.digest == digest)


def _links(ws: Workspace, condition: sa.ColumnElement[bool]) -> list[Link]:
    table = tables.links
    query = sa.select(table).where(table.c.project == ws.project, condition)
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.run, table.c.direction, table.c.name)).all()
    return [from_row(Link, row) for row in rows]
