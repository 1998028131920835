"""A real endpoint retired under load, and killed in the middle of every step."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from trimtab import ids
from trimtab.deploy import local, tomb
from trimtab.loop import doctor, tick
from trimtab.loop.project import apply, open_project
from trimtab.loop.retiring import retire, retirement
from trimtab.loop.retiring.ending import Wish
from trimtab.serve.access import consumers, keys
from trimtab.store import artifacts, operations, trees, versions
from trimtab.store.records import Artifact

HOUR = 3_600_000_000
# An endpoint outlives whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def handmade():
    path = Path(__file__).parents[1] / "unit" / "serve" / "conftest.py"
    spec = importlib.util.spec_from_file_location("handmade_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = handmade()


@pytest.fixture
def project(tmp_path, request):
    """A project whose endpoint answers, in as many workers as asked for."""
    workers = getattr(request, "param", 1)
    (tmp_path / "trimtab.toml").write_text(
        f'[project]\nname = "loans"\n[serve]\nworkers = {workers}\n[retire]\ngrace = "1h"\n',
        encoding="utf-8",
    )
    found = open_project(tmp_path)
    apply(found)
    ws = found.ws
    digest = MADE.write_package(tmp_path / "package")
    assert trees.put_folder(ws.blobs, tmp_path / "package") == digest
    artifacts.record(ws, Artifact(digest=digest, kind="model", size=1, created_at=1))
    version = versions.add(ws, "model", "loans", digest)
    versions.set_alias(ws, "model", "loans", "champion", digest)
    local.set_routes(ws, "loans", [local.spec(ws, version, "champion", 1.0)])
    local.start(ws, "loans", found.config.serve)
    yield found
    with contextlib.suppress(Exception):
        tomb.stop(ws, "loans")
    ws.close()


class Clients:
    """Threads that ask again and again over connections that they keep, and note every answer."""

    def __init__(self, port: int, key: str = "", threads: int = 4) -> None:
        self.answers: list[tuple[int, str, str]] = []
        self.lost: list[str] = []
        self._port, self._headers = port, {"x-api-key": key} if key else {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        client, body = None, json.dumps({"row": MADE.ROW})
        while not self._over.is_set():
            try:
                client = client or http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
                client.request("POST", "/predict", body, self._headers)
                answer = client.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                client = None
                continue
            told = answer.getheader("sunset", ""), answer.getheader("link", "")
            self.answers.append((answer.status, *told))
            if answer.getheader("connection") == "close":
                client.close()
                client = None
            time.sleep(0.002)


def ask(port: int, path: str = "/predict") -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        client.request("POST", path, json.dumps({"row": MADE.ROW}))
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def wait_for(what) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize("project", [1, 2], indirect=True)
def test_no_request_is_lost_on_the_way_out(project):
    ws = project.ws
    made, key = keys.add(local.folder(ws, "loans"), "nightly")
    before = operations.endpoint(ws, "loans")
    time.sleep(0.5)
    with Clients(before.port, key) as clients:
        wait_for(lambda: len(clients.answers) > 50)
        assert {one[1] for one in clients.answers} == {""}
        retire.begin(project, Wish(within="1d", successor="https://new.example.org/"))
        wait_for(lambda: clients.answers[-1][1])
        assert clients.answers[-1][0] == 200
        assert clients.answers[-1][2] == '<https://new.example.org/>; rel="successor-version"'
        at = ids.now() + 25 * HOUR
        seen = tick.tick(project, now=at)
        assert [one.state for one in seen.acted] == ["done"] * len(seen.acted)
        wait_for(lambda: clients.answers[-1][0] == 410)
        time.sleep(0.3)
    assert clients.lost == []
    assert set(Counter(one[0] for one in clients.answers)) == {200, 410}
    found = consumers.read(local.folder(ws, "loans"))
    assert [(one.caller, one.name) for one in found] == [(made.id, "nightly")]
    assert found[0].requests == sum(one[0] == 200 for one in clients.answers)
    after = operations.endpoint(ws, "loans")
    assert (after.state, after.pid, after.port) == ("gone", before.pid, before.port)
    status, body = ask(after.port)
    assert (status, json.loads(body)["successor"]) == (410, "https://new.example.org/")
    assert ask(after.port, "/v2/health/ready")[0] == 503
    buried = next(
        one for one in operations.actions(ws, kind="retire") if one.key.endswith("refuse")
    )
    print("memory", buried.result)
    assert 0 < buried.result["memory_after"] < buried.result["memory_before"]
    tick.tick(project, now=at + 2 * HOUR)
    assert is_free(after.port)
    assert retirement.of(ws, "loans").phase == "retired"
    stopped = next(one for one in operations.actions(ws, kind="retire") if one.key.endswith("stop"))
    assert stopped.result["refused"] == sum(one[0] == 410 for one in clients.answers) + 1
    assert doctor.doctor(project).ok
    assert tick.tick(project, now=at + 3 * HOUR).acted == []
    assert is_free(after.port)


@pytest.mark.parametrize("whom", ["server", "refuser"])
def test_whoever_is_killed_410_comes_back_on_the_same_port(project, whom):
    ws, row = project.ws, operations.endpoint(project.ws, "loans")
    retire.begin(project, Wish(within="1d"))
    at = ids.now() + 25 * HOUR
    if whom == "refuser":
        tick.tick(project, now=at)
        assert ask(row.port)[0] == 410
    os.kill(row.pid, signal.SIGKILL)
    os.waitpid(row.pid, 0)
    assert is_free(row.port)
    tick.tick(project, now=at)
    assert ask(row.port)[0] == 410
    assert operations.endpoint(ws, "loans").pid != row.pid
    tick.tick(project, now=at + 2 * HOUR)
    assert is_free(row.port)


def test_a_port_that_is_anothers_by_now_stops_nothing(project):
    ws, row = project.ws, operations.endpoint(project.ws, "loans")
    retire.begin(project, Wish(within="1d"))
    local.end(row.pid, row.pid_started)
    with socket.create_server(("127.0.0.1", row.port)):
        tick.tick(project, now=ids.now() + 25 * HOUR)
        done = [one.result["said"] for one in operations.actions(ws, kind="retire")]
        assert any("another process's" in one for one in done)
        tick.tick(project, now=ids.now() + 28 * HOUR)
    assert retirement.of(ws, "loans").phase == "retired"


def test_what_was_retired_answers_again_after_a_revival(project):
    ws, row = project.ws, operations.endpoint(project.ws, "loans")
    retire.begin(project, Wish(force=True))
    assert ask(row.port)[0] == 410
    assert operations.endpoint(ws, "loans").state == "gone"
    retire.revive(project, "loans")
    assert is_free(row.port)
    local.start(ws, "loans", project.config.serve)
    assert ask(operations.endpoint(ws, "loans").port)[0] == 200


KILLED = """
import os, signal, sys
from pathlib import Path
from trimtab import ids
from trimtab.deploy import tomb
from trimtab.loop.project import open_project
from trimtab.loop.tick import tick
name, side, hours = sys.argv[2], sys.argv[3], int(sys.argv[4])
act = getattr(tomb, name)
def killed(*given):
    done = act(*given) if side == "after" else None
    os.kill(os.getpid(), signal.SIGKILL)
setattr(tomb, name, killed)
tick(open_project(Path(sys.argv[1])), now=ids.now() + hours * 3_600_000_000)
"""


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_controller_killed_at_its_acts_is_repaired_by_the_next_pass(project, side):
    ws, row = project.ws, operations.endpoint(project.ws, "loans")
    retire.begin(project, Wish(within="1d"))
    for name, hours in (("bury", 25), ("stop", 28)):
        command = [sys.executable, "-c", KILLED, str(project.path.parent), name, side, str(hours)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert any(one.state == "planned" for one in operations.actions(ws, kind="retire"))
        tick.tick(project, now=ids.now() + hours * HOUR)
        if name == "bury":
            assert ask(row.port)[0] == 410
    assert is_free(row.port)
    keys_of = [one.key.split(":", 2)[2] for one in operations.actions(ws, kind="retire")]
    assert sorted(keys_of) == ["announce", "end", "erase:keys", "look", "refuse", "stop"]
    assert {one.state for one in operations.actions(ws, kind="retire")} == {"done"}
    assert doctor.doctor(project).ok
