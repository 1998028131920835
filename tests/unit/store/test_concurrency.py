"""Several processes write to one store at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trimtab import hashing, ids
from trimtab.store import evidence, leases, ledger, operations, runs, states, versions
from trimtab.store.records import Evidence
from trimtab.store.workspace import Workspace, open_workspace

PROCESSES = 4
PREPARE = """
import sys
from pathlib import Path
from trimtab.store import evidence, leases, ledger, states, versions
from trimtab.store.records import Evidence
from trimtab.store.workspace import open_workspace
from trimtab import hashing

me, folder = sys.argv[1], Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
APPEND = """
ws = open_workspace(folder, "demo")
for number in range(50):
    with ws.transaction():
        evidence.append(ws, [Evidence(id=f"{me}-{number}", metric="auc", subject="s", value=0.5,
                                      lo=0.4, hi=0.6, n=9, method="m")])
        versions.add(ws, "model", "loans", hashing.digest("blob", f"{me}-{number}".encode()))
    if number % 10 == 0:
        ledger.verify(ws)
"""
# A lost update on `count`, or a second holder at the same time, shows as a wrong sum.
HOLD = """
import os, time
ws = open_workspace(folder, "demo")
done = 0
while done < 15:
    if leases.acquire(ws, "tick", me, 60):
        os.close(os.open(folder / "held", os.O_CREAT | os.O_EXCL))
        states.put(ws, "count", (states.get(ws, "count") or 0) + 1)
        os.unlink(folder / "held")
        leases.release(ws, "tick", me)
        done += 1
    time.sleep(0.001)
"""


def together(folder: Path, code: str) -> None:
    """Run the code in several processes that begin at the same moment."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE + code, str(number), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_no_entry_is_lost(tmp_path: Path, fresh: bool) -> None:
    if not fresh:
        open_workspace(tmp_path, "demo").close()
    together(tmp_path, APPEND)
    ws = open_workspace(tmp_path, "demo")
    assert ledger.verify(ws) == 2 * PROCESSES * 50
    assert len(evidence.find(ws)) == PROCESSES * 50
    numbers = [version.number for version in versions.find(ws, "model", "loans")]
    assert sorted(numbers) == list(range(1, PROCESSES * 50 + 1))
    ws.close()


@pytest.mark.slow
def test_a_lease_never_has_two_holders(tmp_path: Path) -> None:
    ws = open_workspace(tmp_path, "demo")
    together(tmp_path, HOLD)
    assert states.get(ws, "count") == PROCESSES * 15
    ws.close()


@pytest.mark.slow
def test_a_dead_holder_loses_its_lease_in_time(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = 'ws = open_workspace(folder, "demo")\nassert leases.acquire(ws, "tick", me, 60)\n'
    code += "import os\nos._exit(0)\n"
    subprocess.run(
        [sys.executable, "-c", PREPARE + code, "dead", str(ws.project_dir)],
        input="go\n", text=True, check=True, capture_output=True,
    )  # fmt: skip
    assert not leases.acquire(ws, "tick", "next", 60)
    now = ids.now
    monkeypatch.setattr("trimtab.ids.now", lambda: now() + 61_000_000)
    assert leases.acquire(ws, "tick", "next", 60)


@pytest.mark.slow
def test_threads_share_a_workspace(ws: Workspace) -> None:
    wrong: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(20):
                run = runs.start(ws, "step", f"{me}-{number}")
                evidence.append(
                    ws,
                    [Evidence(id=f"{me}-{number}", metric="auc", subject="s", value=0.5, lo=0.4,
                              hi=0.6, n=9, method="m", run=run.id)],
                )  # fmt: skip
                runs.finish(ws, run.id, "done")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ledger.verify(ws) == 80
    assert len(runs.find(ws, status="done")) == 80


@pytest.mark.slow
def test_only_one_process_wins_a_unique_row(tmp_path: Path) -> None:
    ws = open_workspace(tmp_path, "demo")
    together(
        tmp_path,
        "from trimtab.store import operations\nfrom trimtab.store.records import Rollout\n"
        'ws = open_workspace(folder, "demo")\n'
        "for number in range(20):\n"
        '    rollout = Rollout(id=f"{me}-{number}", endpoint=f"e{number}", candidate="c",\n'
        '                      champion="d", stages=["10 %"])\n'
        "    operations.open_rollout(ws, rollout)\n",
    )
    opened = operations.rollouts(ws)
    assert sorted(one.endpoint for one in opened) == sorted(f"e{number}" for number in range(20))
    assert ledger.verify(ws) == 20
    assert hashing.is_digest(ledger.head(ws)[1])
    ws.close()
