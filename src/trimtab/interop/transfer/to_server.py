"""Runs to a server of MLflow's protocol, through the requests that its own client makes.

A server gives its own ids: a run that leaves carries its id as a tag (`trimtab.run`), by which a second
export finds it again and adds what is new. Nothing there is changed or taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from trimtab.errors import DataError, NotFoundError, UsageError
from trimtab.interop.mlflow import files as artifacts
from trimtab.interop.mlflow import rows, wire
from trimtab.interop.mlflow.state import LoggedModel, RegisteredVersion
from trimtab.interop.transfer import leaving
from trimtab.interop.transfer.leaving import Leaving
from trimtab.interop.transfer.remote import pairs, points
from trimtab.interop.transfer.rest import Rest
from trimtab.interop.transfer.source import missing
from trimtab.interop.transfer.tally import Tally
from trimtab.store.series import reading
from trimtab.store.series.points import Series, joined
from trimtab.store.workspace import Workspace

TAG: Final = "trimtab.run"
MODEL_TAG: Final = "trimtab.model"
_POINTS: Final = 1_000
_PAIRS: Final = 100


class Server:
    """One server, and what left for it: ids here -> ids there."""

    def __init__(self, ws: Workspace, url: str, tally: Tally) -> None:
        self.rest, self.ws, self.tally = Rest(url), ws, tally
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._models: dict[str, str] = {}

    def put(self, one: Leaving) -> None:
        """Make a run there, or add to it what is new."""
        experiment = self._experiment(one)
        known = self._find(experiment, one.run.id)
        there = known or self._create(experiment, one)
        before = (self.tally.points, self.tally.files)
        run = str(there["info"]["run_id"])
        root = str(there["info"]["artifact_uri"])
        self._runs[one.run.id], self._places[one.run.location] = run, root
        self._data(one, run, there)
        for key, series in leaving.series(self.ws, one.run.id, self.tally):
            self._points(run, key, series, is_new=known is None)
        self._files(one.run.id, root, one.files)
        if one.run.inputs:
            self._try("inputs", one.run.id, "runs/log-inputs", run_id=run, datasets=one.run.inputs)
        fields: dict[str, Any] = {"run_id": run, "status": one.run.status}
        if one.run.end is not None:
            fields["end_time"] = one.run.end
        self.rest.post("runs/update", **fields)
        if known is None:
            self.tally.runs += 1
        elif before == (self.tally.points, self.tally.files):
            self.tally.same += 1
        else:
            self.tally.grown += 1

    def put_model(self, model: LoggedModel, files: dict[str, Any], step: int) -> None:
        """Make a logged model there, with its files, as an output of its run."""
        run = self._runs[model.run]
        found_run = self.rest.get("runs/get", run_id=run)["run"]
        experiment = str(found_run["info"]["experiment_id"])
        outputs = (found_run.get("outputs") or {}).get("model_outputs", ())
        try:
            found = self.rest.post(
                "logged-models/search",
                experiment_ids=[experiment],
                filter=f"tags.`{MODEL_TAG}` = '{model.id}'",
            ).get("models", [])
            if not found:
                found = [self._new_model(model, run, experiment)]
                self.tally.models += 1
        except NotFoundError:
            self.tally.skip("logged model", model.id, "the server has no logged models")
            return
        there, root = str(found[0]["info"]["model_id"]), str(found[0]["info"]["artifact_uri"])
        self._models[model.id] = there
        self._places[model.location] = root
        self._files(model.id, root, files)
        if model.status == "LOGGED_MODEL_READY":
            self.rest.patch(f"logged-models/{there}", model_id=there, status=model.status)
        if there not in {one["model_id"] for one in outputs}:
            self._try("output", model.id, "runs/outputs",
                      run_id=run, models=[{"model_id": there, "step": step}])  # fmt: skip

    def put_registered(self, model: Any, versions: list[RegisteredVersion]) -> None:
        """Make a registered model there, and those of its versions that are not there yet."""
        try:
            known = self.rest.get("registered-models/get", name=model.name)["registered_model"]
        except NotFoundError:
            known = None
            self.rest.post("registered-models/create", name=model.name,
                           description=model.description or "", tags=rows.pairs(model.tags))  # fmt: skip
            self.tally.registered += 1
        numbers: dict[int, str] = {}
        for one in versions:
            made = self._version(one)
            if made:
                numbers[one.number] = made
        taken = {alias["alias"] for alias in (known or {}).get("aliases", ())}
        for alias, number in model.aliases.items():
            if number in numbers and alias not in taken:
                self.rest.post("registered-models/alias", name=model.name, alias=alias,
                               version=numbers[number])  # fmt: skip

    def close(self) -> None:
        """Close the connection."""
        self.rest.close()

    def _experiment(self, one: Leaving) -> str:
        name = one.experiment.name
        if name not in self._experiments:
            try:
                found = self.rest.get("experiments/get-by-name", experiment_name=name)["experiment"]
                if found.get("lifecycle_stage") == "deleted":
                    raise UsageError(
                        f"the server has an experiment {name!r} that is deleted",
                        hint="restore it there, or take it away for good with `mlflow gc`",
                    )
                self._experiments[name] = str(found["experiment_id"])
            except NotFoundError:
                made = self.rest.post(
                    "experiments/create", name=name, tags=rows.pairs(one.experiment.tags)
                )
                self._experiments[name] = str(made["experiment_id"])
                self.tally.experiments += 1
        return self._experiments[name]

    def _find(self, experiment: str, run: str) -> dict[str, Any] | None:
        """The run there: of that id, or one that carries it as a tag."""
        try:
            found: dict[str, Any] = self.rest.get("runs/get", run_id=run)["run"]
            return found
        except (NotFoundError, DataError):
            pass
        runs = self.rest.post(
            "runs/search",
            experiment_ids=[experiment],
            filter=f"tags.`{TAG}` = '{run}'",
            run_view_type="ALL",
            max_results=1,
        ).get("runs", [])
        return runs[0] if runs else None

    def _create(self, experiment: str, one: Leaving) -> dict[str, Any]:
        tags = {**one.run.tags, TAG: one.run.id}
        parent = tags.get(rows.PARENT, "")
        if parent:
            tags[rows.PARENT] = self._runs.get(parent, parent)
        first = dict(list(tags.items())[:_PAIRS])
        made: dict[str, Any] = self.rest.post(
            "runs/create", experiment_id=experiment, user_id=one.run.user, run_name=one.run.name,
            start_time=one.run.start, tags=rows.pairs(first | {TAG: one.run.id}),
        )["run"]  # fmt: skip
        return made

    def _data(self, one: Leaving, run: str, there: dict[str, Any]) -> None:
        """Params and tags that are not there yet."""
        data = there.get("data", {})
        params, tags = pairs(data.get("params", ())), pairs(data.get("tags", ()))
        for key, value in one.run.params.items():
            if params.get(key, value) != value:
                reason = f"it is {params[key][:80]!r} there"
                self.tally.skip("param", f"{one.run.id}/{key}", reason)
        new = {key: value for key, value in one.run.params.items() if key not in params}
        more = {key: value for key, value in one.run.tags.items() if key not in tags}
        for part in _parts(rows.pairs(new)):
            self.rest.post("runs/log-batch", run_id=run, params=part)
        for part in _parts(rows.pairs(more)):
            self.rest.post("runs/log-batch", run_id=run, tags=part)

    def _points(self, run: str, key: str, series: Series, *, is_new: bool) -> None:
        """The points that are not there yet."""
        if not is_new:
            series = missing(series, joined(points(self.rest, run, key)))
        for begin in range(0, len(series), _POINTS):
            part = series[begin : begin + _POINTS]
            times, steps = (part.time // 1000).tolist(), part.step.tolist()
            values = zip(part.value.tolist(), times, steps, strict=True)
            metrics = [
                {"key": key, "value": wire.number(value), "timestamp": time, "step": step}
                for value, time, step in values
            ]
            self.rest.post("runs/log-batch", run_id=run, metrics=metrics)
        self.tally.points += len(series)

    def _files(self, owner: str, root: str, files: dict[str, Any]) -> None:
        if not files:
            return
        if not root.startswith(artifacts.PROXIED):
            reason = f"the server keeps files at {root[:100]}, which only its clients reach"
            self.tally.skip("files", owner, reason)
            return
        base = artifacts.proxied(root)
        known = self._known(base)
        for path, source in files.items():
            size = source.stat().st_size
            if known.get(path) == size:
                continue
            self.rest.upload(f"{base}/{path}", source)
            self.tally.files += 1
            self.tally.bytes += size

    def _known(self, base: str, folder: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        for one in self.rest.listed(f"{base}/{folder}".rstrip("/")):
            path = f"{folder}/{one['path']}".lstrip("/")
            if one.get("is_dir"):
                found |= self._known(base, path)
            else:
                found[path] = int(one.get("file_size") or 0)
        return found

    def _new_model(self, model: LoggedModel, run: str, experiment: str) -> dict[str, Any]:
        made: dict[str, Any] = self.rest.post(
            "logged-models", experiment_id=experiment, name=model.name, model_type=model.kind,
            source_run_id=run, params=rows.pairs(model.params),
            tags=rows.pairs({**model.tags, MODEL_TAG: model.id}),
        )["model"]  # fmt: skip
        there = str(made["info"]["model_id"])
        for point in model.metrics:
            value = self._measured(point)
            if value is None or point["run_id"] not in self._runs:
                name = f"{model.id}/{point['key']}"
                self.tally.skip("metric of a model", name, "its run has no such point")
                continue
            metric = {**point, "value": wire.number(value), "model_id": there}
            metric["run_id"] = self._runs[point["run_id"]]
            self._try(
                "metric of a model", f"{model.id}/{point['key']}", "runs/log-metric", **metric
            )
        return made

    def _measured(self, point: dict[str, Any]) -> float | None:
        """The value of a model's metric as its run has it: stock MLflow keeps 0 for a model's NaN.

        To say that a point is a model's is to log it once more, so it must be one of the run.
        """
        key = str(point["key"])
        series = reading.read(self.ws, str(point.get("run_id", "")), key).get(key)
        if series is None:
            return None
        same = (series.step == point["step"]) & (series.time == point["timestamp"] * 1000)
        values = series.value[same].tolist()
        if not values:
            return None
        return float(point["value"]) if point["value"] in values else float(values[-1])

    def _version(self, one: RegisteredVersion) -> str:
        """The number of a version there, made where there is none of its source."""
        source = self._source(one)
        name = f"{one.name} version {one.number}"
        if not source:
            self.tally.skip("model version", name, "its files do not leave with these runs")
            return ""
        found = self.rest.get("model-versions/search", filter=f"name = '{one.name}'")
        for known in found.get("model_versions", ()):
            if known.get("source") == source:
                return str(known["version"])
        fields: dict[str, Any] = {"tags": rows.pairs(one.tags)} if one.tags else {}
        if one.model in self._models:
            fields["model_id"] = self._models[one.model]
        made = self.rest.post(
            "model-versions/create", name=one.name, source=source,
            run_id=self._runs.get(one.run, ""), description=one.description or "", **fields,
        )["model_version"]  # fmt: skip
        self.tally.versions += 1
        number = str(made["version"])
        if number != str(one.number):
            self.tally.skip("number", name, f"it is version {number} there")
        if one.stage != "None":
            self._try("stage", name, "model-versions/transition-stage", name=one.name,
                      version=number, stage=one.stage)  # fmt: skip
        return number

    def _source(self, one: RegisteredVersion) -> str:
        if one.model in self._models:
            return f"models:/{self._models[one.model]}"
        for text in (one.source, one.location):
            if text.startswith("runs:/"):
                run, _, path = text.removeprefix("runs:/").partition("/")
                if run in self._runs:
                    return f"runs:/{self._runs[run]}/{path}"
            for here, there in self._places.items():
                if here and f"{text}/".startswith(f"{here.rstrip('/')}/"):
                    return there.rstrip("/") + text[len(here.rstrip("/")) :]
        return ""

    def _try(self, what: str, which: str, path: str, /, **fields: Any) -> None:
        """Something that a server may not know; it is listed then."""
        try:
            self.rest.post(path, **fields)
        except (NotFoundError, DataError) as error:
            self.tally.skip(what, which, error.message)


def _parts(found: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    for begin in range(0, len(found), _PAIRS):
        yield found[begin : begin + _PAIRS]
