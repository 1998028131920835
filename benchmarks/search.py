"""Finding runs: server CPU of a filter and an order over many runs, beside a stock `mlflow server`.

`python benchmarks/search.py --runs 10000` makes the same runs (20 metrics, 20 params, 3 tags each) in a
project and, where the environment of the conformance tests or MLFLOW_PYTHON is there, in the database of
a stock server; then it asks both, one after the other, for the same page of 100 runs: ours in its own
interface, and in MLflow's once it has imported the stock server's database. Numbers are CPU milliseconds
of the server and its children for a request, and of the process itself for the question without HTTP.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))
from mlflow import Server, cpu, free_port, memory, started, stock_python

ASKED = {
    "filter and order": ("metrics.m1 > 0.5", "metrics.m2 DESC"),
    "two filters and order": ("metrics.m1 > 0.5 AND params.p1 = '3'", "metrics.m2 ASC"),
    "tag filter": ("tags.t1 = '3'", ""),
    "no filter": ("", ""),
}
OURS = {
    "OR, parentheses, numbers of params": (
        "metrics.m1 > 0.5 AND (params.p1 < 3 OR NOT params.p2 LIKE '%5')",
        "metrics.m2 desc, params.p3",
    ),
}


def drawn(runs: int) -> Iterator[tuple[dict[str, float], dict[str, str], dict[str, str]]]:
    dice = random.Random(7)
    for _ in range(runs):
        yield (
            {f"m{key}": dice.random() for key in range(20)},
            {f"p{key}": str(dice.randrange(10)) for key in range(20)},
            {f"t{key}": str(dice.randrange(10)) for key in range(3)},
        )


def fill(folder: str, runs: int) -> None:
    from trimtab import ids
    from trimtab.store import metrics
    from trimtab.store import runs as rows
    from trimtab.store.records import Point, Run
    from trimtab.store.workspace import open_workspace

    ws = open_workspace(Path(folder), "bench")
    with ws.transaction():
        for number, (values, params, tags) in enumerate(drawn(runs)):
            one, at = ids.new_id(), 1_000_000 * (number + 1)
            rows.record(ws, Run(
                id=one, kind="run", name=f"r{number}", status="done", params=params, tags=tags,
                started_at=at, ended_at=at + 1000,
            ))  # fmt: skip
            points = [Point(key=key, step=0, time=at, value=value) for key, value in values.items()]
            metrics.append(ws, one, points)
    ws.close()


def fill_stock(path: Path, runs: int) -> str:
    db = sqlite3.connect(path)
    (experiment,) = db.execute("select experiment_id from experiments").fetchone()
    with db:
        for number, (values, params, tags) in enumerate(drawn(runs)):
            one = uuid.uuid4().hex
            db.execute(
                "insert into runs (run_uuid, name, source_type, user_id, status, start_time, end_time,"
                " lifecycle_stage, artifact_uri, experiment_id) values (?,?,?,?,?,?,?,?,?,?)",
                (one, f"r{number}", "LOCAL", "u", "FINISHED", number, number, "active",
                 f"mlflow-artifacts:/{experiment}/{one}/artifacts", experiment),
            )  # fmt: skip
            for table in ("metrics", "latest_metrics"):
                db.executemany(
                    f"insert into {table} (key, value, timestamp, step, is_nan, run_uuid)"
                    " values (?,?,1,0,0,?)",
                    [(key, value, one) for key, value in values.items()],
                )
            for table, pairs in (("params", params), ("tags", tags)):
                db.executemany(
                    f"insert into {table} (key, value, run_uuid) values (?,?,?)",
                    [(key, value, one) for key, value in pairs.items()],
                )
    db.close()
    return str(experiment)


def each(server: Server, act: Callable[[], object], count: int) -> float:
    act()
    begun = cpu(server.pid)
    for _ in range(count):
        act()
    return (cpu(server.pid) - begun) / count * 1000


def raw(server: Server, path: str) -> None:
    server.connection.request("GET", path)
    reply = server.connection.getresponse()
    body = reply.read()
    assert reply.status == 200, body[:300]


def in_process(folder: str) -> dict[str, float]:
    from trimtab.store.workspace import open_workspace
    from trimtab.track.search import finding
    from trimtab.track.search.finding import Wanted

    ws = open_workspace(Path(folder), "bench")
    found = {}
    for name, (where, order_by) in (ASKED | OURS).items():
        wanted, took = Wanted(where=where, order_by=order_by), []
        for _ in range(40):
            begun = time.process_time()
            finding.find(ws, wanted, limit=100)
            took.append((time.process_time() - begun) * 1000)
        found[f"{name}: first time in a process"] = took[0]
        found[f"{name}: the question alone, median"] = statistics.median(took[1:])
    found |= after_commits(folder, ws)
    ws.close()
    return found


def after_commits(folder: str, ws: object) -> dict[str, float]:
    """The first question after a commit over another connection, median of 25."""
    from trimtab.store import deleted, metrics, runs
    from trimtab.store.records import Point
    from trimtab.store.workspace import open_workspace
    from trimtab.track.search import finding
    from trimtab.track.search.finding import Wanted

    other, found, made = open_workspace(Path(folder), "bench"), {}, []
    one = runs.find(ws, limit=1)[0].id
    commits = {
        "20 points of a run": lambda n: metrics.append(
            other, one, [Point(key=f"m{key}", step=n + 1, time=n, value=n / 7) for key in range(20)]
        ),
        "20 params of a run": lambda n: runs.update(
            other, one, params={f"p{key}": str(n + key) for key in range(20)}
        ),
        "a run that begins": lambda n: made.append(runs.start(other, "run", "fit").id),
        "a run that is deleted": lambda n: deleted.delete(other, [made.pop()]),
    }
    for what, commit in commits.items():
        for name, (where, order_by) in (ASKED | OURS).items():
            took = []
            for number in range(25):
                if what == "a run that is deleted" and not made:
                    commits["a run that begins"](number)
                    finding.find(ws, Wanted(where=where, order_by=order_by), limit=100)
                commit(number)
                begun = time.process_time()
                finding.find(ws, Wanted(where=where, order_by=order_by), limit=100)
                took.append((time.process_time() - begun) * 1000)
            found[f"{name}: after {what}"] = statistics.median(took)
    other.close()
    return found


def project(folder: str) -> None:
    Path(folder, "trimtab.toml").write_text(
        '[project]\nname = "bench"\nowner = "a@example.org"\npurpose = "p"\n'
    )


def ours(runs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        project(folder)
        fill(folder, runs)
        found = in_process(folder)
        port = free_port()
        command = [sys.executable, "-m", "trimtab", "up", "--port", str(port), "--every", "60"]
        with started(command, folder, port) as server:
            for name, (where, order_by) in (ASKED | OURS).items():
                query = f"where={quote(where)}&order_by={quote(order_by)}"
                path = f"/api/v1/runs?{query}&limit=100"
                found[f"{name}: request, 100 rows"] = each(
                    server, lambda p=path: raw(server, p), 30
                )
            page = f"/runs?where={quote('metrics.m1 > 0.5')}&order={quote('metrics.m2 desc')}"
            found["filter and order: page, 50 rows"] = each(server, lambda: raw(server, page), 30)
            found["memory after, MB"] = memory(server.pid)
        return found


def searched(server: Server, experiment: str, count: int) -> dict[str, float]:
    """Each question in MLflow's own interface."""
    found = {}
    for name, (where, order_by) in ASKED.items():
        body = {
            "experiment_ids": [experiment],
            "max_results": 100,
            "filter": where,
            "order_by": [order_by] if order_by else [],
        }
        ask = lambda body=body: server.ask("POST", "runs/search", body)  # noqa: E731
        found[f"{name}: request, 100 rows"] = each(server, ask, count)
    return found


