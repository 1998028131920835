"""What `trimtab run` and the SDK write is seen by MLflow's clients while the server runs."""

from __future__ import annotations

import gc
import sqlite3

import pytest
import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import StorageError
from trimtab.interop.mlflow import following, ours
from trimtab.interop.mlflow.board import Board
from trimtab.store import artifacts, deleted, metrics, outside, runs, tables, trees
from trimtab.store.records import Artifact, Point

API = "/api/2.0/mlflow/"


@pytest.fixture
def post(ask):
    return lambda path, **fields: ask("POST", API + path, json=fields)


@pytest.fixture
def send(ask):
    """A request for files: `send("GET", path, **headers)`."""

    def one(method, path, **headers):
        return ask(method, path, headers=headers)

    return one


@pytest.fixture
def found(post):
    def search(text=""):
        reply = post("runs/search", experiment_ids=["0"], filter=text)
        assert reply.status_code == 200, reply.text
        return [one["info"]["run_name"] for one in reply.json().get("runs", [])]

    return search


def log(ws, run, key, value):
    with ws.transaction():
        metrics.append(ws, run.id, [Point(key=key, step=0, time=ids.now(), value=value)])


def test_a_run_of_the_sdk_is_seen_as_it_goes(other, found):
    assert found() == []
    run = runs.start(other, "run", "fit", params={"depth": 6, "deep": {"a": 1}}, tags={"team": "x"})
    assert found("params.depth = '6' and tags.team = 'x'") == ["fit"]
    log(other, run, "loss", 0.5)
    assert found("metrics.loss < 1 and attributes.status = 'RUNNING'") == ["fit"]
    log(other, run, "loss", 1.5)
    runs.finish(other, run.id, "done")
    assert found("metrics.loss > 0 and attributes.status = 'FINISHED'") == ["fit"]


def test_flows_are_listed_and_what_is_in_them_is_not(other, found):
    flow = runs.start(other, "flow", "train")
    for kind in ("step", "trial", "evaluate"):
        runs.start(other, kind, kind, parent=flow.id)
    assert found() == ["train"]
    assert found("tags.`trimtab.kind` = 'flow'") == ["train"]


def test_clients_only_read_it(other, post, found):
    run = runs.start(other, "run", "fit", params={"depth": 6})
    assert found() == ["fit"]
    for path, fields in (
        ("runs/set-tag", {"key": "a", "value": "b"}),
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "a", "value": "1"}),
        ("runs/log-batch", {"params": [{"key": "a", "value": "1"}]}),
        ("runs/update", {"status": "FAILED"}),
        ("runs/delete", {}),
        ("runs/restore", {}),
    ):
        reply = post(path, run_id=run.id, **fields)
        assert (reply.status_code, "only read" in reply.json()["message"]) == (400, True), path
    assert runs.get(other, run.id) == run


def test_a_client_s_run_that_the_sdk_takes_up_again(other, post, found):
    made = post("runs/create", experiment_id="0", run_name="mine").json()["run"]["info"]["run_id"]
    post("runs/log-parameter", run_id=made, key="a", value="1")
    runs.update(other, made, pid=7, params={"a": "1", "b": 2}, heartbeat_at=ids.now())
    assert found("params.b = '2'") == ["mine"]
    assert post("runs/log-parameter", run_id=made, key="c", value="3").status_code == 200
    assert runs.get(other, made).params == {"a": "1", "b": "2", "c": "3"}


