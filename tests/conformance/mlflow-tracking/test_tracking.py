"""Runs as people log them, by the unmodified client."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException


@pytest.fixture
def client(mlflow):
    return mlflow.MlflowClient()


def test_a_run_with_everything(mlflow, client):
    with mlflow.start_run(run_name="one", tags={"team": "risk"}) as run:
        mlflow.log_param("depth", 3)
        mlflow.log_params({"a": 1, "b": "x"})
        mlflow.log_metric("loss", 0.5, step=2)
        mlflow.log_metric("loss", 0.25, step=3)
        mlflow.log_metrics({"acc": 0.75, "odd": float("nan"), "high": float("inf")}, step=1)
        mlflow.set_tag("note", "größe")
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "one"
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {"depth": "3", "a": "1", "b": "x"}
    assert found.data.metrics["loss"] == 0.25
    assert math.isnan(found.data.metrics["odd"])
    assert found.data.metrics["high"] > 1e308
    assert found.data.tags["note"] == "größe"
    assert [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "loss")] == [
        (2, 0.5),
        (3, 0.25),
    ]


def test_a_failed_run_and_one_that_goes_on(mlflow, client):
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        _ = 1 / 0
    assert client.get_run(run.info.run_id).info.status == "FAILED"
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("more", 1)
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"more": 1.0}


def test_nested_runs_are_below_their_parent(mlflow, told):
    with mlflow.start_run() as outer, mlflow.start_run(nested=True) as inner:
        pass
    shown = told("runs", "show", inner.info.run_id)
    assert shown["run"]["parent"] == outer.info.run_id
    children = [one["id"] for one in told("runs", "show", outer.info.run_id)["children"]]
    assert children == [inner.info.run_id]


def test_what_is_logged_is_an_ordinary_run(mlflow, told):
    with mlflow.start_run(run_name="seen") as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metric("loss", 0.5, step=7)
        mlflow.log_text("hello", "notes/a.txt")
    shown = told("runs", "show", run.info.run_id)
    assert shown["run"]["name"] == "seen"
    assert shown["run"]["status"] == "done"
    assert shown["run"]["params"] == {"depth": "3"}
    assert shown["metrics"] == {"loss": 0.5}
    assert [one["name"] for one in shown["links"]] == ["notes/a.txt"]
    assert told("runs", "metrics", run.info.run_id)["series"][0]["points"][0]["step"] == 7
    assert run.info.run_id in [one["id"] for one in told("runs", "ls")["runs"]]


def test_asynchronous_logging(mlflow, client):
    with mlflow.start_run() as run:
        for step in range(50):
            mlflow.log_metric("loss", step, step=step, synchronous=False)
        mlflow.flush_async_logging()
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 50


def test_a_long_history_comes_in_pages(mlflow, client):
    with mlflow.start_run() as run:
        for begin in range(0, 60_000, 1000):
            points = [Metric("m", s / 3, 1_000_000 + s, s) for s in range(begin, begin + 1000)]
            client.log_batch(run.info.run_id, metrics=points)
    found = client.get_metric_history(run.info.run_id, "m")
    assert [one.step for one in found] == list(range(60_000))
    assert found[59_999].value == 59_999 / 3


def test_a_param_that_changes_is_refused_at_once(mlflow, client):
    with mlflow.start_run() as run:
        mlflow.log_param("depth", 3)
        begun = time.monotonic()
        with pytest.raises(MlflowException, match="Changing param values is not allowed"):
            mlflow.log_param("depth", 4)
        with pytest.raises(MlflowException, match="Changing param values is not allowed"):
            client.log_batch(
                run.info.run_id, [Metric("m", 1, 1, 1)], [Param("depth", "5")], [RunTag("t", "v")]
            )
    assert time.monotonic() - begun < 30
    found = client.get_run(run.info.run_id)
    assert found.data.metrics == {}
    assert "t" not in found.data.tags


def test_search(mlflow):
    for number in range(6):
        with mlflow.start_run(run_name=f"r{number}"):
            mlflow.log_param("model", "tree" if number % 2 else "line")
            mlflow.log_metric("acc", number / 10)
    found = mlflow.search_runs(
        filter_string="metrics.acc > 0.15 AND params.model = 'tree'", order_by=["metrics.acc DESC"]
    )
    assert list(found["tags.mlflow.runName"]) == ["r5", "r3"]
    first = mlflow.search_runs(max_results=4, output_format="list")
    assert len(first) == 4
    assert len(mlflow.search_runs(output_format="list")) == 6


def test_pages_of_a_search(mlflow, client):
    with mlflow.start_run() as run:
        pass
    experiment = run.info.experiment_id
    for number in range(7):
        client.create_run(experiment, run_name=f"r{number}")
    token, seen = None, []
    while True:
        page = client.search_runs([experiment], max_results=3, page_token=token)
        seen += [one.info.run_id for one in page]
        token = page.token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 8


def test_delete_and_restore(mlflow, client):
    with mlflow.start_run() as run:
        pass
    client.delete_run(run.info.run_id)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_metric(run.info.run_id, "m", 1)
    client.restore_run(run.info.run_id)
    client.log_metric(run.info.run_id, "m", 1)


def test_experiments(mlflow, client):
    name = f"an experiment {time.time_ns()}"
    number = client.create_experiment(name, tags={"team": "risk"})
    with pytest.raises(MlflowException, match="already exists"):
        client.create_experiment(name)
    assert client.get_experiment_by_name(name).tags == {"team": "risk"}
    assert [e.name for e in client.search_experiments(filter_string=f"name = '{name}'")] == [name]
    client.rename_experiment(number, f"{name} anew")
    client.delete_experiment(number)
    assert client.get_experiment(number).lifecycle_stage == "deleted"
    again = client.create_experiment(f"{name} anew")
    assert again != number
    assert client.get_experiment_by_name(f"{name} anew").experiment_id == again


def test_data_sets(mlflow, client):
    data = mlflow.data.from_pandas(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), name="loans")
    with mlflow.start_run() as run:
        mlflow.log_input(data, context="training")
        mlflow.log_metric("acc", 0.9, dataset=data)
    found = client.get_run(run.info.run_id)
    assert [one.dataset.name for one in found.inputs.dataset_inputs] == ["loans"]
    assert (
        len(mlflow.search_runs(filter_string="dataset.name = 'loans'", output_format="list")) == 1
    )


def test_what_was_logged_outlives_the_server(serve, tmp_path, monkeypatch):
    import mlflow

    folder = tmp_path / "own"
    folder.mkdir()
    with serve(folder) as url:
        client = mlflow.MlflowClient(url)
        run = client.create_run("0", run_name="kept").info.run_id
        client.log_param(run, "a", "1")
        client.log_metric(run, "m", 2.0, step=5)
        ended = client.create_run("0").info.run_id
        client.log_metric(ended, "m", np.nan, step=1)
        client.set_terminated(ended)
        client.create_registered_model("R")
        client.create_model_version("R", "mlflow-artifacts:/0/x", run)
        client.set_registered_model_alias("R", "champion", "1")
    with serve(folder) as url:
        client = mlflow.MlflowClient(url)
        found = client.get_run(run)
        assert found.info.run_name == "kept"
        assert found.data.params == {"a": "1"}
        assert found.data.metrics == {"m": 2.0}
        assert math.isnan(client.get_run(ended).data.metrics["m"])
        assert client.get_model_version_by_alias("R", "champion").run_id == run


def test_a_killed_server_loses_nothing_that_it_answered(serve, tmp_path):
    """Four writers until it is killed, four times; every point that was answered is there, once."""
    dice = random.Random(7)
    answered, asked, made = set(), set(), ""
    for life in range(4):
        with serve(tmp_path, dies=True) as url:
            api = f"{url}/api/2.0/mlflow"
            if not made:
                reply = requests.post(f"{api}/runs/create", json={"experiment_id": "0"}, timeout=30)
                made = reply.json()["run"]["info"]["run_id"]
            pid = json.loads((tmp_path / ".trimtab" / "up.json").read_text())["pid"]
            with ThreadPoolExecutor(5) as pool:
                for writer in range(4):
                    pool.submit(_write, api, made, life, writer, asked, answered)
                time.sleep(dice.uniform(0.3, 1.2))
                os.kill(pid, signal.SIGKILL)
    with serve(tmp_path) as url:
        found = []
        for writer in range(4):
            query = {"run_id": made, "metric_key": f"w{writer}"}
            reply = requests.get(f"{url}/api/2.0/mlflow/metrics/get-history", query, timeout=30)
            found += [(writer, one["step"]) for one in reply.json().get("metrics", [])]
    assert len(found) == len(set(found))
    assert answered <= set(found) <= asked
    assert len(answered) > 100


def _write(api, run, life, writer, asked, answered):
    session = requests.Session()
    for number in range(100_000):
        step = life * 1_000_000 + number
        asked.add((writer, step))
        body = {"run_id": run, "key": f"w{writer}", "value": 1.0, "timestamp": step, "step": step}
        try:
            reply = session.post(f"{api}/runs/log-metric", json=body, timeout=30)
        except requests.RequestException:
            return
        if reply.status_code == 200:
            answered.add((writer, step))
