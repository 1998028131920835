"""A source: the SQLite file of an MLflow server, read only. Its artifacts lie in a folder beside it."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from trimtab import hashing
from trimtab.errors import DataError
from trimtab.interop.mlflow.state import (
    ACTIVE,
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.transfer.mlruns import MODEL_STATUS, copy
from trimtab.interop.transfer.source import Owner, Skip, series_of
from trimtab.store.series.points import Series

_GREATEST: Final = sys.float_info.max
_AT_ONCE: Final = 100_000
_NEEDED: Final = ("experiments", "runs", "metrics", "params", "tags")


class Database:
    """A file of SQLite; raises DataError where it is none of MLflow's.

    Files are read below `artifacts`, or below the folder of the database, and nowhere else.
    """

    def __init__(self, path: Path, skip: Skip, *, artifacts: Path | None = None) -> None:
        self.about = str(path.resolve())
        self._skip = skip
        self._home = path.resolve().parent
        self._artifacts = artifacts.resolve() if artifacts else None
        self._roots: dict[str, Path] = {}
        self._db = sqlite3.connect(f"file:{quote(self.about)}?mode=ro", uri=True)
        self._db.row_factory = sqlite3.Row
        try:
            self._tables = self._known(path)
        except DataError:
            self.close()
            raise

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment, deleted ones too."""
        for row in self._all("SELECT * FROM experiments ORDER BY experiment_id"):
            yield Experiment(
                number=int(row["experiment_id"]),
                name=str(row["name"]),
                location=str(row["artifact_location"] or ""),
                created=int(row["creation_time"] or 0),
                updated=int(row["last_update_time"] or 0),
                stage=str(row["lifecycle_stage"] or ACTIVE),
                tags=self._pairs("experiment_tags", "experiment_id", row["experiment_id"]),
            )

    def runs(self, experiment: Experiment) -> Iterator[tuple[TrackedRun, str]]:
        """The runs of an experiment."""
        query = "SELECT * FROM runs WHERE experiment_id = ? ORDER BY start_time, run_uuid"
        for row in self._all(query, experiment.number):
            run = str(row["run_uuid"])
            tags = self._pairs("tags", "run_uuid", run)
            fields = row.keys()
            one = TrackedRun(
                id=run,
                experiment=experiment.number,
                name=str(row["name"] or tags.get("mlflow.runName", "")),
                user=str(row["user_id"] or ""),
                start=int(row["start_time"] or 0),
                location=str(row["artifact_uri"] or ""),
                status=str(row["status"] or "RUNNING"),
                stage=str(row["lifecycle_stage"] or ACTIVE),
                end=row["end_time"] or None,
                deleted=int(row["deleted_time"] or 0) if "deleted_time" in fields else 0,
                params=self._pairs("params", "run_uuid", run),
                tags=tags,
                inputs=self._inputs(run),
                outputs=self._outputs(run),
            )
            yield one, self._mark(one)

    def keys(self, run: TrackedRun) -> list[str]:
        """The names of a run's series."""
        query = "SELECT DISTINCT key FROM metrics WHERE run_uuid = ? ORDER BY key"
        return [row["key"] for row in self._all(query, run.id)]

    def points(self, run: TrackedRun, key: str) -> Iterator[Series]:
        """The points of a series, in parts; the greatest number is an infinity."""
        query = "SELECT step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ?"
        with self._readable():
            cursor = self._db.execute(query, (run.id, key))
            while rows := cursor.fetchmany(_AT_ONCE):
                values = np.array([row["value"] for row in rows], dtype=np.float64)
                values[np.array([bool(row["is_nan"]) for row in rows])] = np.nan
                values[values >= _GREATEST] = np.inf
                values[values <= -_GREATEST] = -np.inf
                steps, times = ([row[name] for row in rows] for name in ("step", "timestamp"))
                yield series_of(steps, times, values)

    def models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """The logged models of an experiment."""
        if "logged_models" not in self._tables:
            return
        query = "SELECT * FROM logged_models WHERE experiment_id = ? ORDER BY creation_timestamp_ms"
        for row in self._all(query, experiment.number):
            model = str(row["model_id"])
            yield LoggedModel(
                id=model,
                experiment=experiment.number,
                name=str(row["name"]),
                location=str(row["artifact_location"]),
                created=int(row["creation_timestamp_ms"]),
                updated=int(row["last_updated_timestamp_ms"]),
                kind=str(row["model_type"] or ""),
                run=str(row["source_run_id"] or ""),
                status=MODEL_STATUS.get(int(row["status"]), MODEL_STATUS[1]),
                stage=str(row["lifecycle_stage"] or ACTIVE),
                params=self._pairs(
                    "logged_model_params", "model_id", model, "param_key", "param_value"
                ),
                tags=self._pairs("logged_model_tags", "model_id", model, "tag_key", "tag_value"),
                metrics=[_measured(one, model) for one in self._all(
                    "SELECT * FROM logged_model_metrics WHERE model_id = ?", model)],
            )  # fmt: skip

    def registered(self) -> Iterator[tuple[Registered, list[RegisteredVersion]]]:
        """The registered models and their versions."""
        if "registered_models" not in self._tables:
            return
        for row in self._all("SELECT * FROM registered_models ORDER BY name"):
            name = str(row["name"])
            aliases = (
                self._pairs("registered_model_aliases", "name", name, "alias", "version")
                if "registered_model_aliases" in self._tables
                else {}
            )
            versions = [
                self._version(one)
                for one in self._all(
                    "SELECT * FROM model_versions WHERE name = ? ORDER BY version", name
                )
                if one["current_stage"] != "Deleted_Internal"
            ]
            yield (
                Registered(
                    name=name,
                    created=int(row["creation_time"] or 0),
                    updated=int(row["last_updated_time"] or 0),
                    description=row["description"],
                    tags=self._pairs("registered_model_tags", "name", name),
                    aliases={alias: int(number) for alias, number in aliases.items()},
                ),
                versions,
            )

    def files(self, owner: Owner) -> Iterator[tuple[str, int]]:
        """Path and size of every file in the folder of its artifacts."""
        found = self._place(owner)
        if found is None:
            reason = f"they are at {owner.location[:200]}: name the folder with --artifacts"
            self._skip("files", owner.id, reason)
            return
        root, home = found
        self._roots[owner.id] = home
        for path in sorted(home.rglob("*")) if home.is_dir() else ():
            if not path.resolve().is_relative_to(root):
                self._skip("file", str(path.relative_to(root)), "it is a link out of the folder")
            elif path.is_file():
                yield path.relative_to(home).as_posix(), path.stat().st_size

    def fetch(self, owner: Owner, path: str, into: Path) -> None:
        """Copy a file."""
        home = self._roots[owner.id]
        copy(home / path, into, home)

    def traces(self, experiment: Experiment) -> int:
        """How many traces an experiment has."""
        if "trace_info" not in self._tables:
            return 0
        query = "SELECT count(*) AS n FROM trace_info WHERE experiment_id = ?"
        return int(self._all(query, experiment.number)[0]["n"])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _known(self, path: Path) -> set[str]:
        try:
            rows = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            found = {str(row["name"]) for row in rows}
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path} is no database of SQLite: {error}") from error
        missing = [name for name in _NEEDED if name not in found]
        if missing:
            raise DataError(f"{path} is no database of MLflow's: it has no table {missing[0]!r}")
        return found

    def _place(self, owner: Owner) -> tuple[Path, Path] | None:
        """The folder that all files are below, and that of the owner; None where they are elsewhere."""
        parts = urlsplit(owner.location)
        path = unquote(parts.path)
        if not path.strip("/."):
            return None  # nobody's own folder, but that of everything
        if parts.scheme == "mlflow-artifacts":
            roots = [self._artifacts] if self._artifacts else self._beside()
            return next(
                ((root, root / path.strip("/")) for root in roots
                 if (root / path.strip("/")).resolve().is_relative_to(root)), None,
            )  # fmt: skip
        if parts.scheme not in ("", "file"):
            return None
        where = (self._home / path).resolve()
        for root in [self._artifacts or self._home, self._home]:
            if where.is_relative_to(root):
                return root, where
        return None

    def _beside(self) -> list[Path]:
        """Where a server keeps what it proxies when it is not told otherwise."""
        found = [self._home / name for name in ("mlartifacts", "artifacts")]
        return [one for one in found if one.is_dir()]

    def _version(self, row: sqlite3.Row) -> RegisteredVersion:
        source, name, number = str(row["source"] or ""), str(row["name"]), int(row["version"])
        tags = self._all(
            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", name, number
        )
        fields = row.keys()
        return RegisteredVersion(
            name=name,
            number=number,
            source=source,
            created=int(row["creation_time"] or 0),
            updated=int(row["last_updated_time"] or 0),
            run=str(row["run_id"] or ""),
            run_link=str(row["run_link"] or ""),
            description=row["description"],
            stage=str(row["current_stage"] or "None"),
            model=source.removeprefix("models:/") if source.startswith("models:/m-") else "",
            location=str(row["storage_location"] or "") if "storage_location" in fields else "",
            tags={one["key"]: one["value"] or "" for one in tags},
        )

    def _inputs(self, run: str) -> list[dict[str, Any]]:
        if "inputs" not in self._tables:
            return []
        query = (
            "SELECT i.input_uuid, d.* FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id "
            "WHERE i.source_type = 'DATASET' AND i.destination_id = ?"
        )
        found = []
        for row in self._all(query, run):
            dataset = {
                "name": row["name"], "digest": row["digest"],
                "source_type": row["dataset_source_type"], "source": row["dataset_source"],
                "schema": row["dataset_schema"], "profile": row["dataset_profile"],
            }  # fmt: skip
            tags = self._pairs("input_tags", "input_uuid", row["input_uuid"], "name", "value")
            part: dict[str, Any] = {
                "dataset": {key: str(value) for key, value in dataset.items() if value is not None}
            }
            if tags:
                part["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
            found.append(part)
        return found

    def _outputs(self, run: str) -> list[dict[str, Any]]:
        if "inputs" not in self._tables:
            return []
        query = (
            "SELECT * FROM inputs WHERE source_type = 'RUN_OUTPUT' AND source_id = ? "
            "AND destination_type = 'MODEL_OUTPUT'"
        )
        rows = self._all(query, run)
        return [{"model_id": row["destination_id"], "step": _step(row)} for row in rows]

    def _mark(self, run: TrackedRun) -> str:
        query = (
            "SELECT key, value, timestamp, step FROM latest_metrics WHERE run_uuid = ? ORDER BY key"
        )
        last = [[str(one) for one in row] for row in self._all(query, run.id)]
        told = [run.name, run.status, run.end, run.params, run.tags, run.inputs, run.outputs, last]
        return hashing.object_digest("key", told)

    def _pairs(
        self, table: str, column: str, key: Any, name: str = "key", value: str = "value"
    ) -> dict[str, str]:
        # the names are those of this module, never of the file
        query = f"SELECT {name} AS k, {value} AS v FROM {table} WHERE {column} = ? ORDER BY {name}"  # noqa: S608
        return {str(row["k"]): str(row["v"] or "") for row in self._all(query, key)}

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._readable():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(
                f"{self.about} cannot be read: {error}",
                hint="`mlflow db upgrade` brings an old database up to date",
            ) from error


def _measured(row: sqlite3.Row, model: str) -> dict[str, Any]:
    found = {"key": row["metric_name"], "value": _value(row["metric_value"]),
             "timestamp": row["metric_timestamp_ms"], "step": row["metric_step"],
             "model_id": model, "run_id": row["run_id"]}  # fmt: skip
    if row["dataset_name"]:
        found |= {
            "dataset_name": row["dataset_name"],
            "dataset_digest": row["dataset_digest"] or "",
        }
    return found


def _value(value: float | None) -> float:
    if value is None:
        return float("nan")
    return float("inf") if value >= _GREATEST else float("-inf") if value <= -_GREATEST else value


def _step(row: sqlite3.Row) -> int:
    return int(row["step"]) if "step" in row.keys() else 0  # noqa: SIM118 - a row is no mapping
