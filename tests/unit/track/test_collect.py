"""What a collection takes is what it listed, and nothing that anything else names."""

from __future__ import annotations

import os
import time

import pytest

from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError, RefusedError
from trimtab.store import (
    artifacts,
    check,
    deleted,
    ledger,
    metrics,
    named,
    runs,
    tracked,
    trees,
    versions,
)
from trimtab.store.blobs import LocalBlobs
from trimtab.store.collected import Kept
from trimtab.store.records import Artifact, Point
from trimtab.store.series import compaction
from trimtab.store.workspace import open_workspace
from trimtab.track import collect, doomed, merge


@pytest.fixture
def ws(tmp_path):
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


def made(ws, name, *, parent="", blobs=(), status="done", points=3):
    run = runs.start(ws, "run", name, parent=parent, pid=0)
    for data in blobs:
        digest = ws.blobs.put(data)
        artifacts.record(
            ws, Artifact(digest=digest, kind="file", size=len(data), run=run.id, created_at=1)
        )
        runs.link(ws, run.id, "out", "file", digest)
    numbers = range(points)
    metrics.append(ws, run.id, [Point(key="a", step=n, time=n, value=n) for n in numbers])
    if status != "running":
        runs.finish(ws, run.id, status)
    return run.id


def names(ws, **asked):
    return [one.name for one in runs.find(ws, **asked)]


@pytest.mark.slow
def test_a_deleted_run_is_listed_only_where_asked_for(ws):
    one, two = made(ws, "one"), made(ws, "two")
    deleted.delete(ws, [one])
    assert names(ws, deleted=False) == ["two"]
    assert names(ws, deleted=True) == ["one"]
    assert names(ws) == ["two", "one"]
    deleted.restore(ws, [one, two])
    assert names(ws, deleted=True) == []
    assert deleted.find(ws) == {}


def test_a_run_that_is_deleted_again_keeps_its_moment(ws):
    one = made(ws, "one")
    first = deleted.delete(ws, [one])
    time.sleep(0.003)
    deleted.delete(ws, [one])
    assert deleted.find(ws) == {one: first} == {one: deleted.find_one(ws, one)}


def test_runs_inside_are_found_at_every_depth(ws):
    chain = [made(ws, "0")]
    for depth in range(1, 11):
        chain.append(made(ws, str(depth), parent=chain[-1]))
    assert deleted.within(ws, chain[:1]) == chain
    assert deleted.within(ws, chain[9:]) == chain[9:]


@pytest.mark.slow
def test_what_goes_is_what_was_listed(ws):
    one, two = made(ws, "one", blobs=[b"mine", b"ours"]), made(ws, "two", blobs=[b"ours"])
    compaction.compact(ws, one)
    metrics.append(ws, one, [Point(key="b", step=1, time=1, value=1)])
    deleted.delete(ws, [one])
    plan = collect.survey(ws, ids.now())
    assert not plan.done
    (doomed,) = plan.runs
    assert (doomed.run, doomed.batches, doomed.chunks) == (one, 1, 1)
    assert (plan.blobs, plan.blob_bytes) == (1, 4)
    assert doomed.bytes > 0
    assert [run.id for run in runs.find(ws)] == [two, one]
    found = collect.collect(ws, plan.before)
    assert found.done
    assert (found.runs, found.blobs, found.blob_bytes) == (plan.runs, 1, 4)
    assert [run.id for run in runs.find(ws)] == [two]
    assert metrics.keys(ws, one) == []
    assert [ws.blobs.read(digest) for digest in ws.blobs.digests()] == [b"ours"]
    assert check.check_blobs(ws) == []
    with pytest.raises(NotFoundError):
        runs.get(ws, one)
    assert '"blobs":1' in ledger.find(ws, kind="collect")[0].body
    again = collect.collect(ws, ids.now())
    assert (again.runs, again.blobs) == ([], 0)


def test_what_is_younger_stays(ws):
    one = made(ws, "one")
    deleted.delete(ws, [one])
    assert collect.survey(ws, ids.now() - 60_000_000).runs == []
    assert len(collect.survey(ws, ids.now()).runs) == 1