def test_what_the_sdk_wrote_to_a_client_s_run_stays_though_nobody_looks(other, post):
    made = post("runs/create", experiment_id="0", run_name="mine").json()["run"]["info"]["run_id"]
    post("runs/log-parameter", run_id=made, key="a", value="1")
    post("runs/update", run_id=made, status="FINISHED", end_time=7)
    tags = runs.get(other, made).tags
    runs.update(
        other, made, pid=7, status="running", ended_at=0, params={"a": "1", "b": "2"},
        tags={**tags, "ours": "x"},
    )  # fmt: skip
    assert post("runs/set-tag", run_id=made, key="theirs", value="y").status_code == 200
    found = runs.get(other, made)
    assert (found.status, found.params) == ("running", {"a": "1", "b": "2"})
    assert found.tags.items() >= {"ours": "x", "theirs": "y"}.items()
    with other.transaction():
        runs.finish(other, made, "done")
        outside.note_run(other, made)
    assert post("runs/set-tag", run_id=made, key="late", value="z").status_code == 200
    assert runs.get(other, made).status == "done"
    assert runs.get(other, made).ended_at > 0


def test_a_disk_that_takes_no_files_of_models_hides_no_runs(other, found, monkeypatch):
    def full(*_):
        raise StorageError("the disk is full")

    run = runs.start(other, "run", "fit")
    with monkeypatch.context() as patched:
        patched.setattr(ours, "publish", full)
        assert found() == ["fit"]
    tried = []
    monkeypatch.setattr(ours, "publish", tried.append)
    runs.finish(other, run.id, "done")
    assert found() == ["fit"]
    assert tried


def test_what_is_gone_is_gone(other, found):
    run = runs.start(other, "run", "fit")
    assert found() == ["fit"]
    with other.transaction() as tx:
        tx.execute(sa.delete(tables.runs).where(tables.runs.c.id == run.id))
    assert found() == []


def test_what_is_deleted_is_not_seen_until_it_is_restored(other, found):
    run = runs.start(other, "run", "fit")
    runs.finish(other, run.id, "done")
    assert found() == ["fit"]
    deleted.delete(other, [run.id])
    assert found() == []
    deleted.restore(other, [run.id])
    assert found() == ["fit"]


def test_a_board_that_is_read_anew_shows_it_again(app, other, found):
    runs.start(other, "run", "fit")
    assert found() == ["fit"]
    app.board.reset()
    assert found() == ["fit"]


def test_nothing_is_asked_where_nothing_was_written(app, other, found, monkeypatch):
    runs.start(other, "run", "fit")
    assert found() == ["fit"]
    found()
    monkeypatch.setattr(following, "_rows", None)
    assert found() == ["fit"]


def make(ws, run, name, files, at=1):
    """An artifact as the SDK stores one: a tree."""
    digest = trees.put_files(ws.blobs, {path: ws.blobs.put(data) for path, data in files.items()})
    artifacts.record(ws, Artifact(digest=digest, kind="file", size=1, run=run, created_at=at))
    runs.link(ws, run, "out", name, digest)
    return digest


FILES = "/api/2.0/mlflow-artifacts/artifacts"


def listed(send, run, path=""):
    reply = send("GET", f"{API}artifacts/list?run_id={run}&path={path}")
    assert reply.status_code == 200, reply.text
    beside = send("GET", f"{FILES}?path=0/{run}/artifacts{path and '/' + path}").json()
    names = [one["path"].rpartition("/")[2] for one in reply.json().get("files", [])]
    assert [one["path"] for one in beside.get("files", [])] == names
    return [(one["path"], one.get("file_size")) for one in reply.json().get("files", [])]


def test_what_a_run_made_is_listed_and_read(other, send):
    run = runs.start(other, "run", "fit").id
    make(other, run, "loss.png", {"loss.png": b"old"}, at=1)
    make(other, run, "loss.png", {"loss.png": b"picture"}, at=2)
    make(other, run, "plots/roc.svg", {"roc.svg": b"<svg/>"})
    make(other, run, "data", {"a.csv": b"a\n1\n", "deep/b.csv": b"b\n"})
    runs.link(other, run, "out", "graph", other.blobs.put(b"[1]"))
    runs.link(other, run, "in", "read", other.blobs.put(b"not made"))
    assert listed(send, run) == [("data", None), ("graph", 3), ("loss.png", 7), ("plots", None)]
    assert listed(send, run, "data") == [("data/a.csv", 4), ("data/deep", None)]
    assert listed(send, run, "plots") == [("plots/roc.svg", 6)]
    assert listed(send, run, "loss.png") == listed(send, run, "nowhere") == []
    root = f"{FILES}/0/{run}/artifacts"
    assert send("GET", f"{root}/loss.png").content == b"picture"
    assert send("GET", f"{root}/data/a.csv", range="bytes=2-").content == b"1\n"
    assert send("GET", f"/get-artifact?run_id={run}&path=graph").content == b"[1]"
    assert send("GET", f"{root}/data").status_code == 404
    assert send("GET", f"{root}/data/../../x").status_code in (400, 404)


