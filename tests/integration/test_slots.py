"""Four controllers at once, killed at random, over a thousand slots of a schedule."""

import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter

import pytest

from trimtab import config, ids
from trimtab.loop.project import Project, apply
from trimtab.store import operations
from trimtab.store.workspace import open_workspace

SLOTS = 1_000
BEGIN = ids.parse_time("2026-03-28T12:00:00Z")
MINUTE = 60_000_000
TOML = """
[project]
name = "loans"
[trigger.often]
on = ["cron:* * * * *"]
timezone = "Europe/Berlin"
overlap = "queue"
catch_up = "1w"
"""

# The job is a line in a file, written in one call: what a controller begins is told outside of it.
SCRIPT = """
import os, sys, time
from pathlib import Path
from trimtab.loop import firings, jobs, tick
from trimtab.loop.notes import Notes
from trimtab.loop.project import open_project
from trimtab.store import operations

folder, begin, slots = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
project = open_project(folder)

def launch(project, action):
    lines = os.open(folder / "begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(lines, (action.cause["slot"] + "\\n").encode())
    os.close(lines)
    operations.update_action(project.ws, action.id, "done", handled=True)
    return action

jobs.launch = launch
print("ready", flush=True)
step = 0
while True:
    moment = folder / "moment"
    now = begin + int(moment.read_text()) * 60_000_000
    if not tick.tick(project, now=now).acted:
        time.sleep(0.01)  # whoever finds another at work leaves it the processor
"""


def controller(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(BEGIN), str(SLOTS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout.readline() == b"ready\n", process.communicate()[1].decode()
    return process


def end(process):
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_each_slot_fires_once_whoever_looks_and_dies(tmp_path):
    (tmp_path / "trimtab.toml").write_text(TOML)
    (tmp_path / "moment").write_text("0")
    ws = open_workspace(tmp_path, "loans")

    project = Project(
        path=tmp_path / "trimtab.toml", config=config.parse(tomllib.loads(TOML)), ws=ws
    )
    apply(project)
    chance = random.Random(7)
    controllers = [controller(tmp_path) for _ in range(4)]
    kills, deadline = 0, time.monotonic() + 300
    minute = 0
    try:
        while time.monotonic() < deadline:
            rows = operations.actions(ws, kind="fire", state="done")
            if len(rows) >= SLOTS:
                break
            if minute < SLOTS:
                minute = min(minute + chance.randint(10, 60), SLOTS)
                staged = tmp_path / "moment.new"
                staged.write_text(str(minute))
                staged.replace(tmp_path / "moment")
            time.sleep(chance.uniform(0.0, 0.2))
            if kills < 20:
                place = chance.randrange(4)
                os.kill(controllers[place].pid, signal.SIGKILL)
                end(controllers[place])
                controllers[place] = controller(tmp_path)
                kills += 1
    finally:
        for one in controllers:
            end(one)
    rows = operations.actions(ws, kind="fire")
    slots = Counter(one.cause["slot"] for one in rows)
    wanted = [ids.iso(BEGIN + n * MINUTE) for n in range(1, SLOTS + 1)]
    assert sorted(slots) == wanted
    assert set(slots.values()) == {1}
    assert {one.state for one in rows} == {"done"}
    assert kills >= 15
    begun = Counter((tmp_path / "begun").read_text().split())
    assert sorted(begun) == wanted
    # Killed between what it began and the row that says so, a controller begins it again: the job
    # itself holds a lock and has its key, so that does nothing twice.
    assert sum(begun.values()) - SLOTS <= kills
    ws.close()
