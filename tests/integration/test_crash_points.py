"""Dying after every single write of a pass: the passes after it end where none had died.

A write is a statement that changes a database, a commit, a file put in place or taken away, a
process begun. (A read changes nothing: dying after it is dying after the write before it.) After
its death nothing that a pass tries has an effect, as after kill -9. What several moments of a life
do at the same place of the code is tried at the first of them; at each with TRIMTAB_TEST_ALL=1. Real
kills, of the controller and of its jobs, are in test_tick_kill.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop import children, doctor
from trimtab.loop import tick as controller
from trimtab.loop.candidate import train
from trimtab.loop.project import apply, open_project
from trimtab.serve.engine import Engine
from trimtab.serve.folder import STATE, Settings, State
from trimtab.serve.logged.log import Log
from trimtab.serve.process import started
from trimtab.serve.router import Router
from trimtab.store import alerts, evidence, ledger, operations, runs, verdicts, versions

pytestmark = pytest.mark.slow

DAY, BEGIN, ROWS = 86_400_000_000, 1_767_225_600_000_000, 200
CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE")
PIPELINE = """
import polars as pl
from sklearn.linear_model import LogisticRegression
from trimtab import Candidate, Dataset, flow, search

def estimator() -> LogisticRegression:
    return LogisticRegression()

@flow
def train(goods: Dataset) -> Candidate:
    return search(estimator, goods, space={}, trials=1, cv=2, seed=0)
"""
TRIGGERS = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
[trigger.nightly]
flow = "pipeline:nightly"
on = ["data"]
[trigger.report]
flow = "pipeline:report"
on = ["after:nightly"]
"""


class Death(BaseException):
    """What nobody catches and goes on from."""


class Reaper:
    """Counts the writes of a pass and ends it after the one of a number.

    What an open transaction has done goes with it: dying after one of its statements is dying after
    any other, as long as nothing else was written in between. So the first counts for all of them.
    """

    def __init__(self):
        self.open = []
        self.arm(0)

    def arm(self, number):
        self.number, self.count, self.dead, self.after = number, 0, False, ""
        self.places = []

    def act(self, what, does, *arguments, **named):
        """Do a write, unless dead already; die after it where its turn has come."""
        if self.dead:
            raise Death
        found = does(*arguments, **named)
        for one in self.open:
            one.counted = False
        self.count += 1
        self.places.append(place())
        if self.count == self.number:
            self.dead, self.after = True, what
            raise Death
        return found

    def statement(self, connection, does, text, *arguments):
        """The same for SQL."""
        first = text.lstrip()[:8].upper()
        if self.dead:
            raise Death
        if first.startswith("COMMIT") or (first.startswith(CHANGES) and not connection.counted):
            found = self.act(text.partition("(")[0], does, text, *arguments)
            connection.counted = not first.startswith("COMMIT")
            return found
        return does(text, *arguments)

    def end(self):
        """Close what a process that ended would have left to the system."""
        self.arm(0)
        for one in [*self.open]:
            sqlite3.Connection.rollback(one)
            one.close()
        self.open.clear()


reaper = Reaper()
TRIED = set()
"""Places in the code, and which time in a pass they were come to, at which a pass has died."""


def place():
    """Where in trimtab's code a write is done: the lines that led to it."""
    lines, frame = [], sys._getframe(2)
    while frame is not None:
        if "/trimtab/" in frame.f_code.co_filename:
            lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return tuple(lines)


def untried(places):
    """The numbers of the writes that no pass has died after yet, at no moment."""
    turns, found = Counter(), []
    for number, where in enumerate(places, start=1):
        turns[where] += 1
        if (where, turns[where]) not in TRIED:
            TRIED.add((where, turns[where]))
            found.append(number)
    return found


class Cursor(sqlite3.Cursor):
    def execute(self, text, *arguments):
        return reaper.statement(self.connection, super().execute, text, *arguments)

    def executemany(self, text, *arguments):
        return reaper.statement(self.connection, super().executemany, text, *arguments)


class Connection(sqlite3.Connection):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.counted = False
        reaper.open.append(self)

    def cursor(self, factory=Cursor):
        return super().cursor(factory)

    def execute(self, text, *arguments):
        return self.cursor().execute(text, *arguments)

    def executemany(self, text, *arguments):
        return self.cursor().executemany(text, *arguments)

    def close(self):
        if self in reaper.open:
            # With a cursor that somebody still holds SQLite would keep the transaction open, as no dead
            # process can.
            super().rollback()
            reaper.open.remove(self)
        super().close()


