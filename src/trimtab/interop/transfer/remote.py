"""A source: a server that speaks MLflow's protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from trimtab import hashing
from trimtab.errors import DataError, NotFoundError, RefusedError
from trimtab.interop.mlflow import files
from trimtab.interop.mlflow.state import (
    ACTIVE,
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.transfer.rest import FILES, Rest
from trimtab.interop.transfer.source import Owner, Skip, series_of
from trimtab.store.series.points import Series

_PAGE: Final = 1_000
_POINTS: Final = 25_000
_DEEPEST: Final = 64
_GREATEST: Final = sys.float_info.max


class Remote:
    """A server. An infinity that it answers as the greatest number is an infinity again."""

    def __init__(self, url: str, skip: Skip) -> None:
        self.rest = Rest(url)
        self.about = self.rest.url
        self._skip = skip
        self._sizes: dict[tuple[str, str], int] = {}

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment, deleted ones too."""
        fields = {"view_type": "ALL", "max_results": _PAGE}
        for one in self._pages("experiments/search", "experiments", fields):
            yield Experiment(
                number=int(one["experiment_id"]),
                name=str(one["name"]),
                location=str(one.get("artifact_location", "")),
                created=int(one.get("creation_time", 0)),
                updated=int(one.get("last_update_time", 0)),
                stage=str(one.get("lifecycle_stage", ACTIVE)),
                tags=pairs(one.get("tags", ())),
            )

    def runs(self, experiment: Experiment) -> Iterator[tuple[TrackedRun, str]]:
        """The runs of an experiment."""
        fields = {
            "experiment_ids": [str(experiment.number)],
            "run_view_type": "ALL",
            "max_results": _PAGE,
        }
        for one in self._pages("runs/search", "runs", fields):
            yield run_of(one), hashing.object_digest("key", one)

    def keys(self, run: TrackedRun) -> list[str]:
        """The names of a run's series."""
        return sorted(run.metrics)

    def points(self, run: TrackedRun, key: str) -> Iterator[Series]:
        """The points of a series, a page at a time."""
        return points(self.rest, run.id, key)

    def models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """The logged models of an experiment; none on a server that has no such thing."""
        fields = {"experiment_ids": [str(experiment.number)], "max_results": 50}
        try:
            for one in self._pages("logged-models/search", "models", fields):
                yield _model(one)
        except NotFoundError:
            return

    def registered(self) -> Iterator[tuple[Registered, list[RegisteredVersion]]]:
        """The registered models and their versions, prompts too."""
        versions: dict[str, list[RegisteredVersion]] = {}
        for text in ("", "tag.`mlflow.prompt.is_prompt` = 'true'"):
            fields = {"max_results": _PAGE} | ({"filter": text} if text else {})
            for one in self._pages("model-versions/search", "model_versions", fields, get=True):
                versions.setdefault(one["name"], []).append(_version(one))
        for text in ("", "tag.`mlflow.prompt.is_prompt` = 'true'"):
            fields = {"max_results": 100} | ({"filter": text} if text else {})
            for one in self._pages(
                "registered-models/search", "registered_models", fields, get=True
            ):
                name = str(one["name"])
                inner = {version.number: version for version in versions.get(name, [])}
                yield _registered(one), [inner[number] for number in sorted(inner)]

    def files(self, owner: Owner) -> Iterator[tuple[str, int]]:
        """Path and size of every file."""
        for path, size in self._below(owner, "", 0):
            self._sizes[owner.id, path] = size
            yield path, size

    def fetch(self, owner: Owner, path: str, into: Path) -> None:
        """Write the bytes of a file to a new one."""
        if owner.location.startswith(files.PROXIED):
            where = f"{FILES}/{quote(f'{files.proxied(owner.location)}/{path}')}"
        elif isinstance(owner, TrackedRun):
            where = "/get-artifact?" + urlencode({"run_uuid": owner.id, "path": path})
        else:
            where = f"/ajax-api/2.0/mlflow/logged-models/{quote(owner.id)}/artifacts/files?"
            where += urlencode({"artifact_file_path": path})
        self.rest.download(where, into, size=self._sizes.get((owner.id, path)))

    def traces(self, experiment: Experiment) -> int:
        """How many traces an experiment has, up to a page of them."""
        place = {"type": "MLFLOW_EXPERIMENT",
                 "mlflow_experiment": {"experiment_id": str(experiment.number)}}  # fmt: skip
        try:
            found = self.rest.post(
                "/api/3.0/mlflow/traces/search", locations=[place], max_results=500
            )
        except (NotFoundError, DataError, RefusedError):
            return 0
        return len(found.get("traces", ()))

    def close(self) -> None:
        """Close the connection."""
        self.rest.close()

    def _below(self, owner: Owner, folder: str, depth: int) -> Iterator[tuple[str, int]]:
        if depth > _DEEPEST:
            self._skip("file", f"{owner.id}/{folder}", f"more than {_DEEPEST} folders deep")
            return
        for one in self._listed(owner, folder):
            path = str(one["path"])
            if one.get("is_dir"):
                yield from self._below(owner, path, depth + 1)
            else:
                yield path, int(one.get("file_size") or 0)

    def _listed(self, owner: Owner, folder: str) -> list[dict[str, Any]]:
        if owner.location.startswith(files.PROXIED):
            root = files.proxied(owner.location)
            found = self.rest.listed(f"{root}/{folder}" if folder else root)
            above = f"{folder}/" if folder else ""
            return [{**one, "path": f"{above}{one['path']}"} for one in found]
        if isinstance(owner, TrackedRun):
            answer = self.rest.get("artifacts/list", run_id=owner.id, path=folder)
        else:
            answer = self.rest.get(
                f"logged-models/{quote(owner.id)}/artifacts/directories",
                artifact_directory_path=folder,
            )
        return list(answer.get("files", ()))

    def _pages(
        self, path: str, name: str, fields: dict[str, Any], *, get: bool = False
    ) -> Iterator[dict[str, Any]]:
        ask = self.rest.get if get else self.rest.post
        for page in pages(self.about, path, ask, fields):
            yield from page.get(name, ())


