"""An import that is killed at any of its writes, and called again, has everything once."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.interop.transfer.giving import export_to_mlflow
from trimtab.interop.transfer.tally import Tally
from trimtab.store import check, metrics, runs
from trimtab.store.database import reading
from trimtab.store.records import Point
from trimtab.store.tables import metadata
from trimtab.store.workspace import open_workspace

SCRIPT = """
from trimtab.interop.transfer.intake import Taking
from trimtab.interop.transfer.taking import open_source, take
from trimtab.interop.transfer.tally import Tally

ACTS.append((blobs, "_publish"))

def work(ws, source):
    tally = Tally()
    take(Taking(ws=ws, source=open_source(source, tally.skip), tally=tally))
    assert not tally.skipped, tally.skipped
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
    """All that is there, each point counted, but not when or how often it was written."""
    ws = open_workspace(folder, "demo")
    assert check.check_blobs(ws) == []
    rows = {}
    with reading(ws.engine) as db:
        for table in metadata.sorted_tables:
            if table.name.startswith(("metric_", "projects", "changes")):
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
def test_killed_at_a_write_and_called_again_it_has_everything_once(tmp_path, dying, every):
    (tmp_path / "from").mkdir()
    there = source(tmp_path / "from")
    open_workspace(tmp_path / "first", "demo").close()
    wanted, number = dying(SCRIPT, (str(there),), seen, every)
    assert [len(points) for points in wanted[1].values()] == [30, 30]
    assert number > 12