class Jobs:
    """Processes that were begun: each holds its job's lock, as a real one does, and idles."""

    def __init__(self):
        self.held = {}

    def start(self, command, *, output, cwd, env, pass_fds=()):
        def begin():
            assert command[-1] not in self.held, "a second process of one job"
            self.held[command[-1]] = [os.dup(one) for one in pass_fds]

        reaper.act("a job was begun", begin)
        return 0

    def say(self, ws):
        """What a job says first."""
        for action in operations.actions(ws):
            if action.id in self.held and action.state == "planned":
                operations.update_action(ws, action.id, "running")

    def end(self):
        for handles in self.held.values():
            for one in handles:
                os.close(one)
        self.held.clear()


@pytest.fixture(scope="module")
def process():
    """Somebody who lives and does nothing: what stands for an endpoint's process."""
    with subprocess.Popen(["sleep", "600"]) as found:
        yield found
        found.kill()


@pytest.fixture
def begun(monkeypatch, process):
    """Every way to write is counted from here on; processes are stood in for."""
    found = Jobs()
    real = sqlite3.connect
    for module in (sqlite3, sqlite3.dbapi2):
        monkeypatch.setattr(
            module, "connect", lambda *a, **k: real(*a, **{"factory": Connection, **k})
        )
    for name in ("rename", "replace", "unlink", "link"):
        does = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, _name=name, _does=does, **k: reaper.act(_name, _does, *a, **k)
        )
    write = Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes", lambda path, data: reaper.act("a file", write, path, data)
    )
    monkeypatch.setattr(children, "start", found.start)

    def endpoint(command, **_):
        mark = State(
            pid=process.pid, pid_started=started(process.pid), host="here", port=1, ready=True
        )
        told = Path(command[-1]) / STATE
        reaper.act("an endpoint was begun", tell, told, msgspec.json.encode(mark))
        return process

    monkeypatch.setattr(local.subprocess, "Popen", endpoint)
    yield found
    reaper.end()
    found.end()


