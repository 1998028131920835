"""Runs to a folder `mlruns`, as MLflow's file store writes it: ids stay, and its client reads it.

A run is written beside its place and moved there whole; one that is there is left alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.errors import DataError, StorageError
from trimtab.interop.mlflow.state import (
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.transfer import leaving
from trimtab.interop.transfer.folder import Folder
from trimtab.interop.transfer.leaving import Leaving
from trimtab.interop.transfer.mlruns import META, MODEL_STATUS, MODELS, STATUS, TRASH
from trimtab.interop.transfer.tally import Tally
from trimtab.store.series.points import Series
from trimtab.store.workspace import Workspace

_STATUS: Final = {word: number for number, word in STATUS.items()}
_MODEL_STATUS: Final = {word: number for number, word in MODEL_STATUS.items()}


class Store:
    """One folder; raises DataError where there is another thing, StorageError where it is refused."""

    def __init__(self, ws: Workspace, path: Path, tally: Tally) -> None:
        self.ws, self.tally = ws, tally
        self.root = path.resolve()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            is_new = not any(self.root.iterdir())
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        if is_new:
            now = ids.now() // 1000
            self._experiment_folder(Experiment(0, "Default", "", now, now), "0")
        known = Folder(self.root, lambda *_: None)
        self._numbers = {one.name: str(one.number) for one in known.experiments()}
        self._homes: dict[str, Path] = {}

    def put(self, one: Leaving) -> None:
        """Write a run, where it is not there yet."""
        number = self._experiment(one.experiment)
        home = self._place(number) / one.run.id
        self._homes[one.run.id] = home
        if home.exists():
            self.tally.same += 1
            return
        staged = self.root / TRASH / f"staged-{ids.new_id()}"
        try:
            self._write(staged, home, one, number)
            staged.rename(home)
        except OSError as error:
            raise _refused(home, error) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        self.tally.runs += 1

    def put_model(self, model: LoggedModel, files: dict[str, Path], step: int) -> None:
        """Write a logged model, and that its run made it."""
        run = self._homes[model.run]
        home = run.parent / MODELS / model.id
        self._homes[model.id] = home
        made = {
            "source_type": "RUN_OUTPUT", "source_id": model.id, "destination_type": "MODEL_OUTPUT",
            "destination_id": model.id, "step": step, "tags": {},
        }  # fmt: skip
        try:
            _text(run / "outputs" / model.id / META, made)
            if home.exists():
                return
            staged = self.root / TRASH / f"staged-{ids.new_id()}"
            info = {
                "artifact_location": (home / "artifacts").as_uri(), "name": model.name,
                "creation_timestamp": model.created, "last_updated_timestamp": model.updated,
                "experiment_id": run.parent.name, "model_id": model.id,
                "model_type": model.kind or None, "source_run_id": model.run,
                "status": _MODEL_STATUS[model.status], "status_message": None,
            }  # fmt: skip
            _text(staged / META, info)
            for folder, values in (("params", model.params), ("tags", model.tags)):
                _texts(staged / folder, values)
            for point in model.metrics:
                _append(staged / "metrics" / point["key"], _model_line(point))
            self._copy(files, staged / "artifacts")
            home.parent.mkdir(exist_ok=True)
            staged.rename(home)
        except OSError as error:
            raise _refused(home, error) from error
        self.tally.models += 1

    def put_registered(self, model: Registered, versions: list[RegisteredVersion]) -> None:
        """Write a registered model, and those of its versions that are not there yet."""
        home = self.root / MODELS / model.name
        try:
            if not home.exists():
                self.tally.registered += 1
                info = {
                    "name": model.name, "creation_timestamp": model.created,
                    "last_updated_timestamp": model.updated, "description": model.description,
                    "aliases": {alias: str(number) for alias, number in model.aliases.items()},
                }  # fmt: skip
                _text(home / META, info)
                _texts(home / "tags", model.tags)
                _texts(home / "aliases", {key: str(one) for key, one in model.aliases.items()})
            for one in versions:
                place = home / f"version-{one.number}"
                if not place.exists():
                    self.tally.versions += 1
                    _text(place / META, self._version(one))
                    _texts(place / "tags", one.tags)
        except OSError as error:
            raise _refused(home, error) from error

    def close(self) -> None:
        """Nothing is open."""

    def _experiment(self, one: Experiment) -> str:
        if one.name not in self._numbers:
            taken = set(self._numbers.values())
            number = max(1, one.number)
            while str(number) in taken:
                number += 1
            try:
                self._experiment_folder(one, str(number))
            except OSError as error:
                raise _refused(self.root, error) from error
            self._numbers[one.name] = str(number)
            self.tally.experiments += 1
        return self._numbers[one.name]

    def _experiment_folder(self, one: Experiment, number: str) -> None:
        home = self.root / number
        info = {
            "artifact_location": home.as_uri(), "experiment_id": number, "name": one.name,
            "creation_time": one.created, "last_update_time": one.updated,
            "lifecycle_stage": "active",
        }  # fmt: skip
        _text(home / META, info)
        _texts(home / "tags", one.tags)
        (self.root / TRASH).mkdir(exist_ok=True)

    def _place(self, number: str) -> Path:
        home = self.root / number
        if not home.is_dir():
            raise DataError(
                f"experiment {number} of {self.root} is in its trash", hint="restore it first"
            )
        return home

    def _write(self, staged: Path, home: Path, one: Leaving, number: str) -> None:
        run = one.run
        _text(staged / META, _info(run, home, number))
        for folder, values in (("params", run.params), ("tags", run.tags)):
            _texts(staged / folder, values)
        (staged / "metrics").mkdir()
        for key, series in leaving.series(self.ws, run.id, self.tally):
            _append(staged / "metrics" / key, _lines(series))
            self.tally.points += len(series)
        for part in run.inputs:
            self._input(staged, home.parent, part)
        self._copy(one.files, staged / "artifacts")

    def _input(self, staged: Path, experiment: Path, part: dict[str, Any]) -> None:
        dataset = part["dataset"]
        name = ids.new_id()
        known = [
            inner.name for inner in sorted((experiment / "datasets").glob("*"))
            if _read(inner / META) == dataset
        ]  # fmt: skip
        if known:
            name = known[0]
        else:
            _text(experiment / "datasets" / name / META, dataset)
        tags = {tag["key"]: tag.get("value", "") for tag in part.get("tags", ())}
        link = {"source_type": "DATASET", "source_id": name, "destination_type": "RUN",
                "destination_id": name, "tags": tags}  # fmt: skip
        _text(staged / "inputs" / ids.new_id() / META, link)

    def _copy(self, files: dict[str, Path], into: Path) -> None:
        into.mkdir()
        for path, source in files.items():
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            self.tally.files += 1
            self.tally.bytes += target.stat().st_size

    def _version(self, one: RegisteredVersion) -> dict[str, Any]:
        place = self._homes.get(one.model)
        location = (place / "artifacts").as_uri() if place else one.location or one.source
        return {
            "name": one.name, "version": one.number, "creation_timestamp": one.created,
            "last_updated_timestamp": one.updated, "description": one.description,
            "user_id": None, "current_stage": one.stage, "source": one.source, "run_id": one.run,
            "run_link": one.run_link or None, "status": "READY", "status_message": None,
            "model_id": one.model or None, "storage_location": location,
        }  # fmt: skip


def _info(run: TrackedRun, home: Path, number: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "artifact_uri": (home / "artifacts").as_uri(), "end_time": run.end,
        "entry_point_name": "", "experiment_id": number, "lifecycle_stage": run.stage,
        "run_id": run.id, "run_name": run.name, "run_uuid": run.id, "source_name": "",
        "source_type": 4, "source_version": "", "start_time": run.start,
        "status": _STATUS[run.status], "tags": [], "user_id": run.user,
    }  # fmt: skip
    return found | ({"deleted_time": run.deleted} if run.deleted else {})


def _lines(series: Series) -> str:
    rows = zip(
        (series.time // 1000).tolist(), series.value.tolist(), series.step.tolist(), strict=True
    )
    return "".join(f"{time} {value} {step}\n" for time, value, step in rows)


def _model_line(point: dict[str, Any]) -> str:
    line = f"{point['timestamp']} {point['value']} {point['step']} {point['run_id']}"
    if point.get("dataset_name"):
        line += f" {point['dataset_name']} {point.get('dataset_digest', '')}"
    return f"{line}\n"


def _text(path: Path, fields: dict[str, Any]) -> None:
    """Fields as JSON, which is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(fields), indent=1))


def _texts(folder: Path, values: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in values.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value, encoding="utf-8", newline="")


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def _read(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):  # another's, which is YAML
        return None


def _refused(where: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {where}: {error.strerror}",
        hint="see that there is space; run it again: what is written stays",
    )
