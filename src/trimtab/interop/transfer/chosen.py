"""Which runs are meant: those that a filter keeps, and all kinds of runs as records of MLflow."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from trimtab.errors import NotFoundError
from trimtab.interop.mlflow import rows
from trimtab.interop.mlflow.state import TrackedRun
from trimtab.store import deleted as deletion
from trimtab.store import tables
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace
from trimtab.track.search import finding
from trimtab.track.search.finding import Wanted


def where(ws: Workspace, text: str, *, deleted: bool = False) -> list[str]:
    """The ids of runs that a filter keeps (docs/search.md); raises QueryError.

    Only the deleted ones, or only the others.
    """
    table, places = finding.every(ws, Wanted(where=text, deleted=deleted))
    gone = deletion.find(ws)
    ids = [table.records[place].id for place in places.tolist()]
    return [run for run in ids if (run in gone) == deleted]


def of_experiment(ws: Workspace, name: str) -> list[str]:
    """The runs of an experiment that is not deleted; raises NotFoundError."""
    table, own = tables.experiments, tables.tracked_runs
    query = (
        sa.select(own.c.run, own.c.stage)
        .join(table, (table.c.id == own.c.experiment) & (table.c.project == own.c.project))
        .where(own.c.project == ws.project, table.c.name == name, table.c.stage == "active")
    )
    known = sa.select(table.c.id).where(
        table.c.project == ws.project, table.c.name == name, table.c.stage == "active"
    )
    with ws.reading() as db:
        if db.execute(known).first() is None:
            raise NotFoundError(f"there is no experiment {name!r}")
        return [run for run, stage in db.execute(query) if stage == "active"]


def stored(ws: Workspace, run: str) -> TrackedRun | None:
    """A tracked run by its id."""
    own, table = tables.tracked_runs, tables.runs
    query = (
        sa.select(own.c.run, own.c.experiment, own.c.stage, own.c.body)
        .add_columns(table.c.name, table.c.params, table.c.tags)
        .join(table, (table.c.id == own.c.run) & (table.c.project == own.c.project))
        .where(own.c.project == ws.project, own.c.run == run)
    )
    with ws.reading() as db:
        row = db.execute(query).mappings().first()
    return rows.to_tracked(dict(row)) if row else None


def as_tracked(run: Run, own: TrackedRun | None = None) -> TrackedRun:
    """A run of any kind as MLflow's clients would see it, without its points."""
    if own is not None:
        return own
    ended = run.ended_at // 1000 if run.ended_at else None
    return TrackedRun(
        id=run.id,
        experiment=-1,
        name=run.name,
        user="",
        start=run.started_at // 1000,
        location="",
        status=rows.WORDS[run.status],
        end=ended,
        params=flat(run.params),
        tags=flat(run.tags) | ({rows.PARENT: run.parent} if run.parent else {}),
    )


def flat(values: dict[str, Any], above: str = "") -> dict[str, str]:
    """Nested values as texts under paths with dots."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value if isinstance(value, str) else str(value)
    return found
