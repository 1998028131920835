"""Runs on their way: a stock server, our store, another stock server and a folder, read by the client."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import pprint
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Metric, ViewType
from sklearn.linear_model import LinearRegression

# Its stock server refuses to log a model in a run that has NaN as a point.
IS_OLDER = mlflow.__version__.startswith("3.6.")
LINKS = ("mlflow.modelVersions", "trimtab.run", "trimtab.model", "mlflow.parentRunId")


def conftest():
    import importlib.util

    spec = importlib.util.spec_from_file_location("beside", Path(__file__).with_name("conftest.py"))
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


beside = conftest()


@contextlib.contextmanager
def stock(folder):
    """A stock server with nothing in it."""
    folder.mkdir()
    port = beside.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with beside.started(folder, command, url, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
        yield url


@contextlib.contextmanager
def client_of(uri, monkeypatch):
    """The client, at a server or a folder."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    yield mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def odd():
    for step, value in enumerate((math.nan, math.inf, -math.inf, -0.0)):
        mlflow.log_metric("odd", value, step=step)


def fill(client):
    """Everything that is carried."""
    mlflow.set_experiment("credit")
    mlflow.set_experiment_tag("team", "risk")
    frame = pd.DataFrame({"a": [1, 2]})
    with mlflow.start_run(run_name="outer", tags={"note": "größe\nzwei"}) as outer:
        mlflow.log_params({"depth": 3, "a/b": "x y", "none": ""})
        points = [Metric("loss", 1 / (n + 1), 1_700_000_000_000 + n, n) for n in range(2_500)]
        for begin in range(0, 2_500, 1_000):
            client.log_batch(outer.info.run_id, points[begin : begin + 1_000])
        if not IS_OLDER:
            odd()
        mlflow.log_metric("back", 2, step=5)
        mlflow.log_metric("back", 1, step=-1)
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_text("", "empty.txt")
        data = mlflow.data.from_pandas(frame, name="tab")
        mlflow.log_input(data, context="training", tags={"k": "v"})
        model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        made = mlflow.sklearn.log_model(model, name="lin", registered_model_name="lin")
        mlflow.log_metric("acc", 0.75, step=1, model_id=made.model_id, dataset=data)
        if IS_OLDER:
            odd()
        for depth in range(3):
            mlflow.start_run(run_name=f"inner {depth}", nested=True)
        for _ in range(3):
            mlflow.end_run()
    with mlflow.start_run(run_name="gone") as gone:
        pass
    client.delete_run(gone.info.run_id)
    client.set_registered_model_alias("lin", "champion", 1)
    client.set_registered_model_tag("lin", "t", "1")
    client.set_model_version_tag("lin", 1, "vt", "2")
    client.update_model_version("lin", 1, "words")
    dead = client.create_experiment("dead")
    client.log_metric(client.create_run(dead, run_name="in dead").info.run_id, "z", 1)
    client.delete_experiment(dead)
    going = client.create_run("0", run_name="going")
    client.log_metric(going.info.run_id, "z", 1, timestamp=5)
    return going.info.run_id


def seen(client, folder, *, deleted=True, ids=True):
    """All that a client can read, by names instead of ids where those may differ."""
    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    found = {}
    for experiment in client.search_experiments(view_type=view):
        runs = client.search_runs([experiment.experiment_id], run_view_type=view)
        names = {run.info.run_id: run.info.run_name for run in runs}
        found[experiment.name] = (
            experiment.lifecycle_stage,
            dict(experiment.tags),
            sorted((run_seen(client, run, names, folder, ids=ids) for run in runs), key=repr),
        )
    models = {
        one.name: (one.tags, one.aliases, [(str(v.version), v.description, v.tags, v.current_stage)
                   for v in client.search_model_versions(f"name = '{one.name}'")])
        for one in client.search_registered_models()
    }  # fmt: skip
    return found, models


def value(found):
    """As text; a server has an infinity as the greatest number, a folder as it is."""
    return repr(math.copysign(math.inf, found) if abs(found) == sys.float_info.max else found)


