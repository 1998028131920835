"""The spool: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.errors import DataError, IntegrityError, StorageError, UsageError
from trimtab.store import metrics, runs, states
from trimtab.store.blobs import LocalBlobs
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.track import merge, process, sender, spool
from trimtab.track.frames import Reader
from trimtab.track.homes import begin_of
from trimtab.track.run import start_run
from trimtab.track.spool import Spool

GOLDEN = Path(__file__).parents[2] / "golden" / "spool-v1.spool"
KILLS = 100
CHILD = """
import os, sys
from trimtab.track.homes import begin_of
from trimtab.track.spool import Spool
from trimtab.store.records import Run
from pathlib import Path
run = Run(id=sys.argv[2], kind="run", name="killed", pid=os.getpid(), started_at=1, heartbeat_at=1)
file = Spool(Path(sys.argv[1]), begin_of(run, "demo"))
step = 0
while True:
    file.log({"a": step, "b": -step})
    os.write(1, b"%d\\n" % step)
    step += 1
"""


@pytest.fixture
def ws(tmp_path: Path):
    found = open_workspace(tmp_path / "project", "demo")
    yield found
    found.close()


def a_spool(folder: Path, run: str = "0" * 31 + "1") -> Spool:
    from trimtab.store.records import Run

    return Spool(folder, begin_of(Run(id=run, kind="run", name="r", started_at=1), "demo"))


def points(ws: Workspace, run: str) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for point in metrics.read(ws, run):
        found.setdefault(point.key, []).append((point.step, point.value))
    return found


@pytest.mark.slow
def test_killed_at_any_moment_nothing_acknowledged_is_lost(ws: Workspace, tmp_path: Path) -> None:
    rng, folder = random.Random(7), tmp_path / "spool"
    source = str(Path(spool.__file__).parents[2])
    forker = (
        "import os, sys, signal\n"
        f"sys.path.insert(0, {source!r})\n"
        "import trimtab.track.homes, trimtab.track.spool, trimtab.store.records\n"
        f"code = compile({CHILD!r}, 'child', 'exec')\n"
        "for line in sys.stdin:\n"
        "    run, out = line.split()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY), 1)\n"
        f"        sys.argv = ['child', {str(folder)!r}, run]\n"
        "        exec(code, {'__name__': '__main__'})\n"
        "    print(pid, flush=True)\n"
        "    sys.stdin.readline()\n"
        "    os.waitpid(pid, 0)\n"
        "    print('gone', flush=True)\n"
    )
    acknowledged = {}
    with subprocess.Popen(
        [sys.executable, "-c", forker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        for number in range(KILLS):
            run, out = f"{number + 1:032x}", tmp_path / f"{number}.txt"
            parent.stdin.write(f"{run} {out}\n")
            parent.stdin.flush()
            pid = int(parent.stdout.readline())
            time.sleep(rng.uniform(0.002, 0.03))
            os.kill(pid, signal.SIGKILL)
            parent.stdin.write("\n")
            parent.stdin.flush()
            parent.stdout.readline()
            lines = out.read_text().split("\n")[:-1] if out.exists() else []
            acknowledged[run] = len(lines)
    assert sum(acknowledged.values()) > KILLS
    done = merge.sync(ws, folder, process.is_alive)
    assert done.damaged == []
    assert merge.sync(ws, folder, process.is_alive).points == 0
    for run in done.runs:
        found = points(ws, run).get("a", [])
        assert len(found) in {acknowledged[run], acknowledged[run] + 1}
        assert found == [(step, float(step)) for step in range(len(found))]
        assert runs.get(ws, run).error["type"] == "Died"
    assert {run for run, count in acknowledged.items() if count} <= set(done.runs)
    assert spool.found(folder) == []


@pytest.mark.slow
def test_a_merge_that_is_killed_goes_on_where_it_was(ws: Workspace, tmp_path: Path) -> None:
    """Every prefix of a spool may be in already, also without the process knowing it."""
    file = a_spool(tmp_path / "s")
    for number in range(50):
        file.log({"a": number, "b": 2}, step=number)
        file.log({"c": number})
    file.close({"status": "done", "ended_at": 9})
    whole = file.path.read_bytes()
    for size in range(len(whole) - 400, len(whole), 7):
        file.path.write_bytes(whole[:size])
        merge.take_in(ws, Reader(file.path), LocalBlobs(tmp_path / "s"), goes_on=True)
    file.path.write_bytes(whole)
    merge.sync(ws, file.path.parent, process.is_alive)
    file.path.write_bytes(whole)  # copied from the other machine once more
    again = merge.sync(ws, file.path.parent, process.is_alive)
    assert again.points == 0
    assert again.whole == 1
    found = points(ws, "0" * 31 + "1")
    assert found["c"] == [(n, float(n)) for n in range(50)]
    assert len(found["a"]) == 50
    assert runs.get(ws, "0" * 31 + "1").status == "done"


def test_a_merge_inside_a_transaction_that_is_undone_loses_nothing(ws: Workspace) -> None:
    run = start_run("undone", ws=ws, capture=False)
    run.log({"a": 1})
    with pytest.raises(ZeroDivisionError), ws.transaction():
        run.finish()
        raise ZeroDivisionError
    assert metrics.read(ws, run.id) == []
    merge.leftovers(ws, lambda run: False)
    assert metrics.latest(ws, run.id) == {"a": 1}
    assert runs.get(ws, run.id).status == "done"
    assert spool.found(ws.root / merge.FOLDER) == []


@pytest.mark.parametrize("refused", [1, 2, 5])
def test_what_a_full_disk_did_not_take_at_first_is_taken_later(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    take = metrics.append_columns
    left = [refused]

    def full(*given) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise StorageError("the disk is full")
        take(*given)

    monkeypatch.setattr(sender, "SECONDS", 1e6)  # only what is asked for is taken
    monkeypatch.setattr(metrics, "append_columns", full)
    with start_run("fit", ws=ws) as run:
        for step in range(3):
            run.log({"loss": step, f"own {step}": 1})
            for _ in range(2):
                with contextlib.suppress(StorageError):
                    run.flush()
        assert [p.step for p in metrics.read(ws, run.id, "loss")] == list(range(3))
    for step in range(3):
        assert len(metrics.read(ws, run.id, f"own {step}")) == 1
    assert list(spool.found(ws.root / merge.FOLDER)) == []


@pytest.mark.slow
def test_a_sync_that_is_killed_is_gone_on_with(ws: Workspace, tmp_path: Path) -> None:
    rng, folder, expected = random.Random(5), tmp_path / "s", {}
    for number in range(4):
        file = a_spool(folder, f"{number + 1:032x}")
        for step in range(30_000):
            file.log({"a": step}, step)
        file.close({"status": "done", "ended_at": 9})
        expected[f"{number + 1:032x}"] = 30_000
    code = (
        f"import sys; sys.path.insert(0, {str(Path(spool.__file__).parents[2])!r})\n"
        "from pathlib import Path\n"
        "from trimtab.store.workspace import open_workspace\n"
        "from trimtab.track import frames, merge, process\n"
        "frames.Reader.read.__defaults__ = (100_000,)\n"
        f"ws = open_workspace(Path({str(ws.project_dir)!r}), 'demo')\n"
        "print('ready', flush=True)\n"
        f"merge.sync(ws, Path({str(folder)!r}), process.is_alive)\n"
    )
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as one:
            one.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            one.kill()
    merge.sync(ws, folder, process.is_alive)
    assert spool.found(folder) == []
    for run, count in expected.items():
        assert runs.get(ws, run).status == "done"
        assert [step for step, _ in points(ws, run)["a"]] == list(range(count))


def test_a_torn_frame_is_dropped_and_damage_is_told(ws: Workspace, tmp_path: Path) -> None:
    file = a_spool(tmp_path / "s")
    for number in range(10):
        file.log({"a": number})
    whole = file.path.read_bytes()
    file.abandon()
    file.path.write_bytes(whole[:-3])
    found = merge.sync(ws, tmp_path / "s", lambda run: False)
    assert (found.points, found.whole, found.damaged) == (9, 1, [])
    other = a_spool(tmp_path / "t", "0" * 31 + "2")
    for number in range(10):
        other.log({"a": number})
    data = bytearray(other.path.read_bytes())
    data[-100] ^= 1
    other.path.write_bytes(data)
    told = merge.sync(ws, tmp_path / "t", lambda run: False)
    assert "is damaged at byte" in told.damaged[0]
    assert other.path.exists()
    assert 0 < len(points(ws, "0" * 31 + "2")["a"]) < 10
    (tmp_path / "t" / "odd.spool").write_bytes(b"what")
    assert len(merge.sync(ws, tmp_path / "t", lambda run: False).damaged) == 2
    (tmp_path / "t" / "odd.spool").write_bytes(b"TTSP9\0\0\0")
    with pytest.raises(IntegrityError, match="newer"):
        Reader(tmp_path / "t" / "odd.spool")


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
numbers = st.floats(width=64) | st.integers(-(2**60), 2**60).map(float)


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    calls=st.lists(
        st.tuples(
            st.dictionaries(names, numbers, min_size=1, max_size=4),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=30,
    )
)
def test_what_is_read_is_what_was_logged(tmp_path: Path, calls: list) -> None:
    folder = tmp_path / os.urandom(4).hex()
    file, expected, steps = a_spool(folder), [], {}
    for values, step in calls:
        if step is None and any(steps.get(key, 0) >= 2**63 for key in values):
            with pytest.raises(DataError):
                file.log(values)
            continue
        file.log(values, step)
        for key, value in values.items():
            at = steps.get(key, 0) if step is None else step
            steps[key] = at + 1
            expected.append((key, at, value))
    file.close()
    columns = Reader(file.path).read().columns
    keys = [columns.keys[number] for number in columns.key.tolist()]
    read = list(zip(keys, columns.points.step.tolist(), columns.points.value.tolist(), strict=True))
    assert [one[:2] for one in read] == [one[:2] for one in expected]
    same = zip((one[2] for one in read), (one[2] for one in expected), strict=True)
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in same)


def test_many_threads_log_at_once(ws: Workspace) -> None:
    run = start_run("threads", ws=ws, capture=False)

    def work(number: int) -> None:
        for step in range(500):
            run.log({f"t{number}": step, "all": step})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    run.finish()
    found = points(ws, run.id)
    assert all(found[f"t{number}"] == [(n, float(n)) for n in range(500)] for number in range(6))
    assert [step for step, _ in found["all"]] == list(range(3000))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_writes_a_spool_of_its_own(ws: Workspace) -> None:
    run = start_run("fork", ws=ws, capture=False)
    run.log({"parent": 1})
    pid = os.fork()
    if pid == 0:
        try:
            for number in range(20):
                run.log({"child": number})
            run.finish()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    run.log({"parent": 2})
    run.finish()
    found = points(ws, run.id)
    assert found["parent"] == [(0, 1.0), (1, 2.0)]
    assert len(found["child"]) == 20
    assert runs.get(ws, run.id).status == "done"
    assert spool.found(ws.root / merge.FOLDER) == []


def test_a_full_disk_loses_points_and_says_so_once(ws: Workspace, monkeypatch, capsys) -> None:
    run = start_run("full", ws=ws, capture=False)
    run.log({"a": 1})
    real = os.write

    def refuse(file: int, data: bytes) -> int:
        if len(data) > 10 and file > 2:
            real(file, data[:10])
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", refuse)
    run.log({"a": 2})
    run.log({"a": 3, "b": 4})
    monkeypatch.setattr(os, "write", real)
    run.log({"a": 5, "b": 6})
    run.finish()
    assert capsys.readouterr().err.count("points are being lost") == 1
    assert points(ws, run.id)["a"][0] == (0, 1.0)
    assert points(ws, run.id)["a"][-1][1] == 5.0
    assert runs.get(ws, run.id).tags["lost_points"] == 3


@pytest.mark.slow
def test_a_disk_that_stays_full_still_says_how_the_run_ended(ws: Workspace, tmp_path: Path) -> None:
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(spool.__file__).parents[2])!r})
import trimtab
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
run = trimtab.start_run("full", offline={str(tmp_path / "s")!r}, capture=False)
for number in range(5_000):
    run.log({{"a": number}})
run.finish()
print(run.id)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("points are being lost") == 1
    merge.sync(ws, tmp_path / "s", process.is_alive)
    found = points(ws, done.stdout.strip())["a"]
    assert found == [(step, float(step)) for step in range(len(found))]
    run = runs.get(ws, done.stdout.strip())
    assert (run.status, run.tags["lost_points"]) == ("done", 5_000 - len(found))
    assert spool.found(tmp_path / "s") == []


def test_a_long_run_goes_on_in_another_file(ws: Workspace, monkeypatch) -> None:
    monkeypatch.setattr(spool, "ROTATE", 6_000)
    run = start_run("long", ws=ws, capture=False)
    for number in range(1_000):
        run.log({"a": number})
    run.log_array("b", np.arange(500.0))
    run.log({"a": 1_000})
    assert len(spool.found(ws.root / merge.FOLDER)) > 1
    run.finish()
    found = points(ws, run.id)
    assert found["a"] == [(n, float(n)) for n in range(1_001)]
    assert found["b"] == [(n, float(n)) for n in range(500)]
    assert spool.found(ws.root / merge.FOLDER) == []
    assert runs.get(ws, run.id).status == "done"


def test_odd_input_is_told(ws: Workspace) -> None:
    with start_run("odd", ws=ws, capture=False) as run:
        run.log({"a": "0.5"})
        run.log({"a": np.float32(1.5), "b": np.array(2)}, step=np.int64(4))
        for wrong in ({"a": "x"}, {"a": None}, {3: 1.0}, {}, {"\ud800": 1.0}):
            with pytest.raises(UsageError):
                run.log(wrong)
        with pytest.raises(DataError, match="64-bit"):
            run.log({"a": 1}, step=2**63)
        with pytest.raises(UsageError, match="values and"):
            run.log_array({"a": [1.0, 2.0]}, steps=[1])
        with pytest.raises(UsageError, match="are no numbers"):
            run.log_array("a", ["x"])
        run.log_array({"c": [1.0, 2.0]}, steps=[5, 9])
        run.log_array({"c": [3.0]})
    found = points(ws, run.id)
    assert found == {"a": [(0, 0.5), (4, 1.5)], "b": [(4, 2.0)], "c": [(5, 1), (9, 2), (10, 3)]}
    with pytest.raises(UsageError, match="has ended"):
        run.log({"a": 1})


def test_a_mark_goes_with_its_spool(ws: Workspace) -> None:
    with start_run("marks", ws=ws, capture=False) as run:
        run.log({"a": 1})
        run.flush()
        (path,) = spool.found(ws.root / merge.FOLDER, run.id)
        mark = f"spool:{Reader(path).begin.spool}"
        assert states.get(ws, mark) == {"until": path.stat().st_size, "over": False}
    assert states.get(ws, mark) is None


def test_a_spool_of_version_1_is_read_for_ever(ws: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    shutil.copy(GOLDEN, folder / "golden.spool")
    found = merge.sync(ws, folder, process.is_alive)
    assert (found.points, found.whole, found.damaged) == (10, 1, [])
    run = runs.get(ws, "0" * 31 + "1")
    assert (run.name, run.status, run.ended_at, run.peak_bytes) == ("golden", "done", 11, 5)
    assert (run.params, run.tags["note"]) == ({"depth": 3, "leaf": 2}, "x")
    read = points(ws, run.id)
    assert read["loss"] == [(-3, 0.0), (-2, 1.0), (0, 0.5), (1, 0.25)]
    assert math.copysign(1, read["loss"][0][1]) == -1
    assert [step for step, _ in read["µ"]] == [0, 1]
    assert math.isnan(read["µ"][0][1])
    assert read["µ"][1][1] == -math.inf
    assert read["new"] == [(0, 2.0)]
    assert read["array"] == [(1, 1.5), (2, 2.5), (5, math.inf)]
    times = [point.time for point in metrics.read(ws, run.id, "loss")]
    assert times == [1_700_000_000_000_000 + 1_000 * step for step in (2, 3, 0, 1)]
