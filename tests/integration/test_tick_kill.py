"""kill -9 of the controller and of its job: every cause has one outcome, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from trimtab.loop import doctor, jobs
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import retrain
from trimtab.loop.project import apply, open_project
from trimtab.loop.tick import tick
from trimtab.store import ledger, operations, runs, versions
from trimtab.store.records import Action

PIPELINE = """
import time
from pathlib import Path
import polars as pl
from sklearn.linear_model import LogisticRegression
from trimtab import Candidate, Dataset, flow, search, step

def note(name):
    with open("calls", "a") as out:
        out.write(name + "\\n")
    time.sleep(0.05)
    while Path("hold-" + name).exists():
        time.sleep(0.005)

@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    note("clean")
    return raw.drop_nulls()

@step
def sort(rows: pl.DataFrame) -> pl.DataFrame:
    note("sort")
    return rows.sort("size", "price")

def estimator() -> LogisticRegression:
    note("fit")
    return LogisticRegression()

@flow
def train(goods: Dataset) -> Candidate:
    return search(estimator, sort(clean(goods)), space={}, trials=1, cv=2, seed=0)
"""

# Each attempt is a child of a process that has everything imported. The moments at which they are
# killed are drawn: some in time, most just before or after a durable write of the pass.
SCRIPT = """
import json, os, random, signal, subprocess, sys, time, traceback
from pathlib import Path
import numpy as np
from trimtab import ids
from trimtab.cli.main import main
from trimtab.deploy import local
from trimtab.loop.project import apply, open_project
from trimtab.loop.candidate import train
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings
from trimtab.serve.logged.log import Log
from trimtab.serve.process import alive
from trimtab.serve.router import Router
from trimtab.store import database, operations, runs, versions
import trimtab.data.outcomes, trimtab.loop.tick, trimtab.server.operations

FOLDER, SEED = Path(sys.argv[1]), int(sys.argv[2])
DAY, BEGIN, ROWS = 86_400_000_000, 1_767_225_600_000_000, 200
chance = random.Random(SEED)
life = np.random.default_rng(7)  # the world is the same for every seed of the kills

def forked(act):
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child

def whole(act):
    status = os.waitpid(forked(act), 0)[1]
    assert status == 0, f"{act.__name__} ended with {status}"

def asked(act):
    whole(lambda: (FOLDER / "answer").write_text(json.dumps(act(open_project(FOLDER)))))
    return json.loads((FOLDER / "answer").read_text())

def goods(rows, flipped):
    size, price = life.normal(size=(2, rows))
    good = size + 0.5 * life.normal(size=rows) > 0
    return size, price, (good != flipped)

def build():
    os.chdir(FOLDER)
    rows = [f"{s:.6f},{p:.6f},{'yes' if g else 'no'}" for s, p, g in zip(*goods(600, False))]
    (FOLDER / "goods.csv").write_text("\\n".join(["size,price,good", *rows]))
    (FOLDER / "outcomes").mkdir()
    project = open_project(FOLDER)
    trained = train.train(project)
    version = trained.decision.version
    assert version is not None, trained.decision
    local.set_routes(project.ws, "goods", [local.spec(project.ws, version, "champion", 1.0)])