@pytest.mark.parametrize("namer", ["tree", "version", "text", "other project", "endpoint file"])
def test_bytes_that_anything_else_names_stay(ws, tmp_path, namer):
    one = made(ws, "one", blobs=[b"kept"])
    digest = ws.blobs.put(b"kept")
    os.utime(ws.blobs.path(digest), (1, 1))
    match namer:
        case "tree":
            versions.add(ws, "data", "d", trees.put_files(ws.blobs, {"a/b": digest}))
        case "version":
            versions.add(ws, "data", "d", digest)
        case "text":
            ledger.append(ws, "anything", {"about": f"see {digest}."})
        case "other project":
            other = open_workspace(tmp_path, "other")
            made(other, "theirs", blobs=[b"kept"])
            other.close()
        case "endpoint file":
            (ws.root / "endpoints").mkdir()
            (ws.root / "endpoints" / "e.json").write_text(f'{{"model": "{digest}"}}')
    deleted.delete(ws, [one])
    assert collect.survey(ws, ids.now()).blobs == 0
    collect.collect(ws, ids.now())
    assert ws.blobs.read(digest) == b"kept"
    assert runs.find(ws) == []


def test_a_record_in_a_blob_names_others(ws):
    inner = ws.blobs.put(b"inner")
    one = made(ws, "one", blobs=[b"inner"])
    made(ws, "two", blobs=[f'{{"rows": "{inner}"}}'.encode()])
    deleted.delete(ws, [one])
    collect.collect(ws, ids.now())
    assert ws.blobs.has(inner)


def test_bytes_stored_again_since_are_left_for_a_day(ws):
    one = made(ws, "one", blobs=[b"again"])
    deleted.delete(ws, [one])
    time.sleep(0.02)
    digest = ws.blobs.put(b"again")  # by somebody who is about to name it
    assert collect.collect(ws, ids.now()).blobs == 0
    os.utime(ws.blobs.path(digest), (1, 1))
    assert collect.collect(ws, ids.now()).blobs == 1


def test_what_a_tree_holds_is_left_with_it(ws):
    one = made(ws, "one", blobs=[b"leaf"])
    tree = trees.put_files(ws.blobs, {"a": ws.blobs.put(b"leaf")})
    runs.link(ws, one, "out", "tree", tree)
    deleted.delete(ws, [one])
    time.sleep(0.02)
    assert ws.blobs.again(tree)  # by a step that has its outputs already
    assert collect.collect(ws, ids.now()).blobs == 0


def test_a_run_that_made_a_version_stays_and_says_why(ws):
    one = made(ws, "one", blobs=[b"model"])
    outer = runs.get(ws, one).id
    versions.add(ws, "model", "houses", ws.blobs.put(b"model"), run=one)
    deleted.delete(ws, [outer])
    found = collect.collect(ws, ids.now())
    assert found.kept == [Kept(run=one, reason="it made the model version houses@v1")]
    assert found.runs == []


def test_a_model_in_use_guards_its_run_and_those_around_it(ws):
    outer = made(ws, "outer")
    inner = made(ws, "inner", parent=outer)
    digest = ws.blobs.put(b"model")
    versions.add(ws, "model", "houses", digest, run=inner)
    assert deleted.guarded(ws, [inner]) == []
    versions.set_alias(ws, "model", "houses", "champion", digest)
    (kept,) = deleted.guarded(ws, deleted.within(ws, [outer]))
    assert kept.run == inner
    assert "houses@v1: it has the alias houses@champion" in kept.reason


def test_an_outer_run_stays_with_one_that_is_not_deleted(ws):
    outer = made(ws, "outer")
    inner = made(ws, "inner", parent=outer)
    deleted.delete(ws, [outer])
    found = collect.collect(ws, ids.now())
    assert found.kept == [Kept(run=outer, reason=f"run {inner} inside it stays")]


def test_one_collects_at_a_time(ws):
    with (
        collect._alone(ws),
        pytest.raises(ConflictError, match="another process"),
        collect._alone(ws),
    ):
        pass


