"""A project of ours and a stock MLflow server, each a process of its own on a free port.

Nothing here may import trimtab: MLflow, the standard library and pytest are there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

PYTHON = os.environ.get("TRIMTAB_CONFORMANCE_PYTHON", sys.executable)
PROJECT = '[project]\nname = "tracked"\nowner = "a@example.org"\npurpose = "what clients log"\n'
SECONDS = 120


@contextmanager
def started(
    folder: Path, command: list[str], url: str, *, dies: bool = False, **environment: str
) -> Iterator[None]:
    """A server that answers, and is gone when the block is left; `dies` is one that is killed there."""
    with (folder / "said").open("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            wait(url, process, folder / "said")
            yield
            assert dies or process.poll() is None, (folder / "said").read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait(url: str, process: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not start: {said.read_text()}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def up(folder: Path, *, dies: bool = False, text: str = PROJECT) -> Iterator[str]:
    """`trimtab up` in a project folder; gives its address."""
    (folder / "trimtab.toml").write_text(text)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [PYTHON, "-m", "trimtab", "up", "--port", str(port), "--every", "60"]
    with started(folder, command, url, dies=dies):
        yield url


@pytest.fixture(scope="session")
def corpus() -> ModuleType:
    """The module beside this one: requests, and how answers are made comparable."""
    path = Path(__file__).with_name("corpus.py")
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the project that `ours` serves."""
    return tmp_path_factory.mktemp("ours")


@pytest.fixture(scope="session")
def ours(project: Path) -> Iterator[str]:
    """The address of `trimtab up`."""
    with up(project) as url:
        yield url


@pytest.fixture(scope="session")
def serve() -> Callable[[Path], object]:
    """`with serve(folder) as url`: a server of one's own."""
    return up


@pytest.fixture
def told(project: Path) -> Callable[..., object]:
    """What a command of trimtab prints as JSON about the project."""

    def ask(*command: str) -> object:
        done = subprocess.run(
            [PYTHON, "-m", "trimtab", *command, "--json"],
            cwd=project, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[str]:
    """The address of a stock `mlflow server` with SQLite and nothing in it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        *("--artifacts-destination", str(tmp_path / "artifacts")),
    ]
    with started(tmp_path, command, url, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
        yield url


@pytest.fixture
def mlflow(ours: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The client as its users have it, pointed at `ours`, in an experiment of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ours)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    import mlflow as client

    client.set_tracking_uri(ours)
    client.set_registry_uri(ours)
    client.set_experiment(f"test {time.time_ns()}")
    yield client
    while client.active_run():
        client.end_run()
