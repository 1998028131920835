"""What logging costs: a call of `log`, and everything until it is stored, beside peers.

`python benchmarks/tracking.py --peers all` prints for each: median and p99 of a call with 3 keys in µs (goal
10), calls a second until all is stored (goal 100,000) and bytes a point on disk; then points a second of
arrays (goal 1,000,000). Peers are installed as pip finds them, each into an environment of its own under
build/bench/tracking; one that cannot be is printed as absent. Every peer runs the same loop in a process
of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench" / "tracking"
SECONDS = 900
LOOP = """
import json, os, sys, time
from pathlib import Path
place, calls = Path(sys.argv[1]), int(sys.argv[2])
values = {"loss": 0.123456789, "accuracy": 0.987654321, "rate": 0.001}
BEGIN
took = []
clock = time.perf_counter_ns
begin = clock()
for step in range(calls):
    values["loss"] = 1.0 / (step + 1)
    values["accuracy"] = 1.0 - 1.0 / (step + 1)
    at = clock()
    LOG
    took.append(clock() - at)
END
whole = clock() - begin
took.sort()
size = sum(one.stat().st_size for one in place.rglob("*") if one.is_file())
print()
print(json.dumps({"median": took[calls // 2] / 1000, "p99": took[calls * 99 // 100] / 1000,
                  "calls": calls / (whole / 1e9), "bytes": size / (3 * calls)}))
"""
TRIMTAB = """
from trimtab.store.workspace import open_workspace
from trimtab.track.run import start_run
ws = open_workspace(place, "bench")
"""
ARRAYS = """
import json, sys, time
from pathlib import Path
import numpy as np
from trimtab.store import metrics
from trimtab.store.workspace import open_workspace
from trimtab.track.run import start_run
ws = open_workspace(Path(sys.argv[1]), "bench")
values = np.random.default_rng(0).normal(size=int(sys.argv[2]))
run = start_run("arrays", ws=ws, capture=False)
begin = time.perf_counter()
for part in np.array_split(values, 30):
    run.log_array({"x": part})
run.finish()
print(len(values) / (time.perf_counter() - begin))
"""


@dataclass(frozen=True)
class Peer:
    """How something logs: what is installed for it, and the loop's parts."""

    install: str
    begin: str
    log: str
    end: str
    calls: int = 100_000


PEERS = {
    "trimtab": Peer(
        "",
        TRIMTAB + 'run = start_run("b", ws=ws, capture=False)',
        "run.log(values, step)",
        "run.finish(); ws.close()",
    ),
    "JSON lines, no flush": Peer(
        "",
        'file = open(place / "log.jsonl", "w")',
        'file.write(json.dumps({"step": step, "time": time.time(), **values}) + "\\n")',
        "file.close()",
    ),
    "JSON lines, a write a call": Peer(
        "",
        'file = open(place / "log.jsonl", "wb", buffering=0)',
        'file.write(json.dumps({"step": step, "time": time.time(), **values}).encode() + b"\\n")',
        "file.close()",
    ),
    "tensorboardX": Peer(
        "tensorboardX",
        "from tensorboardX import SummaryWriter; writer = SummaryWriter(str(place))",
        "for key in values: writer.add_scalar(key, values[key], step)",
        "writer.close()",
        20_000,
    ),
    "wandb offline": Peer(
        "wandb",
        "os.environ['WANDB_SILENT'] = 'true'; import wandb\n"
        "run = wandb.init(mode='offline', dir=str(place), project='b')",
        "run.log(values, step=step)",
        "run.finish()",
        20_000,
    ),
    "mlflow SQLite": Peer(
        "mlflow",
        "import mlflow; mlflow.set_tracking_uri(f'sqlite:///{place}/m.db'); mlflow.start_run()",
        "mlflow.log_metrics(values, step=step)",
        "mlflow.end_run()",
        300,
    ),
    "mlflow files": Peer(
        "mlflow",
        "os.environ['MLFLOW_ALLOW_FILE_STORE'] = 'true'\n"
        "import mlflow; mlflow.set_tracking_uri(place.as_uri())\n"
        "mlflow.set_experiment('b'); mlflow.start_run()",
        "mlflow.log_metrics(values, step=step)",
        "mlflow.end_run()",
        300,
    ),
}


def python_of(peer: Peer) -> Path | str:
    """The Python that has a peer, or why there is none."""
    if not peer.install:
        return Path(sys.executable)
    folder = BUILD / peer.install
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", peer.install],
    ):
        if command[2] == "venv" and python.exists():
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return last_line(done.stderr)
    return python


def measured(python: Path, code: str, calls: int) -> str:
    """What a script prints last, in a folder and a process of its own; raises RuntimeError."""
    with tempfile.TemporaryDirectory() as place:
        told = dict(os.environ)
        if python != Path(sys.executable):
            told.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(python), "-c", code, place, str(calls)],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=told,
            cwd=place,
        )
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
    return done.stdout.strip().splitlines()[-1]


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:160] if lines else "it failed"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default="", help="all, or names with commas between")
    wanted = parser.parse_args().peers
    chosen = set(wanted.split(","))
    print(f"{'':28}{'median µs':>10}{'p99 µs':>10}{'calls/s':>12}{'bytes/point':>13}")
    for name, peer in PEERS.items():
        if peer.install and wanted != "all" and name not in chosen:
            continue
        python = python_of(peer)
        if isinstance(python, str):
            print(f"{name:28}absent: {python}")
            continue
        code = LOOP.replace("BEGIN", peer.begin).replace("LOG", peer.log).replace("END", peer.end)
        try:
            one = json.loads(measured(python, code, peer.calls))
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            print(f"{name:28}absent: {error}")
            continue
        print(
            f"{name:28}{one['median']:10.1f}{one['p99']:10.1f}{one['calls']:12,.0f}"
            f"{one['bytes']:13.1f}",
            flush=True,
        )
    rate = float(measured(Path(sys.executable), ARRAYS, 6_000_000))
    print(f"arrays, 6,000,000 points: {rate:,.0f} points/s until all is stored (goal 1,000,000)")


if __name__ == "__main__":
    main()