def test_the_experiment_that_is_always_there_stays(ws):
    with pytest.raises(NotFoundError):
        deleted.delete_experiment(ws, "nothing")
    with pytest.raises(NotFoundError):
        deleted.restore_experiment(ws, "nothing")
    from trimtab.interop.mlflow.board import Board

    Board(ws).load()
    with pytest.raises(RefusedError):
        deleted.delete_experiment(ws, "Default")


def test_bytes_stored_again_while_they_are_collected_stay(ws, monkeypatch):
    one = made(ws, "one", blobs=[b"again", b"gone"])
    deleted.delete(ws, [one])
    listed = collect._garbage

    def listing(*given):
        found = listed(*given)
        ws.blobs.put(b"again")  # by somebody who waits for this transaction to name it
        return found

    monkeypatch.setattr(collect, "_garbage", listing)
    assert collect.collect(ws, ids.now()).blobs == 1
    assert [ws.blobs.read(digest) for digest in ws.blobs.digests()] == [b"again"]


def test_a_run_that_is_used_meanwhile_stays(ws, monkeypatch):
    one = made(ws, "one", blobs=[b"kept"])
    deleted.delete(ws, [one])
    planned = doomed.runs

    def planning(*given):
        plan = planned(*given)
        versions.add(ws, "model", "m", ws.blobs.put(b"kept"), run=one)
        return plan

    monkeypatch.setattr(doomed, "runs", planning)
    assert collect.collect(ws, ids.now()).runs == []
    assert runs.get(ws, one).name == "one"


def test_a_version_that_names_only_files_guards_their_run(ws):
    one, two = made(ws, "one"), made(ws, "two")
    for number, run in enumerate([one, two], start=1):
        location = f"mlflow-artifacts:/0/{run}/artifacts"
        row = {"run": run, "experiment": 0, "stage": "active", "body": {"location": location}}
        tracked.save(ws, "tracked_runs", [row])
        body = {"source": f"{location}/model", "location": f"{location}/model"}
        if run == one:
            tracked.save(ws, "registered_versions", [{"name": "m", "number": number, "body": body}])
    (kept,) = deleted.guarded(ws, [one, two])
    assert kept == Kept(run=one, reason="version 1 of the registered model 'm' is of it")
    named = {"name": "m", "number": 2, "body": {"source": f"runs:/{two}/model"}}
    tracked.save(ws, "registered_versions", [named])
    assert {kept.run for kept in deleted.guarded(ws, [one, two])} == {one, two}


def test_names_in_a_long_file_are_found_wherever_they_lie(ws):
    digest = ws.blobs.put(b"far")
    (ws.root / "work").mkdir()
    for begin in (0, (1 << 20) - 30, 3 << 20):
        (ws.root / "work" / "notes.json").write_bytes(b"x" * begin + digest.encode() + b"x")
        assert digest in named.digests_of_files(ws.root)


def test_what_a_spool_names_is_dated_anew_in_the_store(ws, tmp_path):
    other = LocalBlobs(tmp_path / "other")
    leaf = other.put(b"leaf")
    node = trees.put_files(other, {"a": leaf})
    for digest in (ws.blobs.put(b"leaf"), trees.put_files(ws.blobs, {"a": leaf})):
        os.utime(ws.blobs.path(digest), (1, 1))
    merge.copy(other, ws.blobs, node)
    assert all(ws.blobs.path(digest).stat().st_mtime > 1 for digest in (leaf, node))


def test_a_run_that_comes_again_after_a_collection_died_keeps_what_it_has(ws, monkeypatch):
    one = made(ws, "one", blobs=[b"mine"])
    run, digest = runs.get(ws, one), ws.blobs.put(b"mine")
    deleted.delete(ws, [one])
    with monkeypatch.context() as patched:
        patched.setattr(collect, "_sweep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collect.collect(ws, ids.now())
    runs.record(ws, run)
    runs.link(ws, one, "out", "file", digest)
    os.utime(ws.blobs.path(digest), (1, 1))
    assert collect.survey(ws, ids.now()).blobs == 0
    assert collect.collect(ws, ids.now()).blobs == 0
    assert ws.blobs.has(digest)
