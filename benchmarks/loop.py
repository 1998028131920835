"""What the controller itself costs: a pass with nothing to do, and from an incident to its job.

`python benchmarks/loop.py` prints milliseconds: a pass over each of 100 projects at rest, each a
workspace of its own with an endpoint, judged windows, a closed incident and labels (goal 50 for all
of them together), and the time from an incident that asks for a retrain to the flow's run (goal 1000).
"""

from __future__ import annotations

import cProfile
import pstats
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop import tick as controller
from trimtab.loop.project import Project, apply, open_project
from trimtab.model import registry, signature
from trimtab.model.signature import Column, Signature
from trimtab.monitor import basis
from trimtab.monitor.log import traffic
from trimtab.profile import reference
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged.frame import Frame
from trimtab.serve.logged.log import Log
from trimtab.store import operations, runs, versions
from trimtab.store.records import Action, Incident

PROJECTS = 100
DAYS = 30
ROWS = 100
ROUNDS = 7
STARTS = 10
DAY = 86_400_000_000
SIGNED = Signature(
    task="binary", engine="onnx", inputs=(Column(name="x", kind="number"),), target="good",
    classes=("no", "yes"), positive="yes", threshold=0.5,
)  # fmt: skip
FILE = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
roc_auc = { min = 0.7 }
[serve]
labels = "outcomes/*.csv"
event_time = "client"
[trigger.weekly]
flow = "pipeline:idle"
on = ["cron:0 3 * * 1", "after:retrain"]
"""
CODE = """
from trimtab import flow, step

@step
def nothing(n: int) -> int:
    return n

@flow
def idle(n: int = 0):
    return nothing(n)
"""


def draw(
    noise: np.random.Generator, rows: int
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Inputs, scores, decisions and truths."""
    x = noise.normal(size=rows)
    score = 1 / (1 + np.exp(-2 * x))
    truth = np.where(noise.random(rows) < score, "yes", "no").tolist()
    return x, score, np.where(score >= 0.5, "yes", "no").tolist(), truth


def package(folder: Path) -> Path:
    """A package with all that its traffic is watched by."""
    folder.mkdir()
    (folder / signature.FILE).write_bytes(signature.encode(SIGNED))
    x, score, decision, truth = draw(np.random.default_rng(1), 3_000)
    table = {"x": x} | traffic.outputs(score, decision, SIGNED)
    known = reference.fit_reference(table, kinds={"x": "number"})
    (folder / "reference.profile").write_bytes(reference.encode(known))
    found = basis.fit(SIGNED, known, table, score, decision, truth)
    (folder / basis.FILE).write_bytes(basis.encode(found))
    return folder


def lived(folder: Path) -> None:
    """A project that has answered for a month, with labels, and has nothing to do."""
    folder.mkdir()
    (folder / "trimtab.toml").write_text(FILE)
    (folder / "outcomes").mkdir()
    project = open_project(folder)
    apply(project)
    ws = project.ws
    version = versions.add(ws, "model", "goods", registry.put(ws, package(folder / "package")))
    local.set_routes(ws, "goods", [local.spec(ws, version, "champion", 1.0)])
    noise, begin = np.random.default_rng(2), ids.now() // DAY * DAY - DAYS * DAY
    log = Log(local.log_folder(ws, "goods"), "goods")
    for day in range(DAYS):
        x, score, decision, truth = draw(noise, ROWS)
        names = tuple(ids.new_id() for _ in range(ROWS))
        moments = begin + day * DAY + np.arange(ROWS) * (DAY // ROWS)
        log.append([Frame(
            ids=names, request=ids.new_id(), received_at=ids.now(), endpoint="goods", role="champion",
            model=version.digest, label=version.label, contract="predict",
            event_times=tuple(moments.tolist()), numbers=bytes_of.pack_numbers({"x": x}), words={},
            score=score.astype("<f4").tobytes(), width=1, decision=decision)])  # fmt: skip
        lines = [f"{name},{value}" for name, value in zip(names, truth, strict=True)]
        (folder / "outcomes" / f"{day}.csv").write_text("\n".join(["prediction_id,good", *lines]))
    log.close()
    for _ in range(4):
        last = controller.tick(project)
    assert last.settled, last
    assert operations.windows(ws)
    ws.close()


def passes(folder: Path) -> None:
    """Passes over many open workspaces with nothing to do."""
    lived(folder / "first")
    projects: list[Project] = []
    for number in range(PROJECTS):
        shutil.copytree(folder / "first", folder / str(number))
        projects.append(open_project(folder / str(number)))
        for _ in range(3):  # a copy's files are new to it
            last = controller.tick(projects[-1])
        assert last.settled, last
    found, cpu = [], []
    for _ in range(ROUNDS):
        begin, spent = time.perf_counter(), time.process_time()
        for project in projects:
            controller.tick(project)
        found.append((time.perf_counter() - begin) * 1000)
        cpu.append((time.process_time() - spent) * 1000)
    print(f"a pass over {PROJECTS} projects with nothing to do  {statistics.median(found):8.1f} ms")
    print(f"  of that, of the processor                     {statistics.median(cpu):8.1f} ms")
    spent, now = time.process_time(), ids.now()
    for project in projects:
        controller.tick(project, now=now)
    whole = (time.process_time() - spent) * 1000
    print(f"  whole passes, once a minute, of the processor {whole:8.1f} ms")
    if "--profile" in sys.argv:
        with cProfile.Profile() as profile:
            for project in projects:
                controller.tick(project)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def starts(folder: Path) -> None:
    """From the row that asks for a job, over the pass that begins it, to the run of its flow."""
    folder.mkdir()
    (folder / "trimtab.toml").write_text(FILE)
    (folder / "pipeline.py").write_text(CODE)
    project = open_project(folder)
    apply(project)
    controller.tick(project)
    found = []
    for number in range(STARTS):
        incident = Incident(
            id=ids.new_id(), kind="concept drift", key=f"k{number}", endpoint="goods", title="drift",
            opened_at=ids.now(), since=ids.now(),
        )  # fmt: skip
        begin = ids.now()
        operations.open_incident(project.ws, incident)
        operations.plan_action(project.ws, Action(
            id=ids.new_id(), kind="fire", key=f"fire:weekly:{number}", state="planned",
            cause={"trigger": "weekly", "flow": "pipeline:idle", "incident": incident.id, "n": number},
            created_at=ids.now()))  # fmt: skip
        controller.tick(project)
        while len(runs.find(project.ws, kind="flow")) <= number:
            time.sleep(0.002)
        found.append((runs.find(project.ws, kind="flow")[0].started_at - begin) / 1000)
        while not controller.tick(project).settled:
            time.sleep(0.02)
    print(f"incident, firing, run started                    {statistics.median(found):8.1f} ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "many").mkdir()
        passes(Path(place) / "many")
        starts(Path(place) / "starts")


if __name__ == "__main__":
    main()
