"""What a collection of deleted runs takes: which runs go and which stay, their rows, files and bytes.

It only looks. What a run names may be named by others too: `trimtab.store.named` says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from trimtab.errors import IntegrityError
from trimtab.store import deleted, tables
from trimtab.store.collected import Doomed, Kept
from trimtab.store.records import Run
from trimtab.store.statements import in_parts
from trimtab.store.workspace import Workspace
from trimtab.track import merge, process, spool
from trimtab.track.frames import Reader

NOTES: Final = "collecting"
"""The state that says what a collection which is not over has taken."""
_LOCATION: Final = "mlflow-artifacts:/"


def runs(ws: Workspace, before: int) -> tuple[list[tuple[Run, int]], list[Kept]]:
    """Runs that were deleted until a moment and go, inner ones first, each with the moment of its
    deletion; and those that stay.
    """
    gone = {run: at for run, at in deleted.find(ws).items() if at <= before}
    found = {run.id: run for run in deleted.load(ws, gone)}
    reasons = needed(ws, found)
    for id_, run in found.items():
        if run.status == "running" and run.pid and process.is_alive(run):
            reasons.setdefault(id_, Kept(run=id_, reason="it is running"))
    for id_, inner in deleted.inside(ws, found).items():
        stays = next((one for one in inner[1:] if one in reasons or one not in found), None)
        if stays is not None:
            reasons.setdefault(id_, Kept(run=id_, reason=f"run {stays} inside it stays"))
    order = deleted.within(ws, sorted(found))
    return (
        [(found[id_], gone[id_]) for id_ in reversed(order) if id_ in found and id_ not in reasons],
        [reasons[id_] for id_ in found if id_ in reasons],
    )


def needed(ws: Workspace, runs: Collection[str]) -> dict[str, Kept]:
    """Those of the runs that made what is in use, or that somebody will be told about."""
    reasons = {one.run: one for one in deleted.guarded(ws, runs)}
    for id_, reason in _named_runs(ws).items():
        if id_ in runs:
            reasons.setdefault(id_, Kept(run=id_, reason=reason))
    return reasons


def _named_runs(ws: Workspace) -> dict[str, str]:
    """Runs that made a version, or that an action is of, for whom `why` is asked."""
    found: dict[str, str] = {}
    versions, actions = tables.versions, tables.actions
    with ws.reading() as db:
        query = sa.select(actions.c.kind, actions.c.result).where(actions.c.project == ws.project)
        for kind, result in db.execute(query):
            run = result.get("run", "") if isinstance(result, dict) else ""
            if isinstance(run, str) and run:
                found[run] = f"it is the result of the action {kind!r}"
        query = sa.select(versions).where(versions.c.project == ws.project)
        for row in db.execute(query):
            if row.run:
                found[row.run] = f"it made the {row.kind} version {row.name}@v{row.number}"
    return found


def measured(ws: Workspace, run: Run, at: int, places: dict[str, list[Path]]) -> Doomed:
    """A run's rows and bytes; `places` are the files of each run (`spools`)."""
    batches, chunks, length = tables.metric_batches, tables.metric_chunks, sa.func.length
    of_batches = sa.select(sa.func.count(), sa.func.sum(length(batches.c.body)))
    of_chunks = sa.select(
        sa.func.count(), sa.func.sum(length(chunks.c.body) + length(chunks.c.summary))
    )
    with ws.reading() as db:
        waiting, small = db.execute(
            of_batches.where(batches.c.project == ws.project, batches.c.run == run.id)
        ).one()
        kept, large = db.execute(
            of_chunks.where(chunks.c.project == ws.project, chunks.c.run == run.id)
        ).one()
        files = len(stored(db, ws, run.id))
    own = places.get(run.id, [])
    beside = sum(path.stat().st_size for path in own if path.is_file())
    return Doomed(
        run=run.id, kind=run.kind, name=run.name, deleted_at=at, batches=waiting, chunks=kept,
        files=files, spools=len(own), bytes=(small or 0) + (large or 0) + beside,
    )  # fmt: skip


def stored(db: sa.Connection, ws: Workspace, run: str) -> list[Any]:
    """The stored files of a run of MLflow's clients."""
    own = tables.tracked_runs
    query = sa.select(own.c.body).where(own.c.project == ws.project, own.c.run == run)
    body = db.execute(query).scalar()
    return below(db, ws, str((body or {}).get("location", "")))


def below(db: sa.Connection, ws: Workspace, location: str) -> list[Any]:
    """The stored files below a location."""
    if not location.startswith(_LOCATION):
        return []
    table, root = tables.stored_files, location.removeprefix(_LOCATION).strip("/")
    inside = (table.c.path > f"{root}/") & (table.c.path < f"{root}0")  # "0" comes after "/"
    return list(db.execute(sa.select(table).where(table.c.project == ws.project, inside)))


