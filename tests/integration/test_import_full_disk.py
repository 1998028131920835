"""An import onto a disk that fills up says so, and has the rest once there is space."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trimtab.errors import StorageError
from trimtab.interop.transfer.intake import Taking
from trimtab.interop.transfer.taking import open_source, take
from trimtab.interop.transfer.tally import Tally
from trimtab.store import check, metrics, runs
from trimtab.store.workspace import Workspace, open_workspace

RUNS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `mlruns` whose runs have a file of 20 kB each."""
    home = tmp_path / "mlruns" / "0"
    home.mkdir(parents=True)
    (home / "meta.yaml").write_text(json.dumps({"experiment_id": "0", "name": "Default"}))
    for number in range(RUNS):
        run = home / f"{number:032x}"
        for name in ("metrics", "artifacts"):
            (run / name).mkdir(parents=True)
        told = {"run_id": run.name, "status": 3, "start_time": 1, "end_time": 2}
        (run / "meta.yaml").write_text(json.dumps(told))
        (run / "metrics" / "loss").write_text("".join(f"{n} {n * 0.1} {n}\n" for n in range(50)))
        (run / "artifacts" / "a.bin").write_bytes(bytes([number]) * 20_000)
    return home.parent


def taken(ws: Workspace, folder: Path) -> Tally:
    tally = Tally()
    take(Taking(ws=ws, source=open_source(str(folder), tally.skip), tally=tally))
    return tally


@pytest.mark.parametrize("leave", [0, 25_000, 60_000, 110_000])
def test_a_full_disk_stops_it_and_the_rest_comes_later(tiny_disk, folder, leave):
    ws = open_workspace(tiny_disk, "demo")
    filler = tiny_disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            stream.truncate(max(0, stream.tell() - leave))
    with pytest.raises(StorageError):
        taken(ws, folder)
    assert list((ws.root / "tmp").iterdir()) == []
    filler.unlink()
    taken(ws, folder)
    assert [len(metrics.read(ws, run.id)) for run in runs.find(ws)] == [50] * RUNS
    assert all(len(runs.links(ws, run.id)) == 1 for run in runs.find(ws))
    assert check.check_blobs(ws) == []
    ws.close()
