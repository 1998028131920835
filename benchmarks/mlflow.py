"""MLflow's protocol: server CPU per request of `trimtab up`, beside a stock `mlflow server`.

Both get the same requests over one connection, one server after the other. The stock server is that of
the conformance environment (`make conformance PART=mlflow-tracking` makes it) or of MLFLOW_PYTHON; where
neither is there, only ours is measured. Numbers are CPU milliseconds of the server and all its children.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
API = "/api/2.0/mlflow/"
TICK = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, tasks.read_text().split())
    return found


def cpu(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    total = 0
    for one in descendants(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICK


def memory(pid: int) -> float:
    """Proportional set size in MB."""
    total = 0
    for one in descendants(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


class Server:
    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, method: str, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if data else {}
        self.connection.request(method, API + path, data, headers)
        reply = self.connection.getresponse()
        text = reply.read()
        assert reply.status == 200, text[:300]
        return json.loads(text)


def settled(pid: int) -> None:
    """Wait until a server has done what it does when it starts."""
    until, before = time.monotonic() + 120, -1.0
    while (now := cpu(pid)) > before + 0.02 and time.monotonic() < until:
        before = now
        time.sleep(3)


@contextmanager
def started(command: list[str], folder: str, port: int, **environment: str) -> Iterator[Server]:
    with Path(folder, "said").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, Path(folder, "said").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
        time.sleep(3)
        yield Server(process.pid, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def measure(server: Server, runs: int) -> dict[str, float]:
    found = {"boot, CPU s": cpu(server.pid), "memory idle, MB": memory(server.pid)}
    make = server.ask("POST", "experiments/create", {"name": f"bench {time.time_ns()}"})
    experiment = make["experiment_id"]

    def create(**fields: object) -> str:
        body = {"experiment_id": experiment, "start_time": 1, **fields}
        return server.ask("POST", "runs/create", body)["run"]["info"]["run_id"]

    def timed(name: str, count: int, act: object) -> None:
        act(0)
        begun, done, spent = cpu(server.pid), 0, 0.0
        while done < count or (
            spent < 0.2 and done < 10 * count
        ):  # it is counted in steps of 10 ms
            done += 1
            act(done)
            spent = cpu(server.pid) - begun if done >= count else 0.0
        found[name] = spent / done * 1000

    run = create()
    timed(
        "log-metric", 1500,
        lambda n: server.ask("POST", "runs/log-metric", {
            "run_id": run, "key": "m", "value": n / 3, "timestamp": n, "step": n}),
    )  # fmt: skip
    timed(
        "log-parameter", 100,
        lambda n: server.ask("POST", "runs/log-parameter", {
            "run_id": run, "key": f"p{n}", "value": "1"}),
    )  # fmt: skip

    def batch(number: int, keys: int, steps: int, into: str) -> None:
        points = [
            {"key": f"k{key}", "value": random.random(), "timestamp": step, "step": step}
            for key in range(keys)
            for step in range(number * steps, (number + 1) * steps)
        ]
        server.ask("POST", "runs/log-batch", {"run_id": into, "metrics": points})

    timed("log-batch, 10 keys x 100 steps", 40, lambda n: batch(n, 10, 100, run))
    timed("log-batch, 1,000 keys x 1 step", 20, lambda n: batch(n, 1000, 1, run))
    timed("runs/get of 1,000 metrics", 20, lambda _: server.ask("GET", f"runs/get?run_id={run}"))
    long = create()
    for number in range(100):
        batch(number, 1, 1000, long)
    history = f"metrics/get-history?run_id={long}&metric_key=k0"

    def pages(_: int) -> None:
        token = ""
        while True:
            reply = server.ask("GET", f"{history}&max_results=25000&page_token={token}")
            token = reply.get("next_page_token", "").replace("=", "%3D")
            if not token:
                return

    timed("history of 100,000 points", 2, pages)
    chart = f"metrics/get-history-bulk-interval?run_ids={long}&metric_key=k0&max_results=320"
    timed("chart of 100,000 points", 10, lambda _: server.ask("GET", chart))
    begun = cpu(server.pid)
    found["16 writers, log-batch of 20: p99, ms"] = writers(server, run)
    found["16 writers, log-batch of 20"] = (cpu(server.pid) - begun) / 400 * 1000
    fill(server, create, runs)
    search(server, experiment, timed, runs)
    found["memory after, MB"] = memory(server.pid)
    return found


def writers(server: Server, run: str) -> float:
    """The slowest but four of 400 requests of 16 connections, in ms."""
    taken: list[float] = []

    def write(number: int) -> None:
        own = Server(server.pid, server.connection.port)
        for place in range(25):
            points = [
                {"key": f"w{number}", "value": at / 3, "timestamp": at, "step": at}
                for at in range(place * 20, place * 20 + 20)
            ]
            begun = time.perf_counter()
            own.ask("POST", "runs/log-batch", {"run_id": run, "metrics": points})
            taken.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.connection.close()  # idle meanwhile, a server may have closed it
    return sorted(taken)[-5] * 1000


def fill(server: Server, create: object, runs: int) -> None:
    dice = random.Random(7)
    for number in range(runs):
        one = create(start_time=number, run_name=f"r{number}")
        server.ask("POST", "runs/log-batch", {
            "run_id": one,
            "metrics": [
                {"key": f"m{key}", "value": dice.random(), "timestamp": 1} for key in range(20)
            ],
            "params": [{"key": f"p{key}", "value": str(dice.randrange(10))} for key in range(20)],
            "tags": [{"key": f"t{key}", "value": str(dice.randrange(10))} for key in range(3)],
        })  # fmt: skip


def search(server: Server, experiment: str, timed: object, runs: int) -> None:
    for name, fields in (
        (
            "filter and order, 100 rows",
            {"filter": "metrics.m1 > 0.5", "order_by": ["metrics.m2 DESC"]},
        ),
        (
            "two filters and order, 100 rows",
            {"filter": "metrics.m1 > 0.5 AND params.p1 = '3'", "order_by": ["metrics.m2"]},
        ),
        ("tag filter, 100 rows", {"filter": "tags.t1 = '3'"}),
        ("no filter, 100 rows", {}),
        ("order, 1,000 rows", {"order_by": ["metrics.m2"], "max_results": 1000}),
    ):
        body = {"experiment_ids": [experiment], "max_results": 100, **fields}
        count = 20 if len(name) < 30 else 5
        timed(
            f"search {runs:,} runs: {name}", count,
            lambda _, body=body: server.ask("POST", "runs/search", body),
        )  # fmt: skip


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ours(runs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "trimtab.toml").write_text(
            '[project]\nname = "bench"\nowner = "a@example.org"\npurpose = "p"\n'
        )
        port = free_port()
        command = [sys.executable, "-m", "trimtab", "up", "--port", str(port), "--every", "60"]
        with started(command, folder, port) as server:
            return measure(server, runs)


def stock(runs: int) -> dict[str, float]:
    python = stock_python()
    if python is None:
        print("there is no stock server here: make conformance PART=mlflow-tracking")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [
            *(str(python), "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", f"{folder}/artifacts"),
        ]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with started(command, folder, port, **quiet) as server:
            return measure(server, runs)


def as_installed() -> dict[str, float]:
    """A stock server as its users start it: no option but the port. It has four workers and a job runner."""
    python = stock_python()
    if python is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(python), "-m", "mlflow", "server", "--port", str(port)]
        with started(command, folder, port) as server:
            settled(server.pid)
            return {
                "processes": len(descendants(server.pid)),
                "boot, CPU s": cpu(server.pid),
                "memory idle, MB": memory(server.pid),
            }


def stock_python() -> Path | None:
    """The interpreter that has a stock server, if any."""
    made = ROOT / "build" / "conformance" / "mlflow-tracking" / "bin" / "python"
    python = Path(os.environ.get("MLFLOW_PYTHON", made))
    return python if python.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--alone", action="store_true", help="without the stock server")
    options = parser.parse_args()
    own = ours(options.runs)
    theirs = {} if options.alone else stock(options.runs)
    print(f"{'CPU ms of the server, each':50} {'trimtab':>10} {'mlflow':>10} {'ratio':>7}")
    for name, value in own.items():
        other = theirs.get(name)
        rest = "" if other is None else f" {other:10.2f} {other / max(value, 1e-9):7.1f}"
        print(f"{name:50} {value:10.2f}{rest}")
    if not options.alone:
        for name, other in as_installed().items():
            value = own.get(name, 1)
            print(f"{'as installed: ' + name:50} {value:10.2f} {other:10.2f} {other / value:7.1f}")


if __name__ == "__main__":
    main()
