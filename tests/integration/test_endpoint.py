"""Endpoints as processes: killed, reloaded and stopped under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab.model.digest import folder_digest
from trimtab.model.package import package
from trimtab.serve import folder as files
from trimtab.serve import routes
from trimtab.serve.logged import log
from trimtab.serve.measured.bench import measure_latency
from trimtab.serve.process import alive, started
from trimtab.serve.routes import RoutesFile, RouteSpec
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features

FEATURES = {"income": "number", "purpose": "text"}
ROW = {"income": 3.5, "purpose": "car"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> list[Path]:
    """Two packages of the same signature with different answers."""
    rng = np.random.default_rng(0)
    income = rng.normal(size=300)
    table = pl.DataFrame(
        {
            "income": income,
            "purpose": rng.choice(["car", "home"], 300),
            "repaid": np.where(income + rng.normal(size=300) > 0, "yes", "no"),
        }
    )
    made = []
    for strength in (0.01, 1.0):
        estimator = make_pipeline(
            make_column_transformer(
                (SimpleImputer(), ["income"]), (OneHotEncoder(handle_unknown="ignore"), ["purpose"])
            ),
            LogisticRegression(C=strength),
        ).fit(features(table, FEATURES), table["repaid"].to_numpy())
        candidate = Candidate(
            estimator=estimator,
            params={"C": strength},
            task="binary",
            target="repaid",
            fit_on="repaid",
            classes=("no", "yes"),
            positive="yes",
            threshold=0.5,
            features=FEATURES,
            train=table,
            withheld=table[:50],
        )
        made.append(package(candidate, out=tmp_path_factory.mktemp("model")).folder)
    return made


def route(folder: Path, label: str = "loans@v1", **fields) -> RouteSpec:
    values = {
        "role": "champion",
        "model": folder_digest(folder),
        "label": label,
        "folder": str(folder),
    }
    return RouteSpec(**(values | fields))


@pytest.fixture
def endpoint(tmp_path, packages) -> Path:
    folder = tmp_path / "endpoint"
    files.write_settings(folder, files.Settings(name="loans"))
    routes.write(folder, RoutesFile(version=1, name="loans", routes=(route(packages[0]),)))
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trimtab.serve.endpoint", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(folder: Path, holds: Callable[[files.State], bool], process=None) -> files.State:
    """Poll the state until it holds; a minute is a failure, not a measurement."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        state = files.read_state(folder)
        if state is not None and holds(state):
            return state
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError(f"the state stays {files.read_state(folder)}")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[files.State, subprocess.Popen[str]]]:
    process = start(folder)
    try:
        yield wait(folder, lambda state: state.pid == process.pid, process), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def predict(client: http.client.HTTPConnection, request: str) -> tuple[int, dict]:
    body = json.dumps({"row": ROW})
    client.request("POST", "/predict", body, {"x-request-id": request})
    answer = client.getresponse()
    return answer.status, json.loads(answer.read())


class Clients:
    """Threads that send requests one after the other until they are stopped or refused."""

    def __init__(self, state: files.State, threads: int = 4) -> None:
        self.state = state
        self.answered: list[tuple[str, str, str]] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        until = time.monotonic() + 60
        while len(self.answered) < answers and time.monotonic() < until:
            time.sleep(0.002)
        assert len(self.answered) >= answers

    def _run(self, number: int) -> None:
        client = http.client.HTTPConnection(self.state.host, self.state.port, timeout=30)
        with contextlib.closing(client):
            self._ask(client, number)

    def _ask(self, client: http.client.HTTPConnection, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            fresh = client.sock is None
            try:
                status, answer = predict(client, f"{number}-{count}")
            except (OSError, http.client.HTTPException) as error:
                client.close()
                # A connection that nobody has taken yet is refused, or reset as its socket closes.
                if fresh and isinstance(error, ConnectionError):
                    return
                self.failed.append(f"{number}-{count}: {type(error).__name__}")
            else:
                if status == 200:
                    name = answer["predictions"][0]["id"]
                    self.answered.append((f"{number}-{count}", name, answer["model_version"]))
                else:
                    self.failed.append(f"{number}-{count}: {status} {answer}")
            count += 1


def test_every_answer_received_is_logged_once_through_ten_kills(endpoint):
    received: list[str] = []
    for _ in range(10):
        process = start(endpoint)
        state = wait(endpoint, lambda state, p=process: state.pid == p.pid and state.ready, process)
        with Clients(state) as clients:
            clients.wait_for(60)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
        received += [name for _, name, _ in clients.answered]
    logged = [name for frame in log.read(endpoint / "log")[0] for name in frame.ids]
    assert len(logged) == len(set(logged))
    assert set(received) <= set(logged)
    assert len(received) >= 600
    # What was logged and not received was at most in flight: four clients, ten kills.
    assert len(logged) - len(received) <= 40


def test_changing_the_routes_under_load_loses_no_request(endpoint, packages):
    with served(endpoint) as (state, _), Clients(state) as clients:
        for version in range(2, 14):
            champion = route(packages[version % 2], f"loans@v{version}")
            routes.write(endpoint, RoutesFile(version=version, name="loans", routes=(champion,)))
            wait(endpoint, lambda state, v=version: state.routes_version == v)
            clients.wait_for(len(clients.answered) + 20)
    assert clients.failed == []
    versions = {label for _, _, label in clients.answered}
    assert {f"loans@v{version}" for version in range(2, 13)} <= versions
    frames = log.read(endpoint / "log")[0]
    labels = {name: frame.label for frame in frames for name in frame.ids}
    assert all(labels[name] == label for _, name, label in clients.answered)


def test_a_stop_answers_every_request_that_was_begun(endpoint):
    with served(endpoint) as (state, process), Clients(state) as clients:
        clients.wait_for(100)
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert clients.failed == []
    assert process.returncode == 0, said
    state = files.read_state(endpoint)
    assert (state.pid, state.ready) == (0, False)
    logged = {name for frame in log.read(endpoint / "log")[0] for name in frame.ids}
    assert logged == {name for _, name, _ in clients.answered}


def test_a_stopping_endpoint_answers_on_idle_connections_before_it_closes_them(endpoint):
    with served(endpoint) as (state, process), contextlib.ExitStack() as stack:
        idle = []
        for number in range(4):
            client = http.client.HTTPConnection(state.host, state.port, timeout=30)
            stack.callback(client.close)
            assert predict(client, f"first-{number}")[0] == 200
            idle.append(client)
        process.terminate()
        wait(endpoint, lambda state: not state.ready)
        for number, client in enumerate(idle):
            client.request("POST", "/predict", json.dumps({"row": ROW}))
            answer = client.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, "close"), number
            answer.read()
        assert process.wait(timeout=30) == 0
    assert sum(frame.rows for frame in log.read(endpoint / "log")[0]) == 8


