"""Deleted runs: they stay as they are until they are collected, and are listed only where asked for.

A run that a client of MLflow logged has a stage, which its client reads too; any other has a state
`deleted:ID`. Runs inside a deleted run go with it and come back with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError, RefusedError
from trimtab.store import outside, states, tables
from trimtab.store.collected import Kept
from trimtab.store.database import from_row
from trimtab.store.records import Run
from trimtab.store.statements import AT_ONCE, in_parts
from trimtab.store.workspace import Workspace

STATE: Final = "deleted:"
DELETED: Final = "deleted"
ACTIVE: Final = "active"
_DIGEST: Final = re.compile(r"blake3:[0-9a-f]{64}")


def is_deleted() -> sa.ColumnElement[bool]:
    """Whether a row of the table `runs` is that of a deleted run, as a condition of SQL."""
    table, own, other = tables.runs, tables.tracked_runs, tables.states
    tracked = sa.select(own.c.run).where(
        own.c.project == table.c.project, own.c.run == table.c.id, own.c.stage == DELETED
    )
    plain = sa.select(other.c.name).where(
        other.c.project == table.c.project, other.c.name == sa.literal(STATE) + table.c.id
    )
    return sa.exists(tracked) | sa.exists(plain)


def find(ws: Workspace) -> dict[str, int]:
    """Every deleted run and when it was deleted, in microseconds."""
    own = tables.tracked_runs
    query = sa.select(own.c.run, own.c.body).where(
        own.c.project == ws.project, own.c.stage == DELETED
    )
    with ws.reading() as db:
        found = {run: int(body.get("deleted") or 0) * 1000 for run, body in db.execute(query)}
    plain = states.find(ws, STATE)
    return found | {name.removeprefix(STATE): int(body["at"]) for name, body in plain.items()}


def within(ws: Workspace, runs: Iterable[str]) -> list[str]:
    """Runs with all that are inside them, outer ones first."""
    found = dict.fromkeys(runs)
    ahead = list(found)
    table = tables.runs
    with ws.reading() as db:
        while ahead:
            query = sa.select(table.c.id).where(
                table.c.project == ws.project, table.c.parent.in_(ahead[:AT_ONCE])
            )
            below = [run for run in db.execute(query).scalars() if run not in found]
            found.update(dict.fromkeys(below))
            ahead = ahead[AT_ONCE:] + below
    return list(found)


def inside(ws: Workspace, runs: Iterable[str]) -> dict[str, list[str]]:
    """Each of the runs with all that are inside it, outer ones first."""
    wanted = list(dict.fromkeys(runs))
    below: dict[str, list[str]] = {}
    for run in load(ws, within(ws, wanted)):
        below.setdefault(run.parent, []).append(run.id)
    found = {}
    for one in wanted:
        whole = {one: None}
        ahead = [one]
        while ahead:
            more = [run for run in below.get(ahead.pop(), ()) if run not in whole]
            whole.update(dict.fromkeys(more))
            ahead.extend(more)
        found[one] = list(whole)
    return found


def load(ws: Workspace, runs: Collection[str]) -> list[Run]:
    """The rows of runs; those that are not there are passed over."""
    table, wanted, found = tables.runs, list(runs), []
    with ws.reading() as db:
        for part in in_parts(wanted):
            query = sa.select(table).where(table.c.project == ws.project, table.c.id.in_(part))
            found += [from_row(Run, row) for row in db.execute(query)]
    return found


def delete(ws: Workspace, runs: Collection[str]) -> int:
    """Delete runs, all at one moment; returns it. Those that are deleted keep theirs."""
    now = ids.now() // 1000 * 1000  # a stage is dated in milliseconds
    with ws.transaction():
        gone = find(ws)
        fresh = [run for run in runs if run not in gone]
        tracked = _stage(ws, fresh, DELETED, now // 1000)
        for run in fresh:
            if run not in tracked:
                states.put(ws, STATE + run, {"at": now})
        if tracked:
            outside.note(ws)
    return now


def restore(ws: Workspace, runs: Collection[str]) -> None:
    """Take the deletion of runs back."""
    table = tables.states
    with ws.transaction() as tx:
        tracked = _stage(ws, list(runs), ACTIVE, 0)
        for run in runs:
            tx.execute(
                table.delete().where(table.c.project == ws.project, table.c.name == STATE + run)
            )
        if tracked:
            outside.note(ws)


def guarded(ws: Workspace, runs: Collection[str]) -> list[Kept]:
    """Runs that made a model which is in use, and how it is used."""
    wanted, found = set(runs), []
    uses = _uses(ws)
    homes = _locations(ws, wanted)
    table, registered = tables.versions, tables.registered_versions
    models = tables.logged_models
    query = sa.select(table).where(table.c.project == ws.project, table.c.kind == "model")
    with ws.reading() as db:
        for row in db.execute(query):
            if row.run in wanted and row.digest in uses:
                label = f"{row.name}@v{row.number}"
                found.append(
                    Kept(run=row.run, reason=f"it made the model {label}: {uses[row.digest]}")
                )
        logged = sa.select(models.c.id, models.c.body).where(models.c.project == ws.project)
        makers = {id_: body.get("run", "") for id_, body in db.execute(logged)}
        query = sa.select(registered).where(registered.c.project == ws.project)
        for row in db.execute(query):
            maker = row.body.get("run") or makers.get(row.body.get("model", ""), "")
            for run in {maker, *_sources(row.body, homes)} & wanted:
                reason = f"version {row.number} of the registered model {row.name!r} is of it"
                found.append(Kept(run=run, reason=reason))
    return found


def _sources(body: dict[str, Any], homes: dict[str, str]) -> Iterator[str]:
    """The runs that the files of a registered version are of, by where they lie."""
    for text in (str(body.get("location") or ""), str(body.get("source") or "")):
        parts = text.split("/")
        if parts[0] == "runs:" and len(parts) > 1:
            yield parts[1]
        yield from (homes.get("/".join(parts[:end]), "") for end in range(1, len(parts) + 1))


def _locations(ws: Workspace, runs: set[str]) -> dict[str, str]:
    """Where the files of tracked runs lie -> the run: a version may name no run, only its files."""
    own, wanted, found = tables.tracked_runs, sorted(runs), dict[str, str]()
    query = sa.select(own.c.run, own.c.body).where(own.c.project == ws.project)
    with ws.reading() as db:
        for part in in_parts(wanted):
            mine = query.where(own.c.run.in_(part))
            found |= {str(body.get("location", "")): run for run, body in db.execute(mine)}
    found.pop("", None)
    return found


def _uses(ws: Workspace) -> dict[str, str]:
    """Digests of models in use: behind an endpoint, in a rollout, under an alias."""
    found: dict[str, str] = {}
    refs, ends, rolls = tables.refs, tables.endpoints, tables.rollouts
    with ws.reading() as db:
        query = sa.select(refs).where(refs.c.project == ws.project, refs.c.kind == "alias:model")
        for row in db.execute(query):
            found[row.digest] = f"it has the alias {row.name}"
        query = sa.select(ends).where(ends.c.project == ws.project, ends.c.state != "retired")
        for row in db.execute(query):
            for digest in _DIGEST.findall(str(row.routes)):
                found[digest] = f"it is behind the endpoint {row.name}"
        query = sa.select(rolls).where(rolls.c.project == ws.project, rolls.c.state == "open")
        for row in db.execute(query):
            for digest in (row.candidate, row.champion):
                found.setdefault(digest, f"it is in a rollout on {row.endpoint}")
    return found


def _stage(ws: Workspace, runs: list[str], stage: str, moment: int) -> set[str]:
    """Give tracked runs another stage; returns which of the runs are tracked."""
    own: Any = tables.tracked_runs
    found: set[str] = set()
    with ws.transaction() as tx:
        for part in in_parts(runs):
            query = sa.select(own).where(own.c.project == ws.project, own.c.run.in_(part))
            for row in tx.execute(query).all():
                found.add(row.run)
                if row.stage == stage:
                    continue
                tx.execute(
                    own.update()
                    .where(own.c.project == ws.project, own.c.run == row.run)
                    .values(stage=stage, body={**row.body, "deleted": moment})
                )
    return found


def find_one(ws: Workspace, run: str) -> int | None:
    """When a run was deleted, in microseconds; None where it is not."""
    own = tables.tracked_runs
    query = sa.select(own.c.body).where(
        own.c.project == ws.project, own.c.run == run, own.c.stage == DELETED
    )
    with ws.reading() as db:
        body = db.execute(query).scalar()
    if body is not None:
        return int(body.get("deleted") or 0) * 1000
    state = states.get(ws, STATE + run)
    return None if state is None else int(state["at"])


def delete_experiment(ws: Workspace, name: str) -> list[str]:
    """Delete an experiment with its runs; its name is free again. Returns the runs.

    Raises NotFoundError, and RefusedError for the one that is always there.
    """
    table, own = tables.experiments, tables.tracked_runs
    with ws.transaction() as tx:
        query = sa.select(table).where(table.c.project == ws.project, table.c.name == name)
        row = tx.execute(query.where(table.c.stage == ACTIVE)).first()
        if row is None:
            raise NotFoundError(
                f"there is no experiment {name!r}", hint="see `trimtab runs ls` for what there is"
            )
        if row.id == 0:
            raise RefusedError(
                f"{name!r} is the experiment that is always there", hint="delete its runs instead"
            )
        inner = sa.select(own.c.run).where(
            own.c.project == ws.project, own.c.experiment == row.id, own.c.stage == ACTIVE
        )
        runs = list(tx.execute(inner).scalars())
        now = delete(ws, runs) // 1000
        _place(tx, ws, row, DELETED, now)
        outside.note(ws)
    return runs


def restore_experiment(ws: Workspace, name: str) -> list[str]:
    """Restore the experiment of that name that was deleted last, with the runs that went with it.

    Raises NotFoundError, and ConflictError where another has its name now.
    """
    table, own = tables.experiments, tables.tracked_runs
    with ws.transaction() as tx:
        query = sa.select(table).where(table.c.project == ws.project, table.c.name == name)
        rows = tx.execute(query).all()
        gone = [row for row in rows if row.stage == DELETED]
        if not gone:
            raise NotFoundError(f"there is no deleted experiment {name!r}")
        if len(gone) < len(rows):
            raise ConflictError(
                f"another experiment is called {name!r} now",
                hint="give that one another name first",
            )
        row = max(gone, key=lambda one: int(one.body["updated"]))
        moment = int(row.body["updated"])
        inner = sa.select(own.c.run, own.c.body).where(
            own.c.project == ws.project, own.c.experiment == row.id, own.c.stage == DELETED
        )
        runs = [run for run, body in tx.execute(inner) if body.get("deleted") == moment]
        restore(ws, runs)
        _place(tx, ws, row, ACTIVE, ids.now() // 1000)
        outside.note(ws)
    return runs


def _place(tx: sa.Connection, ws: Workspace, row: Any, stage: str, moment: int) -> None:
    table = tables.experiments
    tx.execute(
        table.update()
        .where(table.c.project == ws.project, table.c.id == row.id)
        .values(stage=stage, body={**row.body, "updated": moment})
    )
