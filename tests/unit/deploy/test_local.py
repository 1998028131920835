import os

import msgspec
import pytest

from trimtab.config import ServeConfig
from trimtab.deploy import local
from trimtab.serve.folder import Settings, write_settings
from trimtab.serve.process import started
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