def digests(ws: Workspace, runs: Collection[str], models: Collection[str]) -> set[tuple[str, str]]:
    """Run, or "" for a model, and each digest that it names."""
    found: set[tuple[str, str]] = set()
    wanted = list(runs)
    for run in deleted.load(ws, wanted):
        found |= {(run.id, digest) for digest in (run.code, run.environment) if digest}
    with ws.reading() as db:
        for part in in_parts(wanted):
            for table in (tables.links, tables.artifacts):
                query = sa.select(table.c.run, table.c.digest)
                mine = query.where(table.c.project == ws.project, table.c.run.in_(part))
                found |= {(id_, digest) for id_, digest in db.execute(mine)}
            steps = sa.select(tables.steps.c.run, tables.steps.c.outputs).where(
                tables.steps.c.project == ws.project, tables.steps.c.run.in_(part)
            )
            found |= {(id_, digest) for id_, made in db.execute(steps) for digest in made}
        for id_ in wanted:
            found |= {(id_, row.digest) for row in stored(db, ws, id_)}
        for row in model_rows(db, ws, models):
            found |= {("", one.digest) for one in below(db, ws, str(row.body["location"]))}
            found |= {("", digest) for digest in [row.body.get("digest", "")] if digest}
    return found


class Leaves:
    """Rows that do not count as naming anything: those that go, and the notes of who collects."""

    def __init__(self, ws: Workspace, runs: Collection[str], models: Collection[str]) -> None:
        self._project, self._runs, self._models = ws.project, set(runs), set(models)
        with ws.reading() as db:
            self._paths = {row.path for run in runs for row in stored(db, ws, run)}
            for row in model_rows(db, ws, models):
                self._paths |= {one.path for one in below(db, ws, str(row.body["location"]))}

    def __call__(self, table: str, row: Any) -> bool:
        """Whether a row does not count."""
        if getattr(row, "project", "") != self._project:
            return False
        match table:
            case "runs":
                return row.id in self._runs
            case "links" | "tracked_runs" | "steps" | "artifacts":
                return row.run in self._runs
            case "stored_files":
                return row.path in self._paths
            case "logged_models":
                return row.id in self._models
            case "states":
                return str(row.name) == NOTES
        return False


def empty_experiments(ws: Workspace, before: int, gone: Collection[str]) -> list[tuple[int, str]]:
    """Number and name of deleted experiments that nothing is left in but runs that go."""
    table, own = tables.experiments, tables.tracked_runs
    logged = tables.logged_models
    with ws.reading() as db:
        of_runs = sa.select(own.c.experiment, own.c.run).where(own.c.project == ws.project)
        used = {number for number, run in db.execute(of_runs) if run not in gone}
        of_models = sa.select(logged.c.experiment).where(
            logged.c.project == ws.project, logged.c.stage != deleted.DELETED
        )
        used |= set(db.execute(of_models).scalars())
        query = sa.select(table).where(
            table.c.project == ws.project, table.c.stage == deleted.DELETED
        )
        return [
            (row.id, row.name)
            for row in db.execute(query)
            if row.id and row.id not in used and int(row.body["updated"]) * 1000 <= before
        ]


def models(ws: Workspace, before: int) -> set[str]:
    """Deleted models of MLflow's clients that no registered version is of."""
    table, versions = tables.logged_models, tables.registered_versions
    with ws.reading() as db:
        bodies = sa.select(versions.c.body).where(versions.c.project == ws.project)
        used = {body.get("model", "") for body in db.execute(bodies).scalars()}
        query = sa.select(table).where(
            table.c.project == ws.project, table.c.stage == deleted.DELETED
        )
        return {
            row.id
            for row in db.execute(query)
            if row.id not in used and int(row.body["updated"]) * 1000 <= before
        }


def model_rows(db: sa.Connection, ws: Workspace, models: Iterable[str]) -> list[Any]:
    """The rows of logged models."""
    table = tables.logged_models
    query = sa.select(table).where(table.c.project == ws.project)
    wanted = set(models)
    return [row for row in db.execute(query) if row.id in wanted] if wanted else []


def spools(ws: Workspace) -> dict[str, list[Path]]:
    """The spools of each run, and what it printed."""
    found: dict[str, list[Path]] = {}
    for path in spool.found(ws.root / merge.FOLDER):
        with contextlib.suppress(FileNotFoundError, IntegrityError):
            found.setdefault(Reader(path).begin.run["id"], []).append(path)
    for path in (ws.root / "logs").glob("run-*.log"):
        found.setdefault(path.stem.removeprefix("run-"), []).append(path)
    return found