def run_seen(client, run, names, folder, *, ids):
    info, data = run.info, run.data
    tags = {key: value for key, value in data.tags.items() if key not in LINKS}
    parent = names.get(data.tags.get("mlflow.parentRunId"))
    history = {
        key: sorted(
            (p.step, p.timestamp, value(p.value))
            for p in client.get_metric_history(info.run_id, key)
        )
        for key in data.metrics
    }
    inputs = [
        (one.dataset.name, one.dataset.digest, one.dataset.schema, one.dataset.profile,
         sorted((tag.key, tag.value) for tag in one.tags))
        for one in run.inputs.dataset_inputs
    ]  # fmt: skip
    models = []
    for one in run.outputs.model_outputs if run.outputs else ():
        model = client.get_logged_model(one.model_id)
        known = {key: value for key, value in model.tags.items() if key not in LINKS}
        measured = sorted(
            (m.key, m.value, m.step, m.dataset_name or "") for m in model.metrics or ()
        )
        models.append((model.name, model.params, known, measured, str(model.status)))
    files = {}
    into = folder / f"{info.run_id}-{len(list(folder.iterdir()))}"
    into.mkdir()
    for one in ("notes/a.txt", "empty.txt"):
        beside_it = client.list_artifacts(info.run_id, one.rpartition("/")[0] or None)
        if one in {file.path for file in beside_it}:
            got = client.download_artifacts(info.run_id, one, str(into))
            files[one] = Path(got).read_text()
    return (
        info.run_id if ids else "", info.run_name, info.status, info.start_time, info.end_time,
        info.user_id, info.lifecycle_stage, data.params, tags, parent, history, inputs, models, files,
    )  # fmt: skip


@pytest.fixture
def say():
    """`say(folder, "runs", "import", ...)`: what the command answers as JSON."""

    def ask(folder, *command):
        folder.mkdir(exist_ok=True)
        (folder / "trimtab.toml").write_text(beside.PROJECT)
        done = subprocess.run(
            [beside.PYTHON, "-m", "trimtab", *map(str, command), "--json"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def check(found, wanted):
    """They are the same; what differs is shown line by line."""
    texts = [pprint.pformat(one, width=120).splitlines() for one in (wanted, found)]
    assert not "\n".join(difflib.unified_diff(*texts, "wanted", "found", n=1, lineterm=""))


def loads(uri):
    """The registered model works where it came to."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    model = mlflow.pyfunc.load_model("models:/lin@champion")
    assert [round(float(one), 6) for one in model.predict([[3.0]])] == [3.0]


def test_there_and_back(tmp_path, say, monkeypatch):
    files = tmp_path / "files"
    files.mkdir()
    with stock(tmp_path / "a") as a, client_of(a, monkeypatch) as client:
        going = fill(client)
        wanted = seen(client, files)
        first = say(tmp_path / "p", "runs", "import", a)
        assert first["skipped"] == []
        assert (first["runs"], first["models"], first["versions"]) == (7, 1, 1)
        again = say(tmp_path / "p", "runs", "import", a)
        assert (again["runs"], again["grown"], again["points"], again["files"]) == (0, 0, 0, 0)
        client.log_metric(going, "z", 2, timestamp=6, step=1)
        client.set_terminated(going)
        grown = say(tmp_path / "p", "runs", "import", a)
        assert (grown["runs"], grown["grown"], grown["points"]) == (0, 1, 1)
        wanted = seen(client, files)
        with beside.up(tmp_path / "p") as ours, client_of(ours, monkeypatch) as mine:
            check(seen(mine, files), wanted)
            loads(ours)
        other = say(tmp_path / "d", "runs", "import", tmp_path / "a" / "mlflow.db")
        assert (other["runs"], other["models"], other["skipped"]) == (7, 1, [])
        with beside.up(tmp_path / "d") as ours, client_of(ours, monkeypatch) as mine:
            check(seen(mine, files), wanted)
        active = seen(client, files, deleted=False, ids=False)
        kept = seen(client, files, deleted=False)
    ids = [one["id"] for one in say(tmp_path / "p", "runs", "ls", "--all")["runs"]]
    with stock(tmp_path / "b") as b, client_of(b, monkeypatch) as client:
        left = say(tmp_path / "p", "runs", "export", "--to", b, *ids)
        assert (left["runs"], left["skipped"]) == (5, [])
        again = say(tmp_path / "p", "runs", "export", "--to", b, *ids)
        assert (again["same"], again["points"], again["files"], again["skipped"]) == (5, 0, 0, [])
        check(seen(client, files, deleted=False, ids=False), active)
        loads(b)
    out = tmp_path / "mlruns"
    left = say(tmp_path / "p", "runs", "export", "--to", f"mlruns:{out}", *ids)
    assert (left["runs"], left["skipped"]) == (5, [])
    with client_of(out.as_uri(), monkeypatch) as client:
        check(seen(client, files, deleted=False), kept)
        loads(out.as_uri())
    back = say(tmp_path / "q", "runs", "import", out)
    assert (back["runs"], back["models"], back["versions"], back["skipped"]) == (5, 1, 1, [])
    with beside.up(tmp_path / "q") as ours, client_of(ours, monkeypatch) as mine:
        check(seen(mine, files, deleted=False), kept)
        loads(ours)
