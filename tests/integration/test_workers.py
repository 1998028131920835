"""Several workers behind one supervisor: kills, rotations and changes of the routes under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from trimtab.serve import folder as files
from trimtab.serve import routes
from trimtab.serve.logged import log
from trimtab.serve.process import started
from trimtab.serve.routes import RoutesFile

from .test_endpoint import ROW, Clients, packages, predict, route, served, start, wait

__all__ = ["packages"]


@pytest.fixture
def endpoint(tmp_path, packages) -> Path:
    folder = tmp_path / "endpoint"
    files.write_settings(folder, files.Settings(name="loans", workers=3))
    routes.write(folder, RoutesFile(version=1, name="loans", routes=(route(packages[0]),)))
    return folder


def workers(folder: Path) -> list[int]:
    """The pids of the workers that answer."""
    found = []
    for path in (folder / "workers").glob("*.told"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            told = msgspec.json.decode(path.read_bytes())
            if told["ready"] and started(told["pid"]):
                found.append(told["pid"])
    return found


def wait_for(what, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


class Stubborn:
    """Threads that ask again and again, whatever happens, and keep what was answered with 200."""

    def __init__(self, folder: Path, threads: int = 6) -> None:
        self.folder = folder
        self.answered: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        client = None
        body = json.dumps({"row": ROW})
        while not self._stop.is_set():
            try:
                if client is None:
                    state = files.read_state(self.folder)
                    if state is None:
                        raise ConnectionError
                    client = http.client.HTTPConnection(state.host, state.port, timeout=10)
                client.request("POST", "/predict", body)
                answer = client.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                if client is not None:
                    client.close()
                client = None
                time.sleep(0.002)
                continue
            if answer.status == 200:
                self.answered.append(json.loads(text)["predictions"][0]["id"])
        if client is not None:
            client.close()


def check(folder: Path, received: list[str]) -> None:
    logged = [
        name for frame in log.read_all(folder / "log") if frame.status == 200 for name in frame.ids
    ]
    assert len(logged) == len(set(logged))
    assert len(received) == len(set(received))
    assert set(received) <= set(logged)


def test_a_hundred_kills_of_workers_and_supervisors_lose_no_answer(endpoint) -> None:
    chance, kills = random.Random(7), 0
    with Stubborn(endpoint) as clients:
        while kills < 100:
            process = start(endpoint)
            wait(endpoint, lambda state, p=process: state.pid == p.pid and state.ready, process)
            for _ in range(8):
                wait_for(lambda: len(workers(endpoint)) >= 2)
                before = len(clients.answered)
                wait_for(lambda n=before: len(clients.answered) > n + 20)
                time.sleep(chance.uniform(0, 0.02))
                found = workers(endpoint)
                for pid in chance.sample(found, min(2, len(found))):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        kills += 1
            process.kill()
            process.communicate(timeout=30)
            kills += 1
    wait_for(lambda: not workers(endpoint))
    assert kills >= 100
    check(endpoint, clients.answered)


def test_rotations_reloads_and_rollbacks_under_load_lose_no_request(endpoint, packages) -> None:
    with served(endpoint) as (_, process):
        state = wait(endpoint, lambda state: state.ready)
        first = set(workers(endpoint))
        with Clients(state) as clients:
            for version in range(2, 99):  # there and back again
                champion = route(packages[version % 2], f"loans@v{version % 2}")
                file = RoutesFile(version=version, name="loans", routes=(champion,))
                routes.write(endpoint, file)
                wait(endpoint, lambda state, v=version: state.routes_version == v)
                clients.wait_for(len(clients.answered) + 5)
            for _ in range(3):
                old = set(workers(endpoint))
                process.send_signal(signal.SIGHUP)
                wait_for(
                    lambda o=old: len(workers(endpoint)) == 3 and not o & set(workers(endpoint))
                )
                clients.wait_for(len(clients.answered) + 5)
        assert not first & set(workers(endpoint))
        assert clients.failed == []
        assert len({label for _, _, label in clients.answered}) == 2
    check(endpoint, [name for _, name, _ in clients.answered])
    assert files.read_state(endpoint).pid == 0


def test_any_worker_tells_what_all_of_them_counted_and_those_before_them(endpoint) -> None:
    with served(endpoint) as (_, process):
        state = wait(endpoint, lambda state: state.ready)

        def predicted(numbers: range) -> None:
            for number in numbers:  # a connection each, so that several workers get some
                client = http.client.HTTPConnection(state.host, state.port, timeout=10)
                assert predict(client, f"r{number}")[0] == 200
                client.close()

        def counted(count: int) -> bool:
            client = http.client.HTTPConnection(state.host, state.port, timeout=10)
            client.request("GET", "/metrics")
            lines = client.getresponse().read().decode().splitlines()
            client.close()
            name = (
                f'trimtab_requests_total{{endpoint="loans",contract="predict",code="200"}} {count}'
            )
            return name in lines

        predicted(range(30))
        wait_for(lambda: counted(30))
        for turn in (1, 2):
            old = set(workers(endpoint))
            process.send_signal(signal.SIGHUP)
            wait_for(lambda o=old: len(workers(endpoint)) == 3 and not o & set(workers(endpoint)))
            predicted(range(20 + 10 * turn, 30 + 10 * turn))
            wait_for(lambda n=30 + 10 * turn: counted(n))
