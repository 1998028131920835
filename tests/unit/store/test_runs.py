"""Runs, what they read and made, and the cache of their steps."""

from __future__ import annotations

import os

import pytest

from trimtab import hashing, ids
from trimtab.errors import ConflictError, NotFoundError
from trimtab.store import cache, runs
from trimtab.store.records import CachedStep, Run
from trimtab.store.workspace import Workspace

DATA = hashing.digest("blob", b"data")


def test_a_run_begins_and_ends(ws: Workspace) -> None:
    run = runs.start(ws, "flow", "train", params={"a": [1, 2.5]}, cause={"by": "hand"})
    assert (run.status, run.pid, run.ended_at) == ("running", os.getpid(), 0)
    assert runs.get(ws, run.id) == run
    runs.update(ws, run.id, heartbeat_at=7, peak_bytes=2**40)
    runs.finish(ws, run.id, "failed", error={"type": "ValueError", "message": "no"})
    ended = runs.get(ws, run.id)
    assert (ended.status, ended.heartbeat_at, ended.peak_bytes) == ("failed", 7, 2**40)
    assert ended.error == {"type": "ValueError", "message": "no"}
    assert ended.ended_at >= run.started_at


def test_an_ended_run_stays_as_it_ended(ws: Workspace) -> None:
    run = runs.start(ws, "flow", "train")
    runs.finish(ws, run.id, "cancelled")
    ended = runs.get(ws, run.id)
    runs.finish(ws, run.id, "done")
    assert runs.get(ws, run.id) == ended


def test_a_run_that_fails_keeps_its_errors_class_and_message(ws: Workspace) -> None:
    run = runs.start(ws, "step", "fit")
    runs.fail(ws, run.id, ValueError("no rows"))
    found = runs.get(ws, run.id)
    assert (found.status, found.error) == ("failed", {"type": "ValueError", "message": "no rows"})


def test_one_run_per_concurrency_key(ws: Workspace, other: Workspace) -> None:
    run = runs.start(ws, "flow", "train", concurrency_key="flow:train")
    with pytest.raises(ConflictError, match="flow:train"):
        runs.start(ws, "flow", "train", concurrency_key="flow:train")
    runs.start(ws, "flow", "train")
    runs.start(ws, "flow", "train")
    runs.start(other, "flow", "train", concurrency_key="flow:train")
    runs.finish(ws, run.id, "done")
    runs.start(ws, "flow", "train", concurrency_key="flow:train")
    assert len(runs.find(ws)) == 4


def test_a_refused_run_does_not_spoil_the_transaction_around_it(ws: Workspace) -> None:
    runs.start(ws, "flow", "train", concurrency_key="k")
    with ws.transaction():
        runs.start(ws, "step", "before")
        with pytest.raises(ConflictError):
            runs.start(ws, "flow", "train", concurrency_key="k")
        runs.start(ws, "step", "after")
    assert {one.name for one in runs.find(ws, kind="step")} == {"before", "after"}


def test_an_id_runs_once(ws: Workspace) -> None:
    run = runs.start(ws, "flow", "train", id=ids.new_id())
    with pytest.raises(ConflictError, match=run.id):
        runs.record(ws, run)


def test_a_run_that_was_over_is_stored_as_it_is(ws: Workspace) -> None:
    run = Run(id=ids.new_id(), kind="step", name="clean", status="cached", started_at=1, ended_at=2)
    runs.record(ws, run)
    assert runs.get(ws, run.id) == run


def test_a_prefix_is_enough_where_it_is_clear(ws: Workspace, other: Workspace) -> None:
    runs.start(ws, "flow", "a", id="0123456" + "0" * 25)
    runs.start(ws, "flow", "b", id="0123457" + "0" * 25)
    assert runs.get(ws, "0123456").name == "a"
    for wrong in ("012345", "0123", "", "______", "%%%%%%", "0123458", "0" * 32):
        with pytest.raises(NotFoundError):
            runs.get(ws, wrong)
    with pytest.raises(NotFoundError):
        runs.get(other, "0123456")


def test_runs_are_found_newest_first(ws: Workspace) -> None:
    flow = runs.start(ws, "flow", "train")
    steps = [runs.start(ws, "step", f"s{n}", parent=flow.id, key=f"k{n}") for n in range(3)]
    runs.finish(ws, steps[0].id, "done")
    names = lambda **wanted: [one.name for one in runs.find(ws, **wanted)]  # noqa: E731
    assert names(parent=flow.id) == ["s2", "s1", "s0"]
    assert names(kind="flow") == ["train"]
    assert names(status="done") == ["s0"]
    assert names(key="k1") == ["s1"]
    assert names(name="s2", kind="flow") == []
    assert names(limit=2) == ["s2", "s1"]


def test_links_say_what_a_run_read_and_made(ws: Workspace, other: Workspace) -> None:
    run = runs.start(ws, "step", "clean")
    for _ in range(2):
        runs.link(ws, run.id, "in", "loans", DATA)
        runs.link(ws, run.id, "out", "clean", DATA)
    assert [(one.direction, one.name) for one in runs.links(ws, run.id)] == [
        ("in", "loans"),
        ("out", "clean"),
    ]
    assert {one.run for one in runs.users(ws, DATA)} == {run.id}
    assert runs.users(other, DATA) == runs.links(other, run.id) == []


def step(key: str, **fields: object) -> CachedStep:
    given = {"name": "clean", **fields}
    return CachedStep(key=key, run="r", outputs=[DATA], codecs=["json"], **given)


def test_the_first_writer_of_a_step_wins(ws: Workspace, other: Workspace) -> None:
    first = step("k1", components={"code": "a"}, observed={"env": "b"}, weak=["c"], created_at=1)
    assert cache.put(ws, first)
    assert not cache.put(ws, step("k1", created_at=2))
    assert cache.get(ws, "k1") == first
    assert cache.get(ws, "k2") is None
    assert cache.get(other, "k1") is None


def test_the_newest_step_of_a_name(ws: Workspace) -> None:
    assert cache.last(ws, ["clean"]) == {}
    cache.put(ws, step("new", created_at=2))
    cache.put(ws, step("old", created_at=1))
    cache.put(ws, step("only", name="split"))
    newest = cache.last(ws, ["clean", "split", "fit"])
    assert {name: one.key for name, one in newest.items()} == {"clean": "new", "split": "only"}


def test_a_forgotten_step_can_be_remembered_anew(ws: Workspace) -> None:
    cache.put(ws, step("k1"))
    cache.remove(ws, "k1")
    assert cache.get_many(ws, ["k1", "k2"]) == {}
    assert cache.put(ws, step("k1"))
    assert set(cache.get_many(ws, ["k1", "k2"])) == {"k1"}
