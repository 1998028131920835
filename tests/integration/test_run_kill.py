"""kill -9 at random moments: a step or trial that was told to be finished is never repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimtab.store import runs
from trimtab.store.workspace import open_workspace

PIPELINE = """
import os
import time
from trimtab import flow, step
from trimtab.pipeline import context

def note(name):
    with open("calls", "a") as out:
        out.write(name + "\\n")

@step
def first(n: int) -> list[int]:
    note("first")
    time.sleep(0.02)
    return list(range(n))

@step
def trials(rows: list[int]) -> list[int]:
    running, found = context.current(), []
    for number in range(6):
        def make(number=number):
            note(f"trial-{number}")
            time.sleep(0.01)
            return number * len(rows)
        found.append(context.memo(running, number, make))
        running.progress(number + 1, 6, f"trial-{number}")
    return found

@step
def side(n: int) -> str:
    note("side")
    time.sleep(0.03)
    return "x" * n

@step
def last(found: list[int], text: str) -> dict[str, int]:
    note("last")
    time.sleep(0.02)
    return {"sum": sum(found), "len": len(text)}

@flow
def train(n: int = 5):
    return last(trials(first(n)), side(n))
"""

# Forks one child per attempt from a process that has everything imported, and kills it.
SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path
from trimtab import config
from trimtab.pipeline import driver, perform, inline, load
from trimtab.pipeline.events import Progress, StepCached, StepFinished
from trimtab.store.workspace import open_workspace
import trimtab.store.metrics

def attempt(folder, heard):
    acks = os.open(folder / "acks", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    def listen(event):
        # A step may be killed after it is kept and before it is told; then the next run tells it.
        if isinstance(event, StepCached | StepFinished):
            os.write(acks, (event.step + "\\n").encode())
        elif isinstance(event, Progress):
            os.write(acks, (event.text + "\\n").encode())
        else:
            return
        os.write(heard, b".")
    os.chdir(folder)
    ws = open_workspace(folder, "demo")
    found = config.parse({"project": {"name": "demo"}})
    result = driver.run(ws, found, on_event=listen)
    assert result.value == {"sum": 75, "len": 5}, result.value

def lines(path):
    return path.read_text().splitlines() if path.exists() else []

base, wanted, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance, kills, projects, repeated, attempts = random.Random(seed), 0, 0, [], 0
while kills < wanted:
    folder = base / f"project-{projects}"
    folder.mkdir()
    (folder / "pipeline.py").write_text(sys.argv[4])
    open_workspace(folder, "demo").close()
    projects += 1
    while True:
        told, called = set(lines(folder / "acks")), len(lines(folder / "calls"))
        attempts += 1
        hear, heard = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(hear)
            try:
                attempt(folder, heard)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        os.close(heard)
        # It dies so many words and a drawn moment later; by time alone a busy machine gets nowhere.
        left = chance.randrange(0, 12)
        while left and os.read(hear, 1):
            left -= 1
        time.sleep(chance.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(hear)
        repeated += [name for name in lines(folder / "calls")[called:] if name in told]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        kills += 1
    names = {"first", "trials", "side", "last", *(f"trial-{n}" for n in range(6))}
    assert set(lines(folder / "acks")) == names
print(json.dumps({"kills": kills, "projects": projects, "repeated": repeated, "attempts": attempts}))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_twenty_times_it_repeats_nothing_that_was_told_finished(tmp_path, seed) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "10", str(seed), PIPELINE],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= 10
    assert found["repeated"] == []
    # what the killed processes left behind is marked, and nothing stays "running"
    for folder in sorted(tmp_path.iterdir()):
        ws = open_workspace(folder, "demo")
        statuses = {one.status for one in runs.find(ws, limit=1000)}
        assert statuses <= {"done", "failed", "cached"}
        assert len(runs.find(ws, kind="step", name="last", status="done")) == 1
        ws.close()


RUN = """
import sys
from pathlib import Path
from trimtab import config
from trimtab.pipeline import driver
from trimtab.store.workspace import open_workspace
folder = Path.cwd()
ws = open_workspace(folder, "demo")
print(driver.run(ws, config.parse({"project": {"name": "demo"}}), executor=sys.argv[1]).value)
"""


def start(folder: Path, executor: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, executor],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, text: str) -> None:
    until = time.monotonic() + 60
    while text not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < until, f"{text} never came"
        time.sleep(0.01)


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_ctrl_c_in_a_terminal_cancels_and_the_next_run_goes_on(tmp_path: Path, executor) -> None:
    slow = PIPELINE.replace(
        'note("last")\n', 'note("last")\n    time.sleep(60 * ("SLOW" in os.environ))\n'
    )
    (tmp_path / "pipeline.py").write_text(slow)
    os.environ["SLOW"] = "1"
    try:
        process = start(tmp_path, executor)
        wait_for(tmp_path / "calls", "last")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        del os.environ["SLOW"]
    assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    ws = open_workspace(tmp_path, "demo")
    assert runs.find(ws, kind="flow")[0].status == "cancelled"
    assert runs.find(ws, kind="step", name="last")[0].status == "cancelled"
    assert not runs.find(ws, status="running")
    out, said = start(tmp_path, "inline").communicate(timeout=60)
    assert "'sum': 75" in out, said
    calls = (tmp_path / "calls").read_text().split()
    assert calls.count("first") == calls.count("side") == calls.count("trial-3") == 1
    assert calls.count("last") == 2
    ws.close()


def test_two_processes_at_once_repeat_nothing(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(PIPELINE.replace("0.02", "0.2"))
    both = [start(tmp_path, "inline") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(calls) == sorted(set(calls))
    assert len(calls) == 9
