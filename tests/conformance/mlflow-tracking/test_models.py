"""Files and models: logged, listed, registered, loaded again; and what must not be reached."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def client(mlflow):
    return mlflow.MlflowClient()


@pytest.fixture
def data():
    rng = np.random.default_rng(7)
    table = pd.DataFrame(rng.random((60, 3)), columns=list("abc"))
    return table, (table["a"] > 0.5).astype(int)


@pytest.fixture
def name():
    return f"Model {time.time_ns()}"


def test_files(mlflow, client, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.bin").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "more" / "größe 1.txt").write_text("ä")
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_text("again", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
        mlflow.log_artifacts(str(tmp_path / "more"), "more")
        mlflow.log_table({"q": [1, 2]}, "t.json")
    listed = client.list_artifacts(run.info.run_id)
    assert [(one.path, one.is_dir) for one in listed] == [
        ("b.json", False),
        ("more", True),
        ("notes", True),
        ("t.json", False),
    ]
    inner = client.list_artifacts(run.info.run_id, "more")
    assert [one.path for one in inner] == ["more/größe 1.txt", "more/x.bin"]
    assert inner[1].file_size == 256 * 20_000
    assert client.list_artifacts(run.info.run_id, "none") == []
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "again"
    there = mlflow.artifacts.download_artifacts(run_id=run.info.run_id)
    whole = (tmp_path / "more" / "x.bin").read_bytes()
    assert (Path(there) / "more" / "x.bin").read_bytes() == whole


def test_a_part_of_a_file(mlflow, ours):
    with mlflow.start_run() as run:
        mlflow.log_text("0123456789", "n.txt")
    url = f"{ours}{FILES}/{run.info.experiment_id}/{run.info.run_id}/artifacts/n.txt"
    whole = requests.get(url, timeout=30)
    assert whole.content == b"0123456789"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    part = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=30)
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert requests.get(url, headers={"Range": "bytes=-3"}, timeout=30).content == b"789"
    assert requests.get(url, headers={"Range": "bytes=10-"}, timeout=30).status_code == 416
    tag = whole.headers["etag"]
    assert requests.get(url, headers={"If-None-Match": tag}, timeout=30).status_code == 304
    assert requests.head(url, timeout=30).headers["content-length"] == "10"
    assert requests.delete(url, timeout=30).status_code == 200
    gone = requests.get(url, timeout=30)
    assert (gone.status_code, gone.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "a/../../x", "%2e%2e/x", "a%2f..%2f..%2fx", "%252e%252e/x", "/etc/passwd"),
        *("c:/x", "a%00b", "a\\..\\x", "a//b", "./a"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_paths_that_lead_out_are_refused(ours, path, method):
    session = requests.Session()
    asked = requests.Request(method, ours, data=b"x" if method == "PUT" else None).prepare()
    asked.url = f"{ours}{FILES}/{path}"
    assert session.send(asked, timeout=30).status_code in {400, 404}
    if method == "PUT":
        assert session.send(asked, timeout=30).status_code == 400


def test_a_model_is_logged_and_loaded(mlflow, client, data, name):
    rows, truth = data
    fitted = LogisticRegression().fit(rows, truth)
    with mlflow.start_run() as run:
        mlflow.log_metric("before", 1)
        info = mlflow.sklearn.log_model(
            fitted, name="model", registered_model_name=name, input_example=rows[:2]
        )
    expected = fitted.predict(rows)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_model_version_tag(name, "1", "checked", "yes")
    for uri in (
        info.model_uri,
        f"runs:/{run.info.run_id}/model",
        f"models:/{name}/1",
        f"models:/{name}@champion",
    ):
        assert (mlflow.sklearn.load_model(uri).predict(rows) == expected).all(), uri
    found = client.get_model_version_by_alias(name, "champion")
    assert found.tags == {"checked": "yes"}
    assert found.run_id == run.info.run_id
    assert name in [one.name for one in client.search_registered_models()]
    assert [one.version for one in client.search_model_versions(f"name = '{name}'")] == ["1"]


def test_a_logged_model_is_an_output_of_its_run(mlflow, told, data):
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(LogisticRegression().fit(*data), name="tree")
    links = told("runs", "show", run.info.run_id)["links"]
    assert [(one["direction"], one["name"]) for one in links] == [("out", "tree")]


def test_versions_and_stages(mlflow, client, name):
    client.create_registered_model(name, tags={"team": "risk"}, description="a model")
    for _ in range(3):
        client.create_model_version(name, "mlflow-artifacts:/0/x")
    client.set_registered_model_alias(name, "old", "3")
    client.delete_model_version(name, "3")
    assert client.create_model_version(name, "mlflow-artifacts:/0/x").version == "4"
    with pytest.raises(MlflowException, match="not found"):
        client.get_model_version_by_alias(name, "old")
    client.transition_model_version_stage(name, "1", "Production")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert client.get_model_version(name, "1").current_stage == "Archived"
    assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["2"]
    client.update_model_version(name, "2", "told")
    client.rename_registered_model(name, f"{name} anew")
    assert client.get_model_version(f"{name} anew", "2").description == "told"
    client.delete_registered_model(f"{name} anew")
    with pytest.raises(MlflowException, match="not found"):
        client.get_registered_model(f"{name} anew")


def test_autologging(mlflow, client, data):
    mlflow.sklearn.autolog()
    try:
        with mlflow.start_run() as run:
            LogisticRegression(C=0.5).fit(*data)
    finally:
        mlflow.sklearn.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    assert found.data.params["C"] == "0.5"
    assert found.data.metrics["training_accuracy_score"] > 0.5
    assert len(found.outputs.model_outputs) == 1
    assert found.inputs.dataset_inputs


def test_evaluation(mlflow, data):
    rows, truth = data
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(LogisticRegression().fit(rows, truth), name="model")
        result = mlflow.models.evaluate(
            info.model_uri,
            rows.assign(y=truth),
            targets="y",
            model_type="classifier",
            evaluator_config={"log_explainer": False},
        )
    assert result.metrics["accuracy_score"] > 0.5


def test_many_writers(mlflow, client):
    with mlflow.start_run() as run:
        pass

    def write(number):
        for step in range(25):
            client.log_metric(run.info.run_id, f"m{number}", step, step=step)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    for number in range(16):
        found = client.get_metric_history(run.info.run_id, f"m{number}")
        assert [one.step for one in found] == list(range(25))


def test_what_is_not_there_is_refused_at_once(ours):
    for path in ("/api/2.0/mlflow/traces", "/api/3.0/mlflow/traces/search", "/v1/traces"):
        reply = requests.post(f"{ours}{path}", json={}, timeout=30)
        assert (reply.status_code, reply.json()["error_code"]) == (404, "NOT_IMPLEMENTED")
    reply = requests.get(f"{ours}/api/2.0/mlflow/nonsense", timeout=30)
    assert (reply.status_code, reply.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_strangers_are_refused(ours):
    url = f"{ours}/api/2.0/mlflow/experiments/search"
    assert requests.post(url, json={}, headers={"Host": "evil.test"}, timeout=30).status_code == 403
    foreign = {"Origin": "https://evil.test"}
    assert requests.post(url, json={}, headers=foreign, timeout=30).status_code == 403
    plain = {"Content-Type": "text/plain"}
    assert requests.post(url, data="{}", headers=plain, timeout=30).status_code == 400
    put = f"{ours}{FILES}/0/x"
    assert requests.put(put, data=b"x", headers=foreign, timeout=30).status_code == 403


def test_a_client_that_would_send_parts_sends_the_whole(mlflow, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 << 20))
    (tmp_path / "big.bin").write_bytes(bytes(10 << 20))
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "big.bin"))
    there = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/big.bin")
    assert Path(there).stat().st_size == 10 << 20
