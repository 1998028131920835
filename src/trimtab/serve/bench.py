"""How long a package takes to answer one row over HTTP, logged as in production.

Measures and returns; what becomes of the figures is the caller's.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.errors import ModelError
from trimtab.model.digest import folder_digest
from trimtab.serve import folder as endpoint
from trimtab.serve import routes
from trimtab.serve.routes import RoutesFile, RouteSpec

WARM_UP: Final = 50
START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Bench:
    """`milliseconds` of each request in the order sent; CPU seconds of the endpoint per request."""

    milliseconds: list[float]
    cpu_seconds: float


def measure_latency(
    package: Path, rows: Sequence[Mapping[str, Any]], *, requests: int = 500
) -> Bench:
    """Time `requests` sequential single-row requests to a throwaway endpoint of `package`.

    `rows` are sent in turn. Raises ModelError where the endpoint does not start or refuses a row.
    """
    if not rows:
        raise ModelError("there are no rows to measure with")
    bodies = [msgspec.json.encode({"row": row}) for row in rows]
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder,
        running(Path(folder), package) as state,
    ):
        client = http.client.HTTPConnection(state.host, state.port, timeout=30)
        with contextlib.closing(client):
            for index in range(WARM_UP):
                _ask(client, bodies[index % len(bodies)])
            before = _cpu_seconds(client)
            spent = [_ask(client, bodies[index % len(bodies)]) for index in range(requests)]
            cpu = (_cpu_seconds(client) - before) / requests
    return Bench(milliseconds=spent, cpu_seconds=cpu)


@contextlib.contextmanager
def running(folder: Path, package: Path, *, name: str = "bench") -> Iterator[endpoint.State]:
    """A throwaway endpoint of one package on a free port of this machine; raises ModelError."""
    spec = RouteSpec(
        role="champion",
        model=folder_digest(package),
        label=name,
        folder=str(package.resolve()),
    )
    endpoint.write_settings(folder, endpoint.Settings(name=name))
    routes.write(folder, RoutesFile(version=1, name=name, routes=(spec,)))
    with (folder / "stderr").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "trimtab.serve.endpoint", str(folder)],
            stdin=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            yield _wait(folder, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=endpoint.STOP_SECONDS + endpoint.DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> endpoint.State:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        state = endpoint.read_state(folder)
        if state is not None and state.pid == process.pid:
            if state.ready:
                return state
            raise ModelError(f"the endpoint does not serve the package: {state.error}")
        if process.poll() is not None:
            break
        time.sleep(0.01)
    last = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
    raise ModelError(f"the endpoint did not start: {' '.join(last) or 'it said nothing'}")


def _ask(client: http.client.HTTPConnection, body: bytes) -> float:
    begun = time.perf_counter()
    client.request("POST", "/predict", body, {"content-type": "application/json"})
    answer = client.getresponse()
    text = answer.read()
    spent = (time.perf_counter() - begun) * 1e3
    if answer.status != 200:
        raise ModelError(f"the endpoint refused a row: {text[:300].decode(errors='replace')}")
    return spent


def _cpu_seconds(client: http.client.HTTPConnection) -> float:
    client.request("GET", "/metrics")
    for line in client.getresponse().read().decode().splitlines():
        if line.startswith("process_cpu_seconds_total"):
            return float(line.rpartition(" ")[2])
    raise ModelError("the endpoint tells no CPU time")
