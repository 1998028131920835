"""What leaves: runs of any kind as records of MLflow, with their points, files and models.

A run that MLflow's clients logged leaves as it is. Any other has its project as experiment, the paths
of its nested params with dots, and the artifacts that it made as files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from trimtab.errors import NotFoundError
from trimtab.interop.mlflow import files, limits, made, rows
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import (
    ACTIVE,
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.transfer import bytes_in, chosen
from trimtab.interop.transfer.tally import Tally
from trimtab.store import deleted, tables, tracked
from trimtab.store.records import Run
from trimtab.store.series import reading
from trimtab.store.series.points import Series
from trimtab.store.workspace import Workspace

_LONGEST: Final = {
    "param": limits.PARAM,
    "experiment tag": limits.EXPERIMENT_TAG,
    "version tag": limits.REGISTRY_TAG,
    "model tag of the registry": limits.REGISTRY_TAG,
}


@dataclass(frozen=True)
class Leaving:
    """A run that leaves, its experiment, and the paths of its files here."""

    run: TrackedRun
    experiment: Experiment
    files: dict[str, Path]


def ordered(ws: Workspace, wanted: list[str]) -> list[Run]:
    """The runs of those ids, outer ones before those inside them."""
    found = {run.id: run for run in deleted.load(ws, wanted)}
    done: dict[str, Run] = {}

    def add(run: Run) -> None:
        chain = [run]
        while chain[-1].parent in found and chain[-1].parent not in done:
            above = found[chain[-1].parent]
            if above in chain:  # a client may name any parent
                break
            chain.append(above)
        done.update({one.id: one for one in reversed(chain)})

    for run in found.values():
        if run.id not in done:
            add(run)
    return list(done.values())


def leaving(ws: Workspace, run: Run, tally: Tally) -> Leaving:
    """A run with its files; what MLflow has no name for is listed."""
    own = chosen.stored(ws, run.id)
    one = chosen.as_tracked(run, own)
    one = replace(
        one,
        params=_named(tally, one.id, one.params, "param"),
        tags=_named(tally, one.id, one.tags, "tag"),
    )
    if own is not None:
        experiment = _experiment(ws, own.experiment)
        own_tags = _named(tally, experiment.name, experiment.tags, "experiment tag")
        experiment = replace(experiment, tags=own_tags)
    else:
        experiment = Experiment(-1, ws.project_name, "", run.started_at // 1000, 0)
    return Leaving(one, experiment, _files(ws, run, own, tally))


def series(ws: Workspace, run: str, tally: Tally) -> Iterator[tuple[str, Series]]:
    """The series of a run whose names MLflow takes."""
    for key in reading.keys(ws, run):
        if not limits.is_name(key):
            tally.skip("series", f"{run}/{key[:100]}", "it is no name that MLflow takes")
            continue
        yield key, reading.read(ws, run, key)[key]


def models(
    ws: Workspace, wanted: set[str], tally: Tally
) -> list[tuple[LoggedModel, dict[str, Path]]]:
    """The logged models of runs, with their files."""
    found = []
    for row in tracked.load(ws, "logged_models"):
        one = rows.to_logged(row)
        if one.run not in wanted or one.stage != ACTIVE:
            continue
        kept = bytes_in.kept(ws, one.location)
        one.params = _named(tally, one.id, one.params, "model param")
        one.tags = _named(tally, one.id, one.tags, "model tag")
        one.metrics = [point for point in one.metrics if limits.is_name(str(point["key"]))]
        found.append((one, {path: ws.blobs.path(file.digest) for path, file in kept.items()}))
    return found


def registered(
    ws: Workspace, wanted: set[str], models: set[str], tally: Tally
) -> list[tuple[Registered, list[RegisteredVersion]]]:
    """The registered models with those of their versions that the runs or models made."""
    versions: dict[str, list[RegisteredVersion]] = {}
    for row in tracked.load(ws, "registered_versions"):
        one = rows.to_version(row)
        if one.run in wanted or one.model in models:
            label = f"{one.name} version {one.number}"
            one.tags = _named(tally, label, one.tags, "version tag")
            versions.setdefault(one.name, []).append(one)
    found = []
    for row in tracked.load(ws, "registered_models"):
        if row["name"] in versions:
            model = rows.to_registered(row)
            model.tags = _named(tally, model.name, model.tags, "model tag of the registry")
            found.append((model, versions[model.name]))
    return found


def _named(tally: Tally, owner: str, values: dict[str, str], what: str) -> dict[str, str]:
    """What of these has names that MLflow takes: its folder makes paths of them."""
    found = {}
    for key, value in values.items():
        most = _LONGEST.get(what, limits.TAG)
        if not limits.is_name(key):
            tally.skip(what, f"{owner}/{key[:100]}", "it is no name that MLflow takes")
        else:
            if len(value) > most:
                reason = f"MLflow takes {most:,} of its {len(value):,} characters"
                tally.skip(what, f"{owner}/{key}", reason)
            found[key] = value[:most]
    return found


def _experiment(ws: Workspace, number: int) -> Experiment:
    table = tables.experiments
    query = sa.select(table).where(table.c.project == ws.project, table.c.id == number)
    with ws.reading() as db:
        row: Any = db.execute(query).mappings().first()
    if row is None:
        return Experiment(-1, ws.project_name, "", 0, 0)
    return rows.to_experiment(dict(row))


def _files(ws: Workspace, run: Run, own: TrackedRun | None, tally: Tally) -> dict[str, Path]:
    if own is not None and own.location.startswith(files.PROXIED):
        kept = bytes_in.kept(ws, own.location)
        return {path: ws.blobs.path(file.digest) for path, file in kept.items()}
    return _placed(ws, run, tally)


def _placed(ws: Workspace, run: Run, tally: Tally) -> dict[str, Path]:
    """The artifacts that a run made, as files under their names."""
    known, without = made.files(ws, run.id)
    for name, reason in without.items():
        tally.skip("file", f"{run.id}/{name}", reason)
    found: dict[str, Path] = {}
    for path, (digest, _) in known.items():
        try:
            found[path] = ws.blobs.path(digest)
        except NotFoundError:
            tally.skip("file", f"{run.id}/{path[:200]}", "its bytes are gone")
    for path in list(found):
        try:
            files.checked(path)
        except Fault:
            tally.skip("file", f"{run.id}/{path[:200]}", "MLflow takes no such path")
            del found[path]
    return found
