"""The numbers that a first user feels, each beside its goal: commands, start-up, memory, latency.

Run it by itself or by `make bench`. It makes its own project in a temporary folder, from a table of
scikit-learn's, and uses the command line and HTTP as a user does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
from sklearn import datasets

TRIMTAB = [sys.executable, "-m", "trimtab"]
REPEATS = 7
REQUESTS = 2_000


def main() -> int:
    """Print every number with its goal; the exit code is 1 where one is missed."""
    rows: list[tuple[str, float, float, str]] = []
    rows.append(("trimtab --version", 1e3 * typical(REPEATS, "--version"), 100, "ms"))
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as place:
        folder = Path(place)
        commands = first_prediction(folder)
        rows.append(("commands from a fresh install to a prediction", commands, 6, ""))
        rows.append(
            ("run with nothing to do, whole command", typical(3, "run", cwd=folder), 3, "s")
        )
        try:
            rows += server(folder)
            p50, p99 = latency(folder)
            rows.append(("one prediction over HTTP, logged, p50", p50, 5, "ms"))
            rows.append(("one prediction over HTTP, logged, p99", p99, 20, "ms"))
            rows.append(("endpoint's memory (PSS)", pss(endpoint(folder)["pid"]) / 1e6, 120, "MB"))
        finally:
            trimtab("down", cwd=folder)
    print(f"{'what':48} {'measured':>12} {'goal':>10}")
    for what, value, goal, unit in rows:
        verdict = "" if value <= goal else "  missed"
        print(f"{what:48} {value:>9.4g} {unit:2} {'<=':>4} {goal:g} {unit}{verdict}")
    return int(any(value > goal for _, value, goal, _ in rows))


def trimtab(*arguments: str, cwd: Path | None = None) -> str:
    """One command; raises CalledProcessError."""
    done = subprocess.run(
        [*TRIMTAB, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stdout


def typical(repeats: int, *arguments: str, cwd: Path | None = None) -> float:
    """The median seconds of a command."""
    spent = []
    for _ in range(repeats):
        begun = time.perf_counter()
        trimtab(*arguments, cwd=cwd)
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def first_prediction(folder: Path) -> int:
    """From an empty folder with a table in it to a prediction; returns the number of commands.

    The installation counts as one: `pip install 'trimtab[local]'`.
    """
    bunch = datasets.load_breast_cancer(as_frame=False)
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    table = pl.DataFrame(bunch.data, schema=names).with_columns(
        malignant=pl.Series(bunch.target == 0)
    )
    table.write_csv(folder / "cancer.csv")
    commands = [
        ["init", "--from", "cancer.csv", "--target", "malignant"],
        ["run"],
        ["deploy"],
        ["predict", "cancer", "cancer.csv", "--limit", "3"],
    ]
    for command in commands:
        trimtab(*command, cwd=folder)
    return 1 + len(commands)


def server(folder: Path) -> list[tuple[str, float, float, str]]:
    """`trimtab up`: seconds until it answers, and its memory while it ticks with nothing to do."""
    begun = time.perf_counter()
    with subprocess.Popen(
        [*TRIMTAB, "up", "--port", "0", "--every", "1", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            said += child.stdout.readline()
        host, _, port = json.loads(said)["url"].removeprefix("http://").partition(":")
        ask(host, int(port), "/healthz")
        ready = time.perf_counter() - begun
        ask(host, int(port), "/")
        time.sleep(5)
        memory = pss(child.pid) / 1e6
        child.terminate()
    return [
        ("server ready", ready, 2, "s"),
        ("server's memory, page served, ticking (PSS)", memory, 150, "MB"),
    ]


def latency(folder: Path) -> tuple[float, float]:
    """p50 and p99 in milliseconds of single rows over one connection."""
    trimtab("deploy", cwd=folder)
    place = endpoint(folder)
    row = pl.read_csv(folder / "cancer.csv").drop("malignant").row(0, named=True)
    body = json.dumps({"row": row})
    client = http.client.HTTPConnection(place["host"], place["port"], timeout=30)
    spent = []
    with contextlib.closing(client):
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            client.request("POST", "/predict", body, {"content-type": "application/json"})
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
            spent.append(1e3 * (time.perf_counter() - begun))
    cuts = statistics.quantiles(spent, n=100)
    return cuts[49], cuts[98]


def endpoint(folder: Path) -> dict[str, Any]:
    """What the endpoint says of itself."""
    state = folder / ".trimtab" / "endpoints" / "cancer" / "state.json"
    found: dict[str, Any] = json.loads(state.read_text())
    return found


def ask(host: str, port: int, path: str) -> None:
    """A page that must answer 200."""
    client = http.client.HTTPConnection(host, port, timeout=30)
    with contextlib.closing(client):
        client.request("GET", path)
        assert client.getresponse().status == 200


def pss(pid: int) -> int:
    """A process's proportional share of memory in bytes (proc(5), smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
