"""What a process that reads a stranger's model may use: bounded where the system lets it, and said so."""

import json
import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, resource, socket, sys
from trimtab.loop.candidate import confined

port, user, way = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if user:
    os.setgid(user)
    os.setuid(user)
held = confined.begin(is_offline=way == "offline")
if confined.bound_memory():
    held.append("memory")


def reached():
    with socket.socket() as one:
        one.settimeout(5)
        return one.connect_ex(("127.0.0.1", port)) == 0


def heard():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as one:
        one.settimeout(5)
        return one.connect_ex(server.getsockname()) == 0


def grown():
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return bool(bytearray(confined.LEAST_MEMORY + whole))
    except MemoryError:
        return False


print(json.dumps({
    "held": held, "reached": reached(), "heard": heard(), "user": os.geteuid(),
    "grown": "memory" not in held or grown(),
    "cpu": resource.getrlimit(resource.RLIMIT_CPU), "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "heavy": sorted({"numpy", "polars", "sqlalchemy"} & set(sys.modules)),
}))
"""


def ask(way, user=0):
    with socket.create_server(("127.0.0.1", 0)) as heard:
        port = heard.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(port), str(user), way],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("user", [0, 65534], ids=["itself", "nobody"])
def test_what_is_said_to_be_bounded_is(need, user):
    need(not user or os.geteuid() == 0, "only root can be somebody else")
    found = ask("offline", user)
    assert found["reached"] == ("network" not in found["held"])
    assert found["heard"]  # endpoints are measured over a loopback of its own
    assert found["grown"] == ("memory" not in found["held"])
    assert {"cpu", "files"} <= set(found["held"])
    assert found["files"][1] <= 4096
    assert 0 < found["cpu"][1] <= 1800 * os.cpu_count()
    assert found["heavy"] == []  # a thread of theirs would keep the network
    assert found["user"] == (user or os.geteuid())


def test_a_project_that_fetches_its_rows_keeps_the_network():
    found = ask("online")
    assert found["reached"]
    assert "network" not in found["held"]
