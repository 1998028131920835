"""What the tests that kill share: the project whose world changes, and deaths at every write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIFTING = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
roc_auc = { min = 0.7 }
[serve]
rollout = ["shadow", "50%", "100%"]
labels = "outcomes/*.csv"
event_time = "client"
[retrain]
on = ["drift", "requirement"]
min_rows = 150
"""


@pytest.fixture(scope="session")
def drifting_project() -> str:
    """The project file of a life with a change of meaning, a retrain and a rollout."""
    return DRIFTING


# A child per line of input, because starting Python takes longer than it lives. It dies before its
# n-th write, commit or act on files, and says when there was no n-th.
CREW = """
import json, os, sys
from pathlib import Path
import sqlalchemy as sa
from trimtab.store import blobs, database
from trimtab.store.workspace import open_workspace

ACTS = [(database, "_commit"), (Path, "unlink")]
SCRIPT

def begin(folder, number, *words):
    ws = open_workspace(Path(folder), "demo")
    left = [number]

    def step(*_):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)

    def wrapped(function):
        def call(*arguments, **named):
            step()
            return function(*arguments, **named)
        return call

    @sa.event.listens_for(ws.engine, "before_cursor_execute")
    def look(connection, cursor, statement, *rest):
        if statement.split()[0] in ("INSERT", "UPDATE", "DELETE"):
            step()

    for owner, name in ACTS:
        setattr(owner, name, wrapped(getattr(owner, name)))
    work(ws, *words)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            begin(*json.loads(line))
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def crew(script: str) -> Iterator[Callable[..., int]]:
    """`done(folder, number, *words)` lets a child do its work there; how it ended."""
    with subprocess.Popen(
        [sys.executable, "-c", CREW.replace("SCRIPT", script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def done(folder: Path, number: int, *words: str | int) -> int:
            process.stdin.write(json.dumps([str(folder), number, *words]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield done
        process.stdin.close()


@pytest.fixture
def dying(tmp_path: Path) -> Callable[..., tuple[Any, int]]:
    """`dying(script, words, seen, every)`: what was seen where nothing died, and how many deaths there were.

    The script says what is to be done, as `work(ws, *words)` to a copy of the store in `first`. It dies
    before every so-manieth write and is done again; what is `seen` then must be as if it had not died.
    """

    def tried(
        script: str, words: tuple[str | int, ...], seen: Callable[[Path], Any], every: int
    ) -> tuple[Any, int]:
        with crew(script) as done:
            shutil.copytree(tmp_path / "first", tmp_path / "whole")
            assert done(tmp_path / "whole", 0, *words) == 0
            wanted = seen(tmp_path / "whole")
            number, code = 1 - every, 9
            while code == 9:
                number += every
                folder = tmp_path / "cut"
                shutil.copytree(tmp_path / "first", folder)
                code = done(folder, number, *words)
                assert code in (0, 9)
                assert done(folder, 0, *words) == 0
                assert seen(folder) == wanted, number
                shutil.rmtree(folder)
        return wanted, number

    return tried
