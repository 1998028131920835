"""Models that passed the gate are read by MLflow's clients and changed by the gate alone."""

from __future__ import annotations

import pytest
import yaml

from trimtab.store import artifacts, runs, trees, versions
from trimtab.store.records import Artifact

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def get(ask):
    return lambda path, **asked: ask("GET", API + path, params=asked).json()


def passes(ws, data=b"a graph", name="loans", **meta):
    """A model as the gate leaves it."""
    files = {"signature.json": ws.blobs.put(b"{}"), "model.onnx": ws.blobs.put(data)}
    digest = trees.put_files(ws.blobs, files)
    artifacts.record(ws, Artifact(digest=digest, kind="model", size=9, meta={}, run=""))
    run = runs.start(ws, "flow", "train")
    return versions.add(ws, "model", name, digest, run=run.id, meta={"engine": "onnx", **meta})


def test_a_model_is_there_once_it_has_passed(other, get):
    assert get("registered-models/search") == {}
    first = passes(other)
    versions.set_alias(other, "model", "loans", "champion", first.digest)
    (found,) = get("registered-models/search")["registered_models"]
    assert (found["name"], found["aliases"]) == (
        "trimtab.loans", [{"alias": "champion", "version": "1"}],
    )  # fmt: skip
    second = passes(other, b"another", provisional=True)
    assert get("model-versions/get", name="trimtab.loans", version="2")["model_version"][
        "description"
    ] == ("passed the gate, provisionally")
    asked = {"name": "trimtab.loans", "alias": "champion"}
    found = get("registered-models/alias", **asked)["model_version"]
    assert (found["version"], found["run_id"]) == ("1", first.run)
    versions.set_alias(other, "model", "loans", "champion", second.digest)
    assert get("registered-models/alias", **asked)["model_version"]["version"] == "2"
    listed = get("model-versions/search", filter="name = 'trimtab.loans'")["model_versions"]
    assert [one["version"] for one in listed] == ["2", "1"]


def test_its_files_are_read(other, ask, get):
    passes(other)
    where = get("model-versions/get-download-uri", name="trimtab.loans", version="1")
    folder = where["artifact_uri"].removeprefix("mlflow-artifacts:/")
    listed = ask("GET", f"{FILES}?path={folder}").json()["files"]
    assert [one["path"] for one in listed] == ["MLmodel", "model.onnx", "signature.json"]
    assert ask("GET", f"{FILES}/{folder}/model.onnx").content == b"a graph"
    told = yaml.safe_load(ask("GET", f"{FILES}/{folder}/MLmodel").content)
    assert told["flavors"]["onnx"]["data"] == "model.onnx"


def test_clients_change_nothing_of_it(other, ask, get):
    passes(other)
    assert get("registered-models/get", name="trimtab.loans")["registered_model"]
    name = {"name": "trimtab.loans"}
    for method, path, fields in (
        ("POST", "registered-models/create", {"name": "trimtab.mine"}),
        ("POST", "registered-models/rename", {**name, "new_name": "x"}),
        ("POST", "registered-models/alias", {**name, "alias": "champion", "version": "1"}),
        ("DELETE", "registered-models/delete", name),
        ("DELETE", "model-versions/delete", {**name, "version": "1"}),
        ("POST", "model-versions/create", {**name, "source": "mlflow-artifacts:/0/x"}),
        ("POST", "model-versions/set-tag", {**name, "version": "1", "key": "a", "value": "b"}),
    ):
        reply = ask(method, API + path, json=fields)
        assert (reply.status_code, "only read" in reply.json()["message"]) == (400, True), path
    assert ask("POST", f"{API}registered-models/create", json={"name": "x"}).status_code == 200
    renamed = ask("POST", f"{API}registered-models/rename", json={"name": "x", **_new("trimtab.x")})
    assert renamed.status_code == 400
    for method in ("PUT", "DELETE"):
        reply = ask(method, f"{FILES}/trimtab/loans/1/model.onnx", content=b"x")
        assert reply.status_code == 400
    assert len(get("model-versions/search")["model_versions"]) == 1


def _new(name):
    return {"new_name": name}


def test_a_board_that_is_read_anew_shows_it_again(app, other, get):
    passes(other)
    assert get("registered-models/search")["registered_models"]
    app.board.reset()
    assert get("registered-models/search")["registered_models"]