def pages(
    about: str, path: str, ask: Callable[..., dict[str, Any]], fields: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The answers to a question, page after page; raises DataError where they do not end."""
    asked, seen = dict(fields), set()
    while True:
        found = ask(path, **asked)
        yield found
        token = found.get("next_page_token")
        if not token:
            return
        if token in seen:
            raise DataError(f"{about} answers one page of {path} again and again")
        seen.add(token)
        asked["page_token"] = token


def run_of(one: dict[str, Any]) -> TrackedRun:
    """A run as it is on the wire."""
    info, data = one["info"], one.get("data", {})
    inputs, outputs = one.get("inputs") or {}, one.get("outputs") or {}
    end = info.get("end_time")
    run = str(info.get("run_id") or info["run_uuid"])
    return TrackedRun(
        id=run,
        experiment=int(info["experiment_id"]),
        name=str(info.get("run_name", "")),
        user=str(info.get("user_id", "")),
        start=int(info.get("start_time", 0)),
        location=str(info.get("artifact_uri", "")),
        status=str(info.get("status", "RUNNING")),
        stage=str(info.get("lifecycle_stage", ACTIVE)),
        end=int(end) if end else None,
        params=pairs(data.get("params", ())),
        tags=pairs(data.get("tags", ())),
        metrics={
            str(point["key"]): (value_of(point["value"]), int(point.get("timestamp", 0)),
                                int(point.get("step", 0)))
            for point in data.get("metrics", ())
        },
        inputs=list(inputs.get("dataset_inputs", ())),
        model_inputs=list(inputs.get("model_inputs", ())),
        outputs=list(outputs.get("model_outputs", ())),
    )  # fmt: skip


def points(rest: Rest, run: str, key: str) -> Iterator[Series]:
    """The points of a series of a server, a page at a time."""
    fields = {"run_id": run, "metric_key": key, "max_results": _POINTS}
    for page in pages(rest.url, "metrics/get-history", rest.get, fields):
        if metrics := page.get("metrics", []):
            yield points_of(metrics)


def points_of(points: list[dict[str, Any]]) -> Series:
    """Points as they are on the wire, as columns."""
    try:
        return series_of(
            [int(point.get("step", 0)) for point in points],
            [int(point["timestamp"]) for point in points],
            [value_of(point["value"]) for point in points],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"a point cannot be read: {error}") from error


def value_of(value: Any) -> float:
    """A value as it is on the wire, where an infinity is the greatest number."""
    found = float(value)
    if abs(found) == _GREATEST:
        return float("inf") if found > 0 else float("-inf")
    return found


def pairs(found: Any) -> dict[str, str]:
    """Keys and values of a list."""
    return {str(one["key"]): str(one.get("value", "")) for one in found}


def _model(one: dict[str, Any]) -> LoggedModel:
    info, data = one["info"], one.get("data", {})
    return LoggedModel(
        id=str(info["model_id"]),
        experiment=int(info["experiment_id"]),
        name=str(info["name"]),
        location=str(info.get("artifact_uri", "")),
        created=int(info.get("creation_timestamp_ms", 0)),
        updated=int(info.get("last_updated_timestamp_ms", 0)),
        kind=str(info.get("model_type", "")),
        run=str(info.get("source_run_id", "")),
        status=str(info.get("status", "LOGGED_MODEL_PENDING")),
        params=pairs(data.get("params", ())),
        tags=pairs(info.get("tags", ())),
        metrics=[
            {**point, "value": value_of(point["value"]), "step": int(point.get("step", 0))}
            for point in data.get("metrics", ())
        ],
    )


def _registered(one: dict[str, Any]) -> Registered:
    return Registered(
        name=str(one["name"]),
        created=int(one.get("creation_timestamp", 0)),
        updated=int(one.get("last_updated_timestamp", 0)),
        description=one.get("description"),
        tags=pairs(one.get("tags", ())),
        aliases={str(alias["alias"]): int(alias["version"]) for alias in one.get("aliases", ())},
    )


def _version(one: dict[str, Any]) -> RegisteredVersion:
    source = str(one.get("source", ""))
    model = source.removeprefix("models:/") if source.startswith("models:/m-") else ""
    return RegisteredVersion(
        name=str(one["name"]),
        number=int(one["version"]),
        source=source,
        created=int(one.get("creation_timestamp", 0)),
        updated=int(one.get("last_updated_timestamp", 0)),
        run=str(one.get("run_id", "")),
        run_link=str(one.get("run_link", "")),
        description=one.get("description"),
        stage=str(one.get("current_stage", "None")),
        model=str(one.get("model_id") or model),
        tags=pairs(one.get("tags", ())),
    )