class World:
    """A project in one folder, whose whole life is saved at the moments before its passes."""

    def __init__(self, base, file=""):
        self.folder, self.saves, self.life = base / "world", base, np.random.default_rng(7)
        self.file = file
        self.folder.mkdir()

    def save(self, name):
        shutil.copytree(self.folder, self.saves / name)

    def back_to(self, name):
        shutil.rmtree(self.folder)
        shutil.copytree(self.saves / name, self.folder)

    def goods(self, rows, flipped):
        size, price = self.life.normal(size=(2, rows))
        good = size + 0.5 * self.life.normal(size=rows) > 0
        return size, price, (good != flipped)

    def build(self):
        size, price, good = self.goods(600, False)
        lines = [f"{s:.6f},{p:.6f},{name(g)}" for s, p, g in zip(size, price, good, strict=True)]
        (self.folder / "goods.csv").write_text("\n".join(["size,price,good", *lines]))
        (self.folder / "outcomes").mkdir()
        (self.folder / "trimtab.toml").write_text(self.file)
        (self.folder / "pipeline.py").write_text(PIPELINE)
        project = open_project(self.folder)
        version = train.train(project).decision.version
        assert version is not None
        local.set_routes(project.ws, "goods", [local.spec(project.ws, version, "champion", 1.0)])
        project.ws.close()

    def live(self, day, *, flipped=True):
        """A day's requests and what became of them."""
        size, price, good = self.goods(ROWS, flipped)
        project = open_project(self.folder)
        place = local.folder(project.ws, "goods")
        log = Log(place / "log", "goods")
        settings = Settings(name="goods", event_time="client")
        engine = Engine(name="goods", router=Router(place), log=log, settings=settings)
        assert engine.router.reload(), engine.router.error
        outcomes = ["prediction_id,good"]
        for first in range(0, ROWS, 5):
            some = range(first, first + 5)
            rows = [{"size": float(size[i]), "price": float(price[i])} for i in some]
            times = [ids.iso(BEGIN + day * DAY + i * (DAY // ROWS)) for i in some]
            body = json.dumps({"rows": rows, "event_time": times}).encode()
            question = engine.begin("POST", "/predict", {"x-request-id": f"{day}-{first}"}, body)
            said = engine.answer([question])[0]
            assert said.status == 200, said.body
            if question.table.shadows:
                engine.shadow([question])
            found = json.loads(said.body)["predictions"]
            outcomes += [f"{one['id']},{name(good[i])}" for one, i in zip(found, some, strict=True)]
        log.close()
        (self.folder / "outcomes" / f"{day:03}.csv").write_text("\n".join(outcomes))
        project.ws.close()

    def settle(self, jobs):
        """Passes until one does nothing; the project as it is then."""
        for _ in range(12):
            project = open_project(self.folder)
            jobs.say(project.ws)
            done = controller.tick(project)
            facts = None if done.acted else facts_of(project)
            project.ws.close()
            if facts:
                return facts
        raise AssertionError(f"no end: {[one.key for one in done.acted]}")

    def change(self, does):
        project = open_project(self.folder)
        does(project)
        project.ws.close()


def name(good):
    return "yes" if good else "no"


def facts_of(project):
    """All that a project's rows and files say, but for times, ids and how often was tried."""
    ws = project.ws
    known = {}
    for kind, found in (
        ("rollout", operations.rollouts(ws)),
        ("incident", operations.incidents(ws)),
    ):
        for place, one in enumerate(reversed(found)):
            known[one.id] = f"{kind} {place}"
    for one in reversed(operations.actions(ws)):
        known[one.id] = f"action {plain(one.key, known)}"
    routes = {}
    for path in sorted(ws.root.glob("endpoints/*/routes.json")):
        body = json.loads(path.read_bytes())
        routes[path.parent.name] = [
            [sorted(one.items()) for one in body[key]] for key in ("routes", "shadow")
        ]
    endpoints = operations.endpoints(ws)
    facts = {
        "versions": [
            (one.label, one.digest) for kind in ("data", "model") for one in versions.find(ws, kind)
        ],
        "aliases": versions.aliases(ws, "model", "goods"),
        "rollouts": [
            (known[one.id], one.candidate, one.stage, one.state, one.reason, bool(one.closed_at))
            for one in operations.rollouts(ws)
        ],
        "incidents": [
            (known[one.id], one.key, one.state, one.title, one.severity, one.reopened, one.resolution)
            for one in operations.incidents(ws)
        ],
        "actions": sorted(
            (known[one.id], one.kind, one.state, plain(
                json.dumps({k: v for k, v in one.result.items() if k in TOLD}, sort_keys=True), known))
            for one in operations.actions(ws)
        ),
        "alerts": sorted(
            (plain(one.id, known), one.state)
            for incident in operations.incidents(ws)
            for one in alerts.of_incident(ws, incident.id)
        ),
        "routes": routes,
        "endpoints": [(one.name, one.state, one.pid) for one in endpoints],
        "rows": [
            [sorted(one.items()) for one in row.routes.get("routes", [])] for row in endpoints
        ],
        "evidence": sorted((one.metric, one.subject, plain(one.window, known), one.value, one.n)
                           for one in evidence.find(ws, limit=10_000)),
        "verdicts": sorted((one.text, one.subject, one.place, one.status, one.reason)
                           for one in verdicts.find(ws, limit=10_000)),
        "windows": [
            (one.endpoint, one.model, one.role, one.start, one.rows, one.profile, bool(one.judged_at),
             [finding["text"] for finding in one.findings])
            for one in operations.windows(ws)
        ],
        "ledger": Counter(one.kind for one in ledger.find(ws, limit=10_000)),
        "runs": Counter((one.kind, one.name, one.status) for one in runs.find(ws, limit=10_000)),
    }  # fmt: skip
    ledger.verify(ws)
    return facts


TOLD = ("said", "reason", "version", "subject", "handled", "rollout")


def plain(text, known):
    """Text with the names of ids in their place."""
    for identity, called in known.items():
        text = text.replace(identity, called)
    return text


@pytest.fixture(scope="module")
def lives(tmp_path_factory, drifting_project):
    """The moments before the passes of a life, and of the turns that it might have taken."""
    world = World(tmp_path_factory.mktemp("lives"), drifting_project)
    jobs = Jobs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "start", jobs.start)
        world.build()
        for day in range(4):
            world.live(day, flipped=day >= 2)
        world.save("incident")
        world.settle(jobs)
        ((action, _),) = jobs.held.items()
        jobs.end()
        work = [
            sys.executable,
            "-m",
            "trimtab.loop.job",
            str(world.folder / "trimtab.toml"),
            action,
        ]
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
        subprocess.run(work, check=True, cwd=world.folder, env={**os.environ, "PYTHONPATH": paths})
        world.save("job done")
        world.change(refuse)
        world.save("job refused")
        world.back_to("job done")
        world.settle(jobs)
        world.save("at shadow")
        world.live(4, flipped=False)
        world.save("worse than asked")
        world.back_to("at shadow")
        for day, moment in ((4, "to 50%"), (5, "to 100%"), (6, "to promote")):
            world.live(day)
            world.save(moment)
            facts = world.settle(jobs)
        assert [one[3] for one in facts["rollouts"]] == ["promoted"]
        world.change(lose)
        world.save("endpoint lost")
    return world


def refuse(project):
    (action,) = operations.actions(project.ws, kind="retrain")
    operations.update_action(project.ws, action.id, "failed", reason="roc_auc: fail")


def lose(project):
    (row,) = operations.endpoints(project.ws)
    operations.save_endpoint(project.ws, msgspec.structs.replace(row, state="ready", pid=1 << 22))


MOMENTS = {
    "incident": 20,
    "job done": 5,
    "job refused": 5,
    "worse than asked": 10,
    "to 50%": 10,
    "to 100%": 10,
    "to promote": 20,
    "endpoint lost": 10,
}


FIRINGS = {"new data": 4, "first flow done": 4, "second flow failed": 4}


@pytest.fixture(scope="module")
def firings(tmp_path_factory):
    """The moments before the passes over a trigger of new data and one that comes after it."""
    world, jobs = World(tmp_path_factory.mktemp("firings")), Jobs()
    (world.folder / "trimtab.toml").write_text(TRIGGERS)
    world.change(apply)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "start", jobs.start)
        world.settle(jobs)
        world.change(
            lambda project: versions.add(
                project.ws, "data", "goods", project.ws.blobs.put(b"size,price,good")
            )
        )
        world.save("new data")
        for moment, state in (("first flow done", "done"), ("second flow failed", "failed")):
            world.settle(jobs)
            (action,) = jobs.held
            jobs.end()
            world.change(
                lambda project, action=action, state=state: operations.update_action(
                    project.ws, action, state, reason="" if state == "done" else "no"
                )
            )
            world.save(moment)
        facts = world.settle(jobs)
    assert len(facts["actions"]) == 3, "two firings and an incident"
    assert [one[3] for one in facts["incidents"]] == ["trigger report was refused: no"]
    return world


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_pass_that_dies_anywhere_is_repaired_by_the_next(lives, die_everywhere, moment):
    die_everywhere(lives, moment, MOMENTS[moment])


@pytest.mark.parametrize("moment", FIRINGS)
def test_a_firing_that_dies_anywhere_is_repaired_by_the_next_pass(firings, die_everywhere, moment):
    die_everywhere(firings, moment, FIRINGS[moment])


@pytest.fixture
def die_everywhere(begun, whole, capsys):
    """`die_everywhere(world, moment, least)`: at each write, or at each that no pass has died at."""
    return lambda *what: dying(*what, begun, whole, capsys)


def dying(lives, moment, least, begun, whole, capsys):
    lives.back_to(moment)
    expected = lives.settle(begun)
    begun.end()
    assert doctor.doctor(open_project(lives.folder)).ok
    places = writes(lives, moment)
    begun.end()
    points, bad = [*range(1, len(places) + 1)] if whole else untried(places), []
    for number in points:
        lives.back_to(moment)
        project = open_project(lives.folder)
        reaper.arm(number)
        try:
            controller.tick(project)
        except BaseException:  # what is said of a death on the way up may differ
            if not reaper.dead:
                raise
        died = reaper.after
        assert died, f"the pass ended before its write {number} of {len(places)}"
        reaper.end()
        project.ws.close()
        found = lives.settle(begun)
        begun.end()
        bad += [
            f"after write {number} ({died}): {key} {only(found[key], value)} not {only(value, found[key])}"
            for key, value in expected.items()
            if found[key] != value
        ]
    with capsys.disabled():
        print(f" {moment}: {len(points)} of {len(places)} writes", end="")
    assert not bad, "\n".join(bad)
    assert len(places) >= least


def writes(lives, moment):
    """Where a pass that nothing ends writes, in order."""
    lives.back_to(moment)
    project = open_project(lives.folder)
    reaper.arm(0)
    controller.tick(project)
    found = reaper.places
    reaper.end()
    project.ws.close()
    return found


def tell(path, data):
    """What a process of its own writes; nobody here dies in the middle of it."""
    with path.open("wb") as out:
        out.write(data)


def only(these, those):
    """What is in the one and not in the other."""
    rest = Counter(map(str, those))
    found = []
    for one in map(str, these):
        rest[one] -= 1
        found += [one] if rest[one] < 0 else []
    return found
