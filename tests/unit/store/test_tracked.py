"""Rows of what other tools' clients log."""

from __future__ import annotations

import pytest

from trimtab.errors import ConflictError
from trimtab.store import runs, tracked


def experiment(number, name, stage="active"):
    return {"id": number, "name": name, "stage": stage, "body": {"n": number}}


def test_rows_are_replaced_by_their_keys(ws, other):
    tracked.save(ws, "experiments", [experiment(1, "a"), experiment(2, "b")])
    tracked.save(ws, "experiments", [experiment(1, "c")])
    assert [row["name"] for row in tracked.load(ws, "experiments")] == ["c", "b"]
    assert list(tracked.load(other, "experiments")) == []
    tracked.remove(other, "experiments", [{"id": 1}])
    tracked.remove(ws, "experiments", [{"id": 1}, {"id": 9}])
    assert [row["body"] for row in tracked.load(ws, "experiments")] == [{"n": 2}]


def test_one_active_experiment_has_a_name(ws, other):
    tracked.save(ws, "experiments", [experiment(1, "a", "deleted"), experiment(2, "a")])
    tracked.save(other, "experiments", [experiment(1, "a")])
    with pytest.raises(ConflictError):
        tracked.save(ws, "experiments", [experiment(3, "a")])


def test_nothing_is_nothing(ws):
    tracked.save(ws, "experiments", [])
    tracked.remove(ws, "experiments", [])
    tracked.save_runs(ws, [])


def test_files_of_a_folder(ws, other):
    rows = [
        {"path": path, "digest": "d", "size": 1, "updated_at": 0}
        for path in ("a/b", "a/c/d", "a-b/x", "a0", "ab/x", "a")
    ]
    tracked.save(ws, "stored_files", rows)
    assert [row["path"] for row in tracked.files(ws, "a")] == ["a", "a/b", "a/c/d"]
    assert [row["path"] for row in tracked.files(ws, "a/c")] == ["a/c/d"]
    assert len(tracked.files(ws, "")) == 6
    assert tracked.files(other, "a") == []
    assert (tracked.is_file(ws, "a/b"), tracked.is_file(ws, "a/c")) == (True, False)


def test_runs_are_changed_and_joined(ws):
    run = runs.start(ws, "run", "before")
    tracked.save(
        ws, "tracked_runs", [{"run": run.id, "experiment": 1, "stage": "active", "body": {"a": 1}}]
    )
    changed = {
        "id": run.id, "name": "after", "status": "done", "parent": "", "params": {"p": "1"},
        "tags": {"t": "v"}, "started_at": 1, "heartbeat_at": 2, "ended_at": 3,
    }  # fmt: skip
    tracked.save_runs(ws, [changed])
    assert (runs.get(ws, run.id).status, runs.get(ws, run.id).ended_at) == ("done", 3)
    [row] = tracked.runs(ws)
    assert (row["name"], row["params"], row["body"]) == ("after", {"p": "1"}, {"a": 1})


def test_a_link_is_taken_back(ws):
    run = runs.start(ws, "run", "one")
    for name in ("a", "b"):
        runs.link(ws, run.id, "out", name, "digest")
    tracked.unlink(ws, run.id, "a", "digest")
    assert [link.name for link in runs.links(ws, run.id)] == ["b"]
