"""Runs at the command line: deleted, restored, collected, imported and exported."""

import os

import pytest

from trimtab.loop.project import open_project
from trimtab.store import metrics, runs, versions
from trimtab.store.records import Point


@pytest.fixture
def ws(project):
    opened = open_project(project).ws
    yield opened
    opened.close()


def made(ws, name, *, parent="", status="done", pid=0, **params):
    run = runs.start(ws, "run", name, parent=parent, params=params, pid=pid)
    metrics.append(ws, run.id, [Point(key="loss", step=1, time=1, value=0.5)])
    if status != "running":
        runs.finish(ws, run.id, status)
    return run.id


def listed(call, *more):
    return [one["name"] for one in call("runs", "ls", "--json", *more).body["runs"]]


@pytest.mark.slow
def test_deleted_restored_and_gone(call, ws):
    outer = made(ws, "outer")
    inner = made(ws, "inner", parent=outer)
    kept = made(ws, "kept")
    ended = call("runs", "rm", outer[:20])
    assert ended.code == 0
    assert "2 runs deleted" in ended.out
    assert listed(call) == ["kept"]
    assert sorted(listed(call, "--deleted", "--all")) == ["inner", "kept", "outer"]
    assert "deleted" in call("runs", "show", outer).out
    assert call("runs", "restore", outer, "--json").body["runs"] == [outer, inner]
    assert listed(call) == ["kept", "outer"]
    call("runs", "rm", "--where", "name = 'outer'")
    plan = call("runs", "gc", "--older-than", "0")
    assert "would go: 2 runs" in plan.out
    assert "--yes does it" in plan.err
    assert call("runs", "gc", "--older-than", "0", "--yes", "--dry-run").code == 0
    assert len(runs.find(ws)) == 3
    found = call("runs", "gc", "--older-than", "0", "--yes", "--json").body
    assert found["done"]
    assert [one.id for one in runs.find(ws)] == [kept]
    assert call("doctor").code == 0
    assert call("timeline").code == 0


def test_what_is_refused_says_why(call, ws):
    running = made(ws, "running", status="running", pid=os.getpid())
    open_ended = made(ws, "open", status="running")
    maker = made(ws, "maker")
    digest = ws.blobs.put(b"model")
    versions.add(ws, "model", "houses", digest, run=maker)
    versions.set_alias(ws, "model", "houses", "champion", digest)
    for run, reason in (
        (running, f"it is running, as process {os.getpid()}"),
        (open_ended, "nobody has ended it"),
        (maker, "it made the model houses@v1: it has the alias houses@champion"),
    ):
        ended = call("runs", "rm", run)
        assert ended.code == 3
        assert reason in ended.err
    assert call("runs", "rm", running, "--force").code == 3
    assert call("runs", "rm", open_ended, "--force").code == 0
    found = call("runs", "rm", "--where", "metrics.loss > 0", "--json").body
    assert found["runs"] == []
    assert {one["run"] for one in found["kept"]} == {running, maker}
    assert len(listed(call)) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rm"], 2, "no run is named"),
        (["rm", "nothing"], 4, "no single run"),
        (["rm", "--where", "depth >"], 2, "a run has no 'depth'"),
        (["rm", "--experiment", "nothing"], 4, "no experiment"),
        (["rm", "abcdef", "--experiment", "x"], 2, "goes with all of its runs"),
        (["restore", "--experiment", "nothing"], 4, "no deleted experiment"),
        (["gc", "--older-than", "soon"], 2, "is no moment"),
        (["export", "--to", "x.csv", "abcdef"], 2, "by --where"),
        (["export", "--to", "mlruns:x", "--deleted"], 2, "are for files"),
        (["export", "--to", "mlruns:out"], 2, "no run is named"),
        (["export", "--to", "mlruns:out", "abcdef"], 4, "no single run"),
        (["import", "nothing"], 4, "no folder or file"),
        (["import", "http://127.0.0.1:9"], 1, "does not answer"),
    ],
)
def test_mistakes(call, ws, monkeypatch, words, code, said):
    monkeypatch.setattr("trimtab.interop.transfer.rest._WAIT", 0.0)
    ended = call("runs", *words)
    assert ended.code == code
    assert said in ended.err


@pytest.mark.slow
def test_out_to_a_folder_and_in_again(call, ws, tmp_path):
    run = made(ws, "fit", depth=3)
    ended = call("runs", "export", "--to", f"mlruns:{tmp_path}/out", run)
    assert "carried  1 runs of 1 experiments" in ended.out
    call("runs", "rm", run)
    call("runs", "gc", "--older-than", "0", "--yes")
    ended = call("runs", "import", tmp_path / "out")
    assert "carried  1 runs of 2 experiments" in ended.out
    shown = call("runs", "show", run, "--json").body
    assert (shown["run"]["name"], shown["run"]["params"]) == ("fit", {"depth": "3"})
    assert shown["metrics"] == {"loss": 0.5}
    (tmp_path / "out" / "0" / "meta.yaml").write_text("[")
    ended = call("runs", "import", tmp_path / "out")
    assert "not carried: 1" in ended.out
    assert "cannot be read" in ended.out
