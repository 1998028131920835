import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from trimtab.errors import ConflictError, RefusedError, UsageError
from trimtab.server import process


@contextlib.contextmanager
def up(project, *options):
    """`trimtab up` in a process of its own, with what it said when it was ready."""
    command = [sys.executable, "-m", "trimtab", "-C", str(project.folder), "up", "--json"]
    with subprocess.Popen(
        [*command, "--port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            said = ""
            while not said.endswith("}\n"):
                line = child.stdout.readline()
                assert line, f"it ended with {child.wait()}"
                said += line
            yield child, json.loads(said)
        finally:
            child.kill()


def end(child, sign=signal.SIGTERM):
    child.send_signal(sign)
    return child.wait(30)


def test_a_free_port_of_loopback_is_bound():
    with process.bind("127.0.0.1", 0) as listening:
        assert process.url_of(listening).startswith("http://127.0.0.1:")


def test_a_port_in_use_is_a_conflict_that_says_so():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} is in use"):
            process.bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_any_other_address_is_refused_while_there_is_no_login(host):
    with pytest.raises(RefusedError, match="no login"):
        process.bind(host, 0)


def test_an_address_that_is_not_of_this_machine_is_named():
    with pytest.raises(UsageError, match=r"cannot listen on nothing\.localhost"):
        process.bind("nothing.localhost", 0)


def test_one_server_holds_a_workspace(tmp_path):
    assert process.running(tmp_path) is None
    with process.holding(tmp_path, "http://127.0.0.1:1"):
        assert process.running(tmp_path).pid == os.getpid()
        with (
            pytest.raises(ConflictError, match=r"up already at http://127\.0\.0\.1:1"),
            process.holding(tmp_path, "http://127.0.0.1:2"),
        ):
            pass
    assert process.running(tmp_path) is None
    assert process.stop(tmp_path) is None


@pytest.mark.slow
def test_up_answers_until_it_is_told_to_end(empty):
    with up(empty) as (child, said):
        with urllib.request.urlopen(said["url"] + "/healthz", timeout=10) as answer:
            assert answer.status == 200
        assert said["pid"] == child.pid
        assert process.running(empty.ws.root).url == said["url"]
        again = [sys.executable, "-m", "trimtab", "-C", str(empty.folder), "up", "--port", "0"]
        other = subprocess.run(again, capture_output=True, text=True, check=False)
        assert other.returncode == 5
        assert said["url"] in other.stderr
        assert end(child) == 0


@pytest.mark.slow
def test_ctrl_c_is_an_ordinary_end(empty):
    with up(empty) as (child, _):
        assert end(child, signal.SIGINT) == 0


@pytest.mark.slow
def test_a_killed_server_leaves_the_workspace_free(empty):
    with up(empty) as (child, _):
        end(child, signal.SIGKILL)
    assert process.running(empty.ws.root) is None
    with up(empty) as (child, said):
        assert process.stop(empty.ws.root).url == said["url"]
        assert child.wait(10) == 0


@pytest.mark.slow
def test_the_idle_server_has_loaded_no_modelling_library(empty):
    with up(empty, "--every", "0.2") as (child, said):
        for path in ("/", "/runs", "/api/v1/overview"):
            with urllib.request.urlopen(said["url"] + path, timeout=10) as answer:
                assert answer.status == 200
        time.sleep(0.5)
        mapped = Path(f"/proc/{child.pid}/maps").read_text(encoding="utf-8")
        for library in ("sklearn", "onnxruntime", "optuna", "skl2onnx"):
            assert f"/{library}/" not in mapped
