"""The endpoint under test, as a process of its own; imported in each client's own environment.

Nothing here or in a part may import trimtab: the client, the standard library and pytest are there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYTHON = os.environ.get("TRIMTAB_CONFORMANCE_PYTHON", "")
# `make test` runs in the project's environment, which has none of these clients; `make conformance`
# names the Python that serves.
collect_ignore_glob = [] if PYTHON else ["*"]
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Served:
    """A running endpoint and what it must answer.

    `expected` is `expected.json` as `serving/endpoint.py` wrote it: `name`, `task`, `classes`,
    `columns` (name and kind), held-back `rows`, and `answers` by version label, one per row.
    """

    host: str
    port: int
    expected: dict[str, Any]

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """http://HOST:PORT."""
        return f"http://{self.address}"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.expected["name"]

    @property
    def labels(self) -> list[str]:
        """Version labels; the first one answers where none is named."""
        return list(self.expected["answers"])

    @property
    def columns(self) -> dict[str, str]:
        """Kinds of the columns by name."""
        return {column["name"]: column["kind"] for column in self.expected["columns"]}

    def rows(self, count: int | None = None, *, nulls: bool = True) -> list[dict[str, Any]]:
        """The first held-back rows; without `nulls` only whole ones."""
        return [row for row, _ in self._both(nulls, self.labels[0])][:count]

    def answers(
        self, count: int | None = None, *, nulls: bool = True, label: str = ""
    ) -> list[dict[str, Any]]:
        """What the estimator itself answers to the rows of `rows`."""
        return [answer for _, answer in self._both(nulls, label or self.labels[0])][:count]

    def _both(self, nulls: bool, label: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        both = zip(self.expected["rows"], self.expected["answers"][label], strict=True)
        return [(row, answer) for row, answer in both if nulls or None not in row.values()]


Start = Callable[..., contextlib.AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """`start(name="loans", settings=None, **environment)`: a context with an endpoint of its own.

    `settings` are keys of its `endpoint.json`. Leaving it stops the endpoint, which must end
    well and have complained about nothing.
    """

    @contextlib.contextmanager
    def begin(
        name: str = "loans", *, settings: dict[str, Any] | None = None, **environment: str
    ) -> Iterator[Served]:
        folder = tmp_path_factory.mktemp(name)
        packages = Path(os.environ["TRIMTAB_CONFORMANCE_PACKAGES"])
        script = Path(__file__).parent / "serving" / "endpoint.py"
        told = json.dumps(settings or {})
        with (folder / "stderr").open("w+") as said:
            process = subprocess.Popen(
                [PYTHON, str(script), "serve", *map(str, (packages, name, folder)), told],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stderr=said,
            )
            try:
                state = _wait(folder, process)
                expected = json.loads((packages / name / "expected.json").read_text())
                yield Served("127.0.0.1", state["port"], expected)
                assert process.poll() is None, f"it died: {(folder / 'stderr').read_text()}"
            finally:
                _stop(process)
        text = (folder / "stderr").read_text()
        assert process.returncode == 0, f"it ended with {process.returncode}: {text}"
        assert not text, f"it complained: {text}"

    return begin


@pytest.fixture(scope="session")
def loans(start: Start) -> Iterator[Served]:
    """A binary model with two versions, shared by all tests."""
    with start("loans") as served:
        yield served


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """Whether a prediction is the estimator's answer, as far as 32-bit floats carry it."""

    def compare(got: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            return all(name in got and compare(got[name], expected[name]) for name in expected)
        if isinstance(expected, list):
            return len(got) == len(expected) and all(map(compare, got, expected))
        if isinstance(expected, float):
            return math.isclose(got, expected, rel_tol=1e-5, abs_tol=1e-5)
        return bool(got == expected)

    return compare


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            state = json.loads((folder / "state.json").read_text())
            assert not state["error"], state["error"]
            if state["ready"]:
                return state
        time.sleep(0.02)
    raise AssertionError(f"the endpoint did not start: {(folder / 'stderr').read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
