"""Which runs are meant: all kinds of runs as records of MLflow, and a filter over them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from trimtab.errors import NotFoundError, UsageError
from trimtab.interop.mlflow import filters, rows
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import TrackedRun
from trimtab.store import deleted as deletion
from trimtab.store import tables, tracked
from trimtab.store.database import from_row
from trimtab.store.records import Run, RunStatus
from trimtab.store.series import reading
from trimtab.store.workspace import Workspace

STATUS: Final[dict[RunStatus, str]] = {
    "running": "RUNNING",
    "done": "FINISHED",
    "cached": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}


def where(ws: Workspace, text: str, *, deleted: bool = False) -> list[str]:
    """The ids of runs that a filter of MLflow's grammar keeps; raises UsageError.

    Only the deleted ones, or only the others.
    """
    try:
        keeps = filters.runs(text)
    except Fault as fault:
        raise UsageError(f"--where cannot be read: {fault}") from fault
    table = tables.runs
    condition = deletion.is_deleted() if deleted else ~deletion.is_deleted()
    query = sa.select(table).where(table.c.project == ws.project, condition)
    own = {row["run"]: rows.to_tracked(row) for row in tracked.runs(ws)}
    with ws.reading() as db:
        found = [from_row(Run, row) for row in db.execute(query.order_by(table.c.id))]
    return [run.id for run in found if keeps(_seen(ws, run, own.get(run.id)))]


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
        status=STATUS[run.status],
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


def _seen(ws: Workspace, run: Run, own: TrackedRun | None) -> TrackedRun:
    found = as_tracked(run, own)
    if not found.is_summed:
        found.metrics = {
            key: (value, time // 1000, step)
            for key, (step, time, value) in reading.latest(ws, run.id).items()
        }
    return found
