"""Writers and a compactor killed at any moment lose no point that was acknowledged and double none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.store import metrics
from trimtab.store.series import compaction
from trimtab.store.workspace import open_workspace

ROUNDS = 200
CREW_SIZE = 3

# Forks two writers of one run and a compactor per line of input, because starting Python takes longer
# than they live. A writer says which point is stored after it is stored, and sends every third twice,
# as a client does that got no answer.
CREW = """
import os, sys
from pathlib import Path
from trimtab.store import metrics
from trimtab.store.records import Point
from trimtab.store.series import compaction
from trimtab.store.workspace import open_workspace


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


def write(ws, key, number):
    while True:
        number += 1
        point = Point(key=key, step=number, time=number, value=float("nan") if number % 5 else 0.5)
        metrics.append(ws, "r", [point])
        if number % 3 == 0:
            metrics.append(ws, "r", [point])
        say("point", key, number)


def work(folder, role, number):
    say("pid", os.getpid())
    ws = open_workspace(folder, "demo")
    if role != "compactor":
        write(ws, role, number)
    while True:
        compaction.compact(ws, "r")


for line in sys.stdin:
    folder, a, b = line.split()
    crew = []
    for role, number in (("a", a), ("b", b), ("compactor", 0)):
        child = os.fork()
        if child == 0:
            try:
                work(Path(folder), role, int(number))
            finally:
                os._exit(1)
        crew.append(child)
    for child in crew:
        os.waitpid(child, 0)
    say("ended")
"""


@pytest.fixture
def crew() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CREW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
def test_no_point_is_lost_or_doubled(crew: subprocess.Popen[str], tmp_path: Path) -> None:
    chance = random.Random(6)
    told = {"a": 0, "b": 0}
    ws = open_workspace(tmp_path, "demo")
    compacted = 0
    for _ in range(ROUNDS):
        after = chance.randrange(3, 40)
        told |= _killed(crew, tmp_path, told, after, chance.random() * 0.01)
        found = metrics.read(ws, "r")
        for key, number in told.items():
            steps = [point.step for point in found if point.key == key]
            # the newest may be stored and not yet told
            assert steps == list(range(1, len(steps) + 1))
            assert number <= len(steps) <= number + 1
            told[key] = len(steps)
        compacted += bool(compaction.compact(ws, "r"))
    assert compacted > ROUNDS / 2, "the compactor had always left nothing over"
    assert sum(told.values()) > 20 * ROUNDS
    ws.close()


def _killed(
    crew: subprocess.Popen[str], folder: Path, told: dict[str, int], after: int, delay: float
) -> dict[str, int]:
    """The last point of each writer that was told before all were killed."""
    assert crew.stdin is not None
    assert crew.stdout is not None
    crew.stdin.write(f"{folder} {told['a']} {told['b']}\n")
    crew.stdin.flush()
    pids: list[int] = []
    found: dict[str, int] = {}
    heard = 0
    for line in crew.stdout:
        kind, *what = line.split()
        if kind == "ended":
            break
        if kind == "pid":
            pids.append(int(what[0]))
        else:
            found[what[0]] = int(what[1])
            heard += 1
        if heard >= after and len(pids) == CREW_SIZE:
            time.sleep(delay)
            while pids:
                os.kill(pids.pop(), signal.SIGKILL)
    return found
