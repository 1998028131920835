"""A collection that is killed at any of its writes, and called again, ends as one that was not."""

from __future__ import annotations

import pytest

from trimtab import ids
from trimtab.store import artifacts, check, deleted, ledger, metrics, runs
from trimtab.store.database import reading
from trimtab.store.records import Artifact, Point
from trimtab.store.tables import metadata
from trimtab.store.workspace import open_workspace

SCRIPT = """
from trimtab.track import collect

ACTS.append((blobs.LocalBlobs, "remove"))

def work(ws, before):
    collect.collect(ws, before)
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
def test_killed_at_a_write_and_called_again_it_ends_the_same(tmp_path, dying, every):
    filled(tmp_path / "first")
    wanted, number = dying(SCRIPT, (ids.now(),), seen, every)
    assert len(wanted[1]) == 2  # the last run's own bytes, and the shared ones
    assert number > 12
