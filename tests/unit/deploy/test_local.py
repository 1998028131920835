import contextlib
import os
import threading

import msgspec
import pytest

from trimtab.config import ServeConfig
from trimtab.deploy import local
from trimtab.errors import TrimtabError
from trimtab.serve.folder import STATE, Settings, State, write_settings, write_state
from trimtab.serve.process import started
from trimtab.serve.routes import RouteSpec
from trimtab.store import operations
from trimtab.store.records import Endpoint
from trimtab.store.workspace import open_workspace


@pytest.fixture
def running(tmp_path):
    """A workspace whose endpoint `loans` runs, as far as anybody can tell: it is this process."""
    ws = open_workspace(tmp_path, "demo")
    place = local.folder(ws, "loans")
    write_settings(place, Settings(name="loans", project="demo"))
    operations.save_endpoint(
        ws,
        Endpoint(
            name="loans",
            target=local.TARGET,
            state="ready",
            folder=str(place),
            pid=os.getpid(),
            pid_started=started(os.getpid()),
            port=8080,
        ),
    )
    return ws


@pytest.mark.parametrize(
    ("serve", "port", "said"),
    [
        (ServeConfig(), None, []),
        (ServeConfig(), 0, []),
        (ServeConfig(port=8080), None, []),
        (ServeConfig(port=9090), None, ["port"]),
        (ServeConfig(), 9090, ["port"]),
        (ServeConfig(pii={"income": "hash"}, workers=2), None, ["workers", "pii"]),
    ],
)
def test_settings_that_a_running_endpoint_has_not_heard_of_are_named(serve, port, said, running):
    assert local.unheard(running, "loans", serve, port) == said


def test_one_that_does_not_run_takes_all_of_them_when_it_starts(running):
    row = operations.endpoint(running, "loans")
    operations.save_endpoint(running, msgspec.structs.replace(row, state="stopped", pid=0))
    assert local.unheard(running, "loans", ServeConfig(workers=3)) == []


def tell(ws, version, error=""):
    """What the endpoint says of itself."""
    pid = os.getpid()
    told = State(
        pid=pid,
        pid_started=started(pid),
        host="127.0.0.1",
        port=8080,
        ready=True,
        routes_version=version,
        error=error,
    )
    write_state(local.folder(ws, "loans"), told)


@pytest.fixture
def given(running):
    """The same with routes of version 2 that it has not answered by yet."""
    for letter in "ab":
        spec = RouteSpec(
            role="champion", model=f"blake3:{letter * 64}", label="x", folder="", weight=1.0
        )
        local.set_routes(running, "loans", [spec])
    tell(running, 1)
    return running


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [(2, "", ""), (3, "", ""), (1, "it has digest x", "it has digest x")],
)
def test_what_an_endpoint_makes_of_its_routes_is_waited_for(version, error, said, given):
    speak = threading.Timer(0.1, tell, (given, version, error))
    speak.start()
    ends = pytest.raises(TrimtabError, match=said) if said else contextlib.nullcontext()
    with ends:
        local.settle(given, "loans")
    speak.join()
    assert local.refused(given, operations.endpoint(given, "loans")) == error


def test_an_error_of_before_is_not_taken_for_an_answer(given, monkeypatch):
    tell(given, 1, "old")
    speak = threading.Timer(0.1, tell, (given, 2))
    speak.start()
    local.settle(given, "loans")
    speak.join()
    tell(given, 1, "old")
    monkeypatch.setattr(local, "_RETRY_SECONDS", 0.1)
    with pytest.raises(TrimtabError, match="old"):
        local.settle(given, "loans")


def test_nothing_is_waited_for_where_nothing_runs(given):
    (local.folder(given, "loans") / STATE).unlink()
    local.settle(given, "loans")
    assert local.refused(given, operations.endpoint(given, "loans")) == ""
