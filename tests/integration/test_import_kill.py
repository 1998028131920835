"""An import that is killed at any of its writes, and called again, has everything once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.interop.transfer.giving import export_to_mlflow
from trimtab.interop.transfer.tally import Tally
from trimtab.store import check, metrics, runs
from trimtab.store.database import reading
from trimtab.store.records import Point
from trimtab.store.tables import metadata
from trimtab.store.workspace import open_workspace

# A child per line of input, because starting Python takes longer than it lives. It dies before its
# n-th write, commit or rename; and says when there was no n-th.
CREW = """
import os, sys
from pathlib import Path
import sqlalchemy as sa
from trimtab.interop.transfer.intake import Taking
from trimtab.interop.transfer.taking import open_source, take
from trimtab.interop.transfer.tally import Tally
from trimtab.store import blobs, database
from trimtab.store.workspace import open_workspace


def work(folder, source, number):
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
    blobs._publish = wrapped(blobs._publish)
    Path.unlink = wrapped(Path.unlink)
    tally = Tally()
    take(Taking(ws=ws, source=open_source(source, tally.skip), tally=tally))
    assert not tally.skipped, tally.skipped


for line in sys.stdin:
    folder, source, number = line.split()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(Path(folder), source, int(number))
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
_WHEN = ("created_at", "updated_at", "through", "seq")


def source(folder: Path) -> Path:
    ws = open_workspace(folder, "demo")
    wanted = []
    for number in range(2):
        run = runs.start(ws, "run", f"r{number}", pid=0, params={"depth": number})
        points = [Point(key="a", step=n, time=n * 1000, value=n) for n in range(30)]
        metrics.append(ws, run.id, points)
        runs.link(ws, run.id, "out", "file.txt", ws.blobs.put(f"own {number}".encode()))
        runs.finish(ws, run.id, "done")
        wanted.append(run.id)
    export_to_mlflow(ws, wanted, f"mlruns:{folder}/mlruns", Tally())
    ws.close()
    return folder / "mlruns"


def seen(folder):
    """All that is there, but when it came and in how many batches; each point counted."""
    ws = open_workspace(folder, "demo")
    assert check.check_blobs(ws) == []
    rows = {}
    with reading(ws.engine) as db:
        for table in metadata.sorted_tables:
            if table.name.startswith(("metric_", "projects")):
                continue
            names = [
                one.name for one in table.columns if one.name not in (*_WHEN, "project", "body")
            ]
            columns = [table.c[name] for name in names]
            rows[table.name] = sorted(
                map(repr, db.execute(table.select().with_only_columns(*columns)))
            )
    points = {run.id: metrics.read(ws, run.id) for run in runs.find(ws)}
    found = rows, points, list(ws.blobs.digests())
    ws.close()
    return found


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_killed_at_a_write_and_called_again_it_has_everything_once(tmp_path, every):
    (tmp_path / "from").mkdir()
    there = source(tmp_path / "from")
    open_workspace(tmp_path / "first", "demo").close()
    with subprocess.Popen(
        [sys.executable, "-c", CREW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crew:

        def taken(folder: Path, number: int) -> int:
            crew.stdin.write(f"{folder} {there} {number}\n")
            crew.stdin.flush()
            return int(crew.stdout.readline())

        shutil.copytree(tmp_path / "first", tmp_path / "whole")
        assert taken(tmp_path / "whole", 0) == 0
        wanted = seen(tmp_path / "whole")
        assert [len(points) for points in wanted[1].values()] == [30, 30]
        number, code = 1 - every, 9
        while code == 9:
            number += every
            folder = tmp_path / "cut"
            shutil.copytree(tmp_path / "first", folder)
            code = taken(folder, number)
            assert code in (0, 9)
            assert taken(folder, 0) == 0
            assert seen(folder) == wanted
            shutil.rmtree(folder)
        crew.stdin.close()
    assert number > 12
