"""A collection that is killed at any of its writes, and called again, ends as one that was not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab import ids
from trimtab.store import artifacts, check, deleted, ledger, metrics, runs
from trimtab.store.database import reading
from trimtab.store.records import Artifact, Point
from trimtab.store.tables import metadata
from trimtab.store.workspace import open_workspace

# A child per line of input, because starting Python takes longer than it lives. It dies before its
# n-th write, commit or removal, and says when there was no n-th.
CREW = """
import os, sys
from pathlib import Path
import sqlalchemy as sa
from trimtab.store import blobs, database
from trimtab.store.workspace import open_workspace
from trimtab.track import collect


def work(folder, number, before):
    ws = open_workspace(folder, "demo")
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

    database._commit = wrapped(database._commit)
    blobs.LocalBlobs.remove = wrapped(blobs.LocalBlobs.remove)
    Path.unlink = wrapped(Path.unlink)
    collect.collect(ws, before)


for line in sys.stdin:
    folder, number, before = line.split()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(Path(folder), int(number), int(before))
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def filled(folder):
    ws = open_workspace(folder, "demo")
    for number in range(3):
        run = runs.start(ws, "run", f"r{number}", pid=0)
        for data in (f"own {number}".encode(), b"shared"):
            digest = ws.blobs.put(data)
            made = Artifact(digest=digest, kind="file", size=9, run=run.id, created_at=1)
            artifacts.record(ws, made)
            runs.link(ws, run.id, "out", "file", digest)
        metrics.append(ws, run.id, [Point(key="a", step=1, time=1, value=1)])
        runs.finish(ws, run.id, "done")
        (ws.root / "logs").mkdir(exist_ok=True)
        (ws.root / "logs" / f"run-{run.id}.log").write_text("said")
    first, second, _ = (run.id for run in runs.find(ws)[::-1])
    deleted.delete(ws, [first, second])
    ws.close()


def seen(folder):
    """All that is left, but the ledger's times, which differ."""
    ws = open_workspace(folder, "demo")
    assert ledger.verify(ws) >= 0
    assert check.check_blobs(ws) == []
    rows = {}
    with reading(ws.engine) as db:
        for table in metadata.sorted_tables:
            if table.name not in ("ledger", "ledger_heads"):
                rows[table.name] = sorted(map(repr, db.execute(table.select()).all()))
    files = sorted(str(path.relative_to(folder)) for path in (ws.root / "logs").iterdir())
    found = rows, list(ws.blobs.digests()), files
    ws.close()
    return found


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_killed_at_a_write_and_called_again_it_ends_the_same(tmp_path, every):
    filled(tmp_path / "first")
    before = ids.now()
    with subprocess.Popen(
        [sys.executable, "-c", CREW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crew:

        def collected(folder: Path, number: int) -> int:
            crew.stdin.write(f"{folder} {number} {before}\n")
            crew.stdin.flush()
            return int(crew.stdout.readline())

        shutil.copytree(tmp_path / "first", tmp_path / "whole")
        assert collected(tmp_path / "whole", 0) == 0
        wanted = seen(tmp_path / "whole")
        assert len(wanted[1]) == 2  # the last run's own bytes, and the shared ones
        number, code = 1 - every, 9
        while code == 9:
            number += every
            folder = tmp_path / "cut"
            shutil.copytree(tmp_path / "first", folder)
            code = collected(folder, number)
            assert code in (0, 9)
            assert collected(folder, 0) == 0
            assert seen(folder) == wanted
            shutil.rmtree(folder)
        crew.stdin.close()
    assert number > 12