def live(day, flipped):
    "A day's requests and, at its end, what became of them."
    size, price, good = goods(ROWS, flipped)
    def act():
        project = open_project(FOLDER)
        place = local.folder(project.ws, "goods")
        log = Log(local.log_folder(project.ws, "goods"), "goods")
        settings = Settings(name="goods", event_time="client")
        engine = Engine(name="goods", router=Router(place), log=log, settings=settings)
        assert engine.router.reload(), engine.router.error
        outcomes = []
        for first in range(0, ROWS, 20):
            some = range(first, first + 20)
            rows = [{"size": float(size[i]), "price": float(price[i])} for i in some]
            times = [ids.iso(BEGIN + day * DAY + i * (DAY // ROWS)) for i in some]
            body = json.dumps({"rows": rows, "event_time": times}).encode()
            job = engine.begin("POST", "/predict", {}, body)
            said = engine.answer([job])[0]
            assert said.status == 200, said.body
            if job.table.shadows:
                engine.shadow([job])
            found = json.loads(said.body)["predictions"]
            outcomes += [(one["id"], "yes" if good[i] else "no") for one, i in zip(found, some)]
        log.close()
        lines = "".join(f"{name},{value}\\n" for name, value in outcomes)
        (FOLDER / "part").write_text("prediction_id,good\\n" + lines)
        (FOLDER / "part").rename(FOLDER / "outcomes" / f"{day:03}.csv")
    whole(act)

def tick(before=lambda: None):
    before()
    os.chdir(FOLDER)
    out = os.open(FOLDER / "said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(out, 1)
    assert main(["tick", "--json"]) == 0
    sys.stdout.flush()

def at_write(number, after):
    "Kill this process at a durable write: a commit of the store, a file put in place, a new process."
    left = [number]
    def counted(real):
        def act(*arguments, **named):
            left[0] -= 1
            if left[0] == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            found = real(*arguments, **named)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found
        return act
    database._commit = counted(database._commit)
    subprocess.Popen.__init__ = counted(subprocess.Popen.__init__)
    os.replace, os.rename = counted(os.replace), counted(os.rename)

def attempt(number=0):
    "One pass that is killed at a write or, without a number, some time; whether it was."
    if number:
        after = chance.random() < 0.5
        child = forked(lambda: tick(lambda: at_write(number, after)))
    else:
        child = forked(tick)
        time.sleep(chance.uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "a pass failed"
    return os.WIFSIGNALED(status)

def attempts():
    "Passes that get further and further, until one goes through; how many were killed."
    killed, number = attempt(), 0
    while attempt(number := number + chance.randint(1, 3)):
        killed += 1
    whole(tick)
    return killed

def job_of(project):
    found = [one.result for one in operations.actions(project.ws, kind="retrain")
             if one.state in ("planned", "running")]
    return found[0] if found else None

def calls():
    return (FOLDER / "calls").read_text().split()

def told(project):
    "The steps of the retrain that are told to be finished."
    flows = [one.id for one in runs.find(project.ws, kind="flow") if one.cause["kind"] == "retrain"]
    return [one.name for flow in flows for one in runs.find(project.ws, parent=flow, status="done")]

def is_alive(job):
    return alive(job.get("pid", 0), job.get("pid_started", 0.0))

def kill_job(job, reached, began):
    "Kill the job a drawn moment after it noted one of these; whether it was there to be killed."
    while not set(calls()[began:]) & reached:
        if not is_alive(job):
            return False
        time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 0.2))
    os.kill(job["pid"], signal.SIGKILL)
    while is_alive(job):
        time.sleep(0.005)
    return True

(FOLDER / "trimtab.toml").write_text(sys.argv[3])
(FOLDER / "pipeline.py").write_text(sys.argv[4])
whole(build)
for day in range(4):
    live(day, day >= 2)
# The job gets as far as these and waits there, until it was killed.
holds = [("sort", {"clean", "sort"}), ("fit", {"fit"})]
for name, _ in holds:
    (FOLDER / f"hold-{name}").touch()
day, kills, kept, first = 4, 0, [], len(calls())
for situation in range(200):
    kills += attempts()
    job = asked(job_of)
    if job is not None:
        # It takes a while until a job has begun and says which process it is.
        for _ in range(200):
            if not job or is_alive(job):
                break
            time.sleep(0.02)
            job = asked(job_of)
        if not holds:
            while job and is_alive(job):
                time.sleep(0.05)
                job = asked(job_of)
        elif job and kill_job(job, holds[0][1], kept[-1][1] if kept else first):
            kept.append([asked(told), len(calls())])
            (FOLDER / f"hold-{holds.pop(0)[0]}").unlink()
    elif json.loads((FOLDER / "said").read_text())["settled"]:
        if day > 6 and not asked(lambda p: len(operations.rollouts(p.ws, state="open"))):
            break
        live(day, True)
        day += 1
print(json.dumps({"kills": kills, "kept": kept, "first": first, "calls": calls(), "days": day}))
"""


@pytest.fixture(scope="module", params=[1])
def world(request, tmp_path_factory, drifting_project):
    """A project that lived through it all, and what the one who killed saw."""
    folder = tmp_path_factory.mktemp("world")
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), str(request.param), drifting_project,
             PIPELINE],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True,
            check=False,
            text=True,
            timeout=180,
        )  # fmt: skip
    finally:
        for hold in folder.glob("hold-*"):  # no job may wait for ever
            hold.unlink()
    assert done.returncode == 0, done.stderr
    return open_project(folder), json.loads(done.stdout)


def test_every_cause_has_one_outcome_however_often_the_controller_is_killed(world):
    project, seen = world
    ws = project.ws
    assert seen["kills"] >= 12
    (incident,) = operations.incidents(ws)
    assert (incident.kind, incident.state) == (incidents.CONCEPT, "resolved")
    (rollout,) = operations.rollouts(ws)
    assert rollout.state == "promoted"
    (job,) = operations.actions(ws, kind=retrain.KIND)
    assert job.cause["incident"] == incident.id
    assert rollout.cause["action"] == job.id
    assert job.result["rollout"] == rollout.id
    for kind in ("data", "model"):
        assert [one.number for one in versions.find(ws, kind, "goods")] == [2, 1]
    champion = versions.get(ws, "model", "goods@champion")
    assert champion.number == 2
    (route,) = operations.endpoint(ws, "goods").routes["routes"]
    assert (route["role"], route["model"]) == ("champion", champion.digest)
    stages = Counter(one.kind for one in operations.actions(ws))
    assert stages == {"incident": 1, "retrain": 1, "advance": 2, "promote": 1}


def test_the_ledger_tells_each_of_them_once(world):
    project, _ = world
    entries = [(one.kind, json.loads(one.body)) for one in ledger.find(project.ws, limit=10_000)]
    kinds = Counter(kind for kind, _ in entries)
    assert kinds["deploy"] == 1
    assert kinds["version"] == 4
    assert kinds["incident"] == 2
    assert kinds["rollout"] == 4
    assert doctor.doctor(project).ok


def test_nothing_stays_at_work(world):
    project, _ = world
    assert not runs.find(project.ws, status="running", limit=1000)
    assert {one.state for one in operations.actions(project.ws)} == {"done"}


def test_the_job_that_was_killed_is_started_again_and_repeats_no_finished_step(world):
    project, seen = world
    (job,) = operations.actions(project.ws, kind=retrain.KIND)
    # A pass that dies right after it started the job has not counted it, so it may be one of three.
    assert 1 <= job.result["attempts"] <= jobs.MAX_ATTEMPTS
    assert len(seen["kept"]) == 2
    for told, calls in seen["kept"]:
        assert not set(told) & set(seen["calls"][calls:])
    assert set(seen["kept"][-1][0]) >= {"clean", "sort"}
    again = Counter(
        one.name
        for flow in runs.find(project.ws, kind="flow")
        if flow.cause["kind"] == "retrain"
        for one in runs.find(project.ws, kind="step", parent=flow.id, status="done")
    )
    assert again == {"clean": 1, "sort": 1, "search": 1}


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_job_that_dies_at_every_start_is_handed_to_a_person_once(
    tmp_path, need, drifting_project
):
    need(Path("/proc/self/cmdline").exists(), "processes are found by /proc")
    (tmp_path / "trimtab.toml").write_text(drifting_project)
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    project = open_project(tmp_path)
    apply(project)
    ws = project.ws
    cause = {"incident": "i", "kind": incidents.CONCEPT, "since": 0, "endpoint": "goods"}
    operations.plan_action(
        ws, Action(id="a" * 32, kind=retrain.KIND, key="retrain:i", state="planned", cause=cause)
    )
    left = subprocess.run([sys.executable, "-c", BEGUN, str(tmp_path)], check=True)
    assert left.returncode == 0
    for number in range(1, jobs.MAX_ATTEMPTS + 1):
        tick(project)
        (action,) = operations.actions(ws, kind=retrain.KIND)
        assert (action.state, action.result["attempts"]) == ("running", number)
        assert tick(project).waiting  # it is at work: nothing is started beside it
        (process,) = processes_of(action.id)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    for _ in range(3):
        tick(project)
    (action,) = operations.actions(ws, kind=retrain.KIND)
    assert (action.state, action.result["attempts"]) == ("failed", jobs.MAX_ATTEMPTS)
    (incident,) = operations.incidents(ws)
    assert (incident.kind, incident.state) == (incidents.REFUSED, "open")
    assert not runs.find(ws, status="running")
    assert len(runs.find(ws, status="failed")) == 1


BEGUN = """
import sys
from pathlib import Path
from trimtab.loop.project import open_project
from trimtab.store import runs
runs.start(open_project(Path(sys.argv[1])).ws, "flow", "train")
"""


def processes_of(action):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if action in path.read_text():
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found