def test_a_bad_package_keeps_the_old_routes_and_says_why(endpoint, packages, tmp_path):
    changed = Path(shutil.copytree(packages[1], tmp_path / "changed"))
    spec = route(changed, "loans@v2")
    (changed / "golden.json").write_bytes(b"{}")
    with served(endpoint) as (state, _):
        routes.write(endpoint, RoutesFile(version=2, name="loans", routes=(spec,)))
        seen = wait(endpoint, lambda state: state.error != "")
        assert (seen.ready, seen.routes_version) == (True, 1)
        assert "has digest" in seen.error
        client = http.client.HTTPConnection(state.host, state.port, timeout=30)
        assert predict(client, "r")[1]["model_version"] == "loans@v1"
        client.close()


def test_an_endpoint_may_start_before_its_routes(endpoint, packages):
    (endpoint / routes.FILE).unlink()
    with served(endpoint) as (state, _):
        assert not state.ready
        assert "no routes.json" in state.error
        client = http.client.HTTPConnection(state.host, state.port, timeout=30)
        assert predict(client, "r")[0] == 503
        routes.write(endpoint, RoutesFile(version=7, name="loans", routes=(route(packages[0]),)))
        wait(endpoint, lambda state: state.ready and state.routes_version == 7)
        assert predict(client, "r")[0] == 200
        client.close()


def test_a_taken_port_is_a_conflict(endpoint):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        files.write_settings(endpoint, files.Settings(name="loans", port=port))
        process = start(endpoint)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert f"127.0.0.1:{port} is in use" in said
    assert "[serve] port" in said


def test_two_processes_do_not_serve_one_folder(endpoint):
    with served(endpoint):
        second = start(endpoint)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 5
        assert "already running" in said


def test_a_folder_that_is_no_endpoint_is_not_found(tmp_path):
    process = start(tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "no endpoint.json" in said


def test_a_large_body_is_refused_and_the_next_request_answered(endpoint):
    with served(endpoint) as (state, _):
        client = http.client.HTTPConnection(state.host, state.port, timeout=30)
        client.request("POST", "/predict", json.dumps({"row": {**ROW, "purpose": "x" * 1_000_000}}))
        answer = client.getresponse()
        assert answer.status == 422
        assert json.loads(answer.read())["error"]["column"] == "purpose"
        assert predict(client, "r")[0] == 200
        client.close()


def test_the_state_tells_a_recycled_pid(endpoint):
    with served(endpoint) as (state, process):
        assert alive(state.pid, state.pid_started)
        assert not alive(state.pid, state.pid_started + 1)
    assert started(process.pid) == 0.0
    assert not alive(process.pid, state.pid_started)
    assert alive(os.getpid(), started(os.getpid()))


def test_an_idle_endpoint_is_small(endpoint, need):
    need(Path("/proc/self/status").exists(), "memory is read from /proc")
    with served(endpoint) as (state, _):
        lines = Path(f"/proc/{state.pid}/status").read_text().splitlines()
        (resident,) = (int(x.split()[1]) for x in lines if x.startswith("VmRSS"))
        modules = Path(f"/proc/{state.pid}/maps").read_text()
    assert resident <= 120 * 1024
    assert "polars" not in modules
    assert "sklearn" not in modules


def test_latency_is_measured_over_http(packages):
    bench = measure_latency(packages[0], [ROW, {"income": 1, "purpose": "home"}], requests=50)
    assert len(bench.milliseconds) == 50
    assert min(bench.milliseconds) > 0
    assert 0 < bench.cpu_seconds < 1