def test_what_a_run_made_is_kept(other, send):
    run = runs.start(other, "run", "fit").id
    make(other, run, "a.txt", {"a.txt": b"a"})
    root = f"{FILES}/0/{run}/artifacts"
    for method, path in [
        ("PUT", root), ("PUT", f"{root}/a.txt"), ("PUT", f"{root}/b/c.txt"),
        ("DELETE", root), ("DELETE", f"{root}/a.txt"), ("DELETE", f"{root}/b"),
    ]:  # fmt: skip
        reply = send(method, path)
        assert (reply.status_code, "only read" in reply.json()["message"]) == (400, True), path
    assert listed(send, run) == [("a.txt", 1)]
    deleted.delete(other, [run])
    assert send("GET", f"{root}/a.txt").status_code == 404


def test_what_cannot_be_read_or_named_hides_nothing_else(other, send):
    run = runs.start(other, "run", "fit").id
    make(other, run, "a.txt", {"a.txt": b"a"})
    make(other, run, "../up", {"x": b"1"})
    make(other, run, "line\nbreak", {"x": b"1"})
    gone = make(other, run, "gone", {"x": b"other bytes"})
    other.blobs.remove(gone)
    assert listed(send, run) == [("a.txt", 1)]
    lost = make(other, run, "b.txt", {"b.txt": b"only here"})
    assert listed(send, run)[1:] == [("b.txt", 9)]
    other.blobs.remove(trees.walk(other.blobs, lost)["b.txt"].digest)
    assert send("GET", f"{FILES}/0/{run}/artifacts/b.txt").status_code == 404


def test_a_client_s_own_run_takes_no_file_in_the_place_of_its_folder(post, send):
    run = post("runs/create", experiment_id="0").json()["run"]["info"]["run_id"]
    assert send("PUT", f"{FILES}/0/{run}/artifacts").status_code == 400
    assert send("PUT", f"{FILES}/0/{run}/artifacts/a").status_code == 200


def test_only_runs_that_changed_are_read_again(other, found, monkeypatch):
    made = [runs.start(other, "run", f"fit {number}") for number in range(3)]
    assert len(found()) == 3
    real, asked = following._records, []
    monkeypatch.setattr(
        following, "_records", lambda board, ids: asked.extend(ids) or real(board, ids)
    )
    log(other, made[1], "loss", 0.5)
    assert found("metrics.loss = 0.5") == ["fit 1"]
    runs.update(other, made[2].id, heartbeat_at=ids.now() + 1)
    found()
    assert asked == [made[1].id]


def test_what_is_noted_no_more_is_read_whole(other, found):
    run = runs.start(other, "run", "fit")
    late = runs.start(other, "run", "late")
    assert len(found()) == 2
    log(other, run, "loss", 0.5)
    with other.transaction() as tx:
        tx.execute(sa.delete(tables.runs).where(tables.runs.c.id == late.id))
        tx.exec_driver_sql("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")
    assert found("metrics.loss = 0.5") == ["fit"]
    assert found() == ["fit"]


def test_who_is_forgotten_leaves_no_connection_open(other):
    one = following.Following(Board(other))
    one.catch_up()
    link = one._link
    del one
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        link.execute("PRAGMA data_version")
