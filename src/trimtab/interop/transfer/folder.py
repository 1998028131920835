"""A source: a folder `mlruns` as MLflow's file store writes it.

YAML is read safely, no link out of the folder is followed, and a line of a metric that is torn or no
point is listed with its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import NoneType
from typing import Any, Final

from trimtab import hashing
from trimtab.errors import DataError, StorageError
from trimtab.interop.mlflow.state import (
    ACTIVE,
    DELETED,
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.transfer.mlruns import (
    META,
    MODEL_STATUS,
    MODELS,
    STATUS,
    TRASH,
    copy,
    fields,
    integer,
)
from trimtab.interop.transfer.source import Owner, Skip, series_of
from trimtab.store.series.points import Series

_TEXT: Final = 32 << 20
_SCALARS: Final = (str, int, float, NoneType, date)
Line = tuple[int, float, int]


class Folder:
    """A folder; raises DataError where it is none of MLflow's."""

    def __init__(self, path: Path, skip: Skip) -> None:
        self.root = path.resolve()
        self.about = str(self.root)
        self._skip = skip
        self._places: dict[str, Path] = {}
        if not any(True for _ in self._experiment_folders()):
            raise DataError(
                f"{path} is no folder of MLflow's: no folder in it holds a {META}",
                hint="give the folder mlruns itself",
            )

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment, those in the trash too."""
        for folder in self._experiment_folders():
            found = self._read(folder / META, "experiment")
            if found is None:
                continue
            number = str(found.get("experiment_id", folder.name))
            if not number.isdecimal():
                self._skip("experiment", number[:100], "its id is no number")
                continue
            self._places[f"experiment {int(number)}"] = folder
            yield Experiment(
                number=int(number),
                name=str(found.get("name", folder.name)),
                location=str(found.get("artifact_location", "")),
                created=integer(found.get("creation_time")),
                updated=integer(found.get("last_update_time")),
                stage=DELETED if folder.parent.name == TRASH else ACTIVE,
                tags=self._texts(folder / "tags", "experiment tag"),
            )

    def runs(self, experiment: Experiment) -> Iterator[tuple[TrackedRun, str]]:
        """The runs of an experiment."""
        home = self._places[f"experiment {experiment.number}"]
        for folder in self._folders(home):
            if folder.name in ("tags", "datasets", "traces", MODELS) or not self._has_meta(folder):
                continue
            found = self._read(folder / META, "run")
            if found is None:
                continue
            run = str(found.get("run_id") or found.get("run_uuid") or folder.name)
            self._places[run] = folder
            one = self._run(folder, run, experiment.number, found)
            yield one, self._mark(folder, one)

    def keys(self, run: TrackedRun) -> list[str]:
        """The names of a run's series."""
        folder = self._places[run.id] / "metrics"
        return [path.relative_to(folder).as_posix() for path in self._inner(folder, "metric")]

    def points(self, run: TrackedRun, key: str) -> Iterator[Series]:
        """The points of a series, as one."""
        found = self._lines(self._places[run.id] / "metrics" / key)
        if found:
            times, values, steps = zip(*found, strict=True)
            yield series_of(steps, times, values)

    def models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """The logged models of an experiment."""
        home = self._places[f"experiment {experiment.number}"] / MODELS
        for folder in self._folders(home):
            found = self._read(folder / META, "logged model") if self._has_meta(folder) else None
            if found is None:
                continue
            model = str(found.get("model_id", folder.name))
            self._places[model] = folder
            metrics = [point for path in self._inner(folder / "metrics", "metric")
                       for point in self._model_points(folder, path, model)]  # fmt: skip
            yield LoggedModel(
                id=model,
                experiment=experiment.number,
                name=str(found.get("name", model)),
                location=str(found.get("artifact_location", "")),
                created=integer(found.get("creation_timestamp")),
                updated=integer(found.get("last_updated_timestamp")),
                kind=str(found.get("model_type") or ""),
                run=str(found.get("source_run_id") or ""),
                status=MODEL_STATUS.get(integer(found.get("status")), MODEL_STATUS[1]),
                stage=str(found.get("lifecycle_stage") or ACTIVE),
                params=self._texts(folder / "params", "model param"),
                tags=self._texts(folder / "tags", "model tag"),
                metrics=metrics,
            )

    def registered(self) -> Iterator[tuple[Registered, list[RegisteredVersion]]]:
        """The registered models and their versions."""
        for folder in self._folders(self.root / MODELS):
            found = self._read(folder / META, "registered model")
            if found is None:
                continue
            versions = []
            for inner in self._folders(folder):
                if inner.name.startswith("version-"):
                    one = self._version(inner, str(found.get("name", folder.name)))
                    versions += [one] if one else []
            aliases = self._texts(folder / "aliases", "alias")
            known = {one.number for one in versions}
            yield (
                Registered(
                    name=str(found.get("name", folder.name)),
                    created=integer(found.get("creation_timestamp")),
                    updated=integer(found.get("last_updated_timestamp")),
                    description=found.get("description"),
                    tags=self._texts(folder / "tags", "model tag"),
                    aliases={
                        alias: int(number)
                        for alias, number in aliases.items()
                        if number.strip().isdecimal() and int(number) in known
                    },
                ),
                sorted(versions, key=lambda one: one.number),
            )

    def files(self, owner: Owner) -> Iterator[tuple[str, int]]:
        """Path and size of every file that lies in the folder."""
        home = self._places[owner.id] / "artifacts"
        if not home.is_dir():
            if owner.location and not owner.location.startswith(
                ("file:", "/", "mlflow-artifacts:")
            ):
                self._skip("files", owner.id, f"they are at {owner.location[:200]}")
            return
        for path in self._inner(home, "file"):
            yield path.relative_to(home).as_posix(), path.stat().st_size

    def fetch(self, owner: Owner, path: str, into: Path) -> None:
        """Copy a file."""
        copy(self._places[owner.id] / "artifacts" / path, into, self.root)

    def traces(self, experiment: Experiment) -> int:
        """How many traces an experiment has."""
        folder = self._places[f"experiment {experiment.number}"] / "traces"
        return sum(1 for _ in self._folders(folder))

    def close(self) -> None:
        """Nothing is open."""

    def _experiment_folders(self) -> Iterator[Path]:
        for above in (self.root, self.root / TRASH):
            for folder in self._folders(above):
                if folder.name not in (TRASH, MODELS) and self._has_meta(folder):
                    yield folder

    def _run(self, folder: Path, run: str, experiment: int, found: dict[str, Any]) -> TrackedRun:
        tags = self._texts(folder / "tags", "tag")
        end = integer(found.get("end_time"))
        stage = str(found.get("lifecycle_stage") or ACTIVE)
        return TrackedRun(
            id=run,
            experiment=experiment,
            name=str(found.get("run_name") or found.get("name") or tags.get("mlflow.runName", "")),
            user=str(found.get("user_id") or ""),
            start=integer(found.get("start_time")),
            location=str(found.get("artifact_uri") or ""),
            status=STATUS.get(integer(found.get("status")), "RUNNING"),
            stage=stage,
            end=end or None,
            deleted=integer(found.get("deleted_time")) if stage == DELETED else 0,
            params=self._texts(folder / "params", "param"),
            tags=tags,
            inputs=self._inputs(folder),
            model_inputs=[],
            outputs=self._outputs(folder),
        )

    def _inputs(self, folder: Path) -> list[dict[str, Any]]:
        found = []
        for inner in self._folders(folder / "inputs"):
            one = self._read(inner / META, "input")
            if one is None or one.get("source_type") != "DATASET":
                continue
            name = Path(str(one.get("source_id", ""))).name
            dataset = self._read(folder.parent / "datasets" / name / META, "data set")
            if dataset is None:
                continue
            tags = one.get("tags") or {}
            part: dict[str, Any] = {
                "dataset": {key: str(value) for key, value in dataset.items() if value is not None}
            }
            if tags:
                part["tags"] = [{"key": str(key), "value": str(tags[key])} for key in tags]
            found.append(part)
        return found

    def _outputs(self, folder: Path) -> list[dict[str, Any]]:
        read = [self._read(inner / META, "output") for inner in self._folders(folder / "outputs")]
        return [
            {"model_id": str(one["destination_id"]), "step": integer(one.get("step"))}
            for one in read
            if one and one.get("destination_id")
        ]

    def _version(self, folder: Path, name: str) -> RegisteredVersion | None:
        found = self._read(folder / META, "model version")
        if found is None:
            return None
        return RegisteredVersion(
            name=name,
            number=integer(found.get("version")),
            source=str(found.get("source") or ""),
            created=integer(found.get("creation_timestamp")),
            updated=integer(found.get("last_updated_timestamp")),
            run=str(found.get("run_id") or ""),
            run_link=str(found.get("run_link") or ""),
            description=found.get("description"),
            stage=str(found.get("current_stage") or "None"),
            model=str(found.get("model_id") or ""),
            location=str(found.get("storage_location") or ""),
            tags=self._texts(folder / "tags", "version tag"),
        )

    def _model_points(self, folder: Path, path: Path, model: str) -> list[dict[str, Any]]:
        """The last point of each data set and run."""
        last: dict[tuple[str, ...], dict[str, Any]] = {}
        for parts in self._parts(path, (4, 6)):
            point = {"key": path.relative_to(folder / "metrics").as_posix(), "value": parts[1],
                     "timestamp": parts[0], "step": parts[2], "model_id": model,
                     "run_id": parts[3]}  # fmt: skip
            if len(parts) == 6:
                point |= {"dataset_name": parts[4], "dataset_digest": parts[5]}
            known = last.get(parts[3:])
            if known is None or (known["step"], known["timestamp"]) <= (parts[2], parts[0]):
                last[parts[3:]] = point
        return list(last.values())

    def _lines(self, path: Path) -> list[Line]:
        return [
            (parts[0], parts[1], parts[2] if len(parts) > 2 else 0)
            for parts in self._parts(path, (2, 3, 5))
        ]

    def _parts(self, path: Path, counts: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
        """The fields of each line: time, value, step and what follows; what is none is listed."""
        wrong, first = 0, ""
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                found = fields(line, counts)
                if found is not None:
                    yield found
                elif line.strip():
                    wrong += 1
                    shown = line[:60].decode("utf-8", "replace").strip()
                    first = first or f"line {number} is no point: {shown!r}"
        if wrong:
            more = f", and {wrong - 1} lines more" if wrong > 1 else ""
            self._skip("points", str(path.relative_to(self.root)), f"{first}{more}")

    def _mark(self, folder: Path, run: TrackedRun) -> str:
        """The run, and when and how long each of its metrics was."""
        sizes = {}
        for path in self._inner(folder / "metrics", ""):
            found = path.stat()
            sizes[path.name] = [found.st_size, found.st_mtime_ns]
        told = [run.name, run.status, run.end, run.params, run.tags, run.inputs, run.outputs, sizes]
        return hashing.object_digest("key", told)

    def _texts(self, folder: Path, what: str) -> dict[str, str]:
        found = {}
        for path in self._inner(folder, what):
            name = path.relative_to(folder).as_posix()
            try:
                with path.open("rb") as stream:
                    found[name] = stream.read(_TEXT).decode()
            except (OSError, UnicodeDecodeError) as error:
                self._skip(what, f"{folder.parent.name}/{name}", f"it cannot be read: {error}")
        return found

    def _read(self, path: Path, what: str) -> dict[str, Any] | None:
        # the one place that reads YAML
        import yaml  # noqa: PLC0415

        name = str(path.relative_to(self.root))
        if not self._inside(path):
            self._skip(what, name, "it is a link out of the folder")
            return None
        try:
            with path.open("rb") as stream:
                found = yaml.safe_load(stream.read(_TEXT))
        except (OSError, yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
            told = " ".join(str(error).split())[:200]
            self._skip(what, name, f"it cannot be read: {told}")
            return None
        if not isinstance(found, dict):
            self._skip(what, name, "it holds no fields")
            return None
        return {key: value for key, value in found.items() if _is_field(key, value)}

    def _folders(self, above: Path) -> Iterator[Path]:
        try:
            items = sorted(above.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StorageError(f"cannot read {above}: {error.strerror}") from error
        for item in items:
            if item.is_dir():
                if self._inside(item):
                    yield item
                else:
                    name = str(item.relative_to(self.root))
                    self._skip("folder", name, "it is a link out of the folder")

    def _inner(self, folder: Path, what: str) -> list[Path]:
        """Every file below a folder; with `what`, links out of it are listed."""
        found: list[Path] = []
        for above, folders, names in os.walk(folder):
            here = Path(above)
            for name in [*folders, *names]:
                if not self._inside(here / name):
                    if what:
                        shown = str((here / name).relative_to(self.root))
                        self._skip(what, shown, "it is a link out of the folder")
                elif name in names and (here / name).is_file():
                    found.append(here / name)
        return sorted(found)

    def _inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # a link to itself
            return False

    def _has_meta(self, folder: Path) -> bool:
        return (folder / META).is_file()


def _is_field(key: Any, value: Any) -> bool:
    """Whether it is one that MLflow writes: what is nested deeper may be endless as a text."""
    inner = list(value.values()) if isinstance(value, dict) else [value]
    return isinstance(key, str) and all(isinstance(one, _SCALARS) for one in inner)