def imported(database: Path) -> dict[str, float]:
    """Ours, asked as the stock server is, with the same runs."""
    with tempfile.TemporaryDirectory() as folder:
        project(folder)
        command = [sys.executable, "-m", "trimtab"]
        subprocess.run(
            [*command, "runs", "import", str(database), "--json"],
            cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        port = free_port()
        up = [*command, "up", "--port", str(port), "--every", "60"]
        with started(up, folder, port) as server:
            reply = server.ask("GET", "experiments/get-by-name?experiment_name=Default", None)
            experiment = reply["experiment"]["experiment_id"]
            return searched(server, experiment, 30) | {
                "MLflow's interface: memory after, MB": memory(server.pid)
            }


def stock(runs: int) -> tuple[dict[str, float], dict[str, float]]:
    python = stock_python()
    if python is None:
        print("there is no stock server here: make conformance PART=mlflow-tracking")
        return {}, {}
    with tempfile.TemporaryDirectory() as folder:
        port, path = free_port(), Path(folder, "mlflow.db")
        command = [
            *(str(python), "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{path}"),
            *("--artifacts-destination", f"{folder}/artifacts"),
        ]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with started(command, folder, port, **quiet) as server:
            experiment = fill_stock(path, runs)
            found = searched(server, experiment, 5)
        own = imported(path)
    return found, own


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--alone", action="store_true", help="without the stock server")
    options = parser.parse_args()
    own = ours(options.runs)
    theirs, wire = ({}, {}) if options.alone else stock(options.runs)
    print(
        f"{f'CPU ms, {options.runs:,} runs of 43 columns':56} {'trimtab':>10} {'mlflow':>10} {'ratio':>7}"
    )
    for name, value in own.items():
        other = theirs.get(name)
        rest = "" if other is None else f" {other:10.2f} {other / max(value, 1e-9):7.1f}"
        print(f"{name:56} {value:10.2f}{rest}")
    for name, value in wire.items():
        other = theirs.get(name)
        rest = "" if other is None else f" {other:10.2f} {other / max(value, 1e-9):7.1f}"
        print(f"{name if other is None else 'in MLflow: ' + name:56} {value:10.2f}{rest}")


if __name__ == "__main__":
    main()
