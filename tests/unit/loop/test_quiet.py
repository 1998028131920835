"""A pass with nothing to do is left out, until anything that passes go by has changed."""

from __future__ import annotations

import pytest

from trimtab import ids
from trimtab.loop import quiet, tick
from trimtab.loop.project import apply, open_project
from trimtab.store import operations, versions
from trimtab.store.records import Endpoint

FILE = """
[project]
name = "goods"
[serve]
labels = "outcomes/*.csv"
[trigger.often]
on = ["cron:0 * * * *"]
"""
MINUTE, HOUR = 60_000_000, 3_600_000_000


@pytest.fixture
def clock(monkeypatch):
    found = [ids.parse_time("2026-05-05T10:30:00Z")]
    monkeypatch.setattr(ids, "now", lambda: found[0])
    return found


@pytest.fixture
def project(tmp_path, clock):
    (tmp_path / "trimtab.toml").write_text(FILE)
    (tmp_path / "outcomes").mkdir()
    (tmp_path / ".trimtab" / "endpoints" / "goods" / "log").mkdir(parents=True)
    found = open_project(tmp_path)
    apply(found)
    for _ in range(2):
        tick.tick(found)
    yield found
    found.ws.close()


@pytest.fixture
def made(project, monkeypatch):
    """How many whole passes were made."""
    count = []
    whole = tick._pass
    monkeypatch.setattr(tick, "_pass", lambda *a: count.append(1) or whole(*a))
    return count


def test_nothing_new_is_no_pass(project, made):
    for _ in range(10):
        assert tick.tick(project).settled
    assert made == []


def log(project):
    (project.ws.root / "endpoints" / "goods" / "log" / "a.log").write_bytes(b"frame")


def label(project):
    (project.folder / "outcomes" / "day.csv").write_text("prediction_id,good\nx,yes\n")


def version(project):
    other = open_project(project.folder)  # as another process does
    versions.add(other.ws, "data", "goods", "blake3:" + "d" * 64)
    other.ws.close()


def monitor(project):
    place = project.ws.root / quiet.spool.FOLDER / "goods"
    place.mkdir(parents=True)
    (place / "part").write_bytes(b"counted")


@pytest.mark.parametrize("change", [log, label, version, monitor])
def test_what_is_new_is_noticed_at_once(project, made, change):
    change(project)
    tick.tick(project)
    assert made == [1]


@pytest.mark.parametrize("jump", [MINUTE, 30 * MINUTE, -HOUR])
def test_time_that_has_passed_and_a_clock_set_back_are_noticed(project, made, clock, jump):
    clock[0] += MINUTE - 1
    tick.tick(project)
    assert made == []
    clock[0] += jump
    tick.tick(project)
    assert made == [1]


def test_a_schedule_comes_to_the_second(project, made, clock):
    clock[0] = ids.parse_time("2026-05-05T10:59:30Z")
    tick.tick(project)
    made.clear()
    clock[0] += MINUTE // 2 - 1
    tick.tick(project)
    assert made == []
    clock[0] += 1
    tick.tick(project)
    assert made == [1]
    (action,) = operations.actions(project.ws, kind="fire")
    assert action.cause["slot"] == "2026-05-05T11:00:00Z"


def test_a_process_that_died_is_noticed(project, made, monkeypatch):
    lives = [True]
    for module in (quiet, tick.local):
        monkeypatch.setattr(module, "alive", lambda *_: lives[0])
    operations.save_endpoint(
        project.ws, Endpoint(name="goods", target="local", state="ready", pid=9, pid_started=1.0)
    )
    for _ in range(2):
        tick.tick(project)
    made.clear()
    tick.tick(project)
    assert made == []
    lives[0] = False
    tick.tick(project)
    assert made == [1]
