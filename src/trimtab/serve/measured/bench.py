"""How long a package takes to answer one row over HTTP, and how much of it an endpoint can take.

Every measurement is on a throwaway endpoint that logs as in production: no live endpoint, and so no
prediction log that a monitor reads, ever sees the load. Measures and returns; what becomes of the
figures is the caller's.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.access import AuthConfig
from trimtab.errors import ModelError
from trimtab.model import golden, signature
from trimtab.model.digest import folder_digest
from trimtab.serve import folder as endpoint
from trimtab.serve import routes
from trimtab.serve.measured import capacity, load
from trimtab.serve.measured.capacity import Curve, Level
from trimtab.serve.measured.load import Plan, Sent
from trimtab.serve.routes import RoutesFile, RouteSpec

WARM_UP: Final = 50
START_SECONDS: Final = 60.0
PATH: Final = "/predict"


@dataclass(frozen=True)
class Bench:
    """`milliseconds` of each request in the order sent; CPU seconds of the endpoint per request."""

    milliseconds: list[float]
    cpu_seconds: float


def measure_latency(
    package: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    requests: int = 500,
    settings: endpoint.Settings | None = None,
) -> Bench:
    """Time `requests` sequential single-row requests to a throwaway endpoint of `package`.

    `rows` are sent in turn, `settings` are those of the endpoint that is to be imitated. Raises
    ModelError where the endpoint does not start or refuses a row.
    """
    if not rows:
        raise ModelError("there are no rows to measure with")
    bodies = [msgspec.json.encode({"row": row}) for row in rows]
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder,
        running(Path(folder), package, settings=settings) as state,
    ):
        client = http.client.HTTPConnection(state.host, state.port, timeout=30)
        with contextlib.closing(client):
            for index in range(WARM_UP):
                _ask(client, bodies[index % len(bodies)])
            before = _cpu_seconds(client)
            spent = [_ask(client, bodies[index % len(bodies)]) for index in range(requests)]
            cpu = (_cpu_seconds(client) - before) / requests
    return Bench(milliseconds=spent, cpu_seconds=cpu)


def measure_capacity(
    package: Path,
    *,
    levels: Sequence[int] = capacity.LEVELS,
    seconds: float = 5.0,
    settings: endpoint.Settings | None = None,
    tell: Callable[[Level], None] | None = None,
) -> tuple[Curve, Sent]:
    """The capacity curve of a package under its golden rows, and all that the lowest level saw.

    `settings` are those of the endpoint that is to be imitated; its address and log are not. Raises
    ModelError where the endpoint does not start or answers nothing.
    """
    bodies = golden_bodies(package)
    found: list[Level] = []
    first: Sent | None = None
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder,
        running(Path(folder), package, settings=settings) as state,
    ):
        watcher = http.client.HTTPConnection(state.host, state.port, timeout=30)
        with contextlib.closing(watcher):
            for concurrency in sorted(set(levels)):
                plan = Plan(
                    host=state.host, port=state.port, path=PATH, bodies=bodies,
                    concurrency=concurrency, seconds=seconds,
                )  # fmt: skip
                before = _cpu_seconds(watcher), _requests(watcher)
                sent = load.run(plan)
                first = first or sent
                spent, handled = _cpu_seconds(watcher) - before[0], _requests(watcher) - before[1]
                # CPU was spent on the warm-up too: it is shared by all requests that were handled.
                mine = len(sent.latencies) + sum(sent.errors.values())
                found.append(capacity.level(concurrency, sent, spent * mine / max(handled, 1)))
                if not found[-1].requests:
                    raise ModelError(f"the endpoint answered nothing: {sent.said}")
                if tell is not None:
                    tell(found[-1])
    assert first is not None  # there is one level at least
    return Curve(levels=tuple(found)), first


def golden_bodies(package: Path) -> list[bytes]:
    """The golden rows of a package as request bodies of one row."""
    signed = signature.read(package)
    rows = golden.decode((package / golden.FILE).read_bytes())
    columns = {
        one.name: [_cell(one.kind, value) for value in rows.columns[one.name]]
        for one in signed.inputs
    }
    count = len(rows.decisions)
    return [
        msgspec.json.encode({"row": {name: values[i] for name, values in columns.items()}})
        for i in range(count)
    ]


def _cell(kind: str, value: float | str | None) -> Any:
    """A golden cell as a client sends it: they are kept as the model reads them."""
    return value if kind != "boolean" or value is None else bool(value)


@contextlib.contextmanager
def running(
    folder: Path,
    package: Path,
    *,
    name: str = "bench",
    settings: endpoint.Settings | None = None,
) -> Iterator[endpoint.State]:
    """A throwaway endpoint of one package on a free port of this machine; raises ModelError.

    It has the `settings` of another but for what is its own: address, folder of the log, and keys.
    """
    spec = RouteSpec(
        role="champion",
        model=folder_digest(package),
        label=name,
        folder=str(package.resolve()),
    )
    own = msgspec.structs.replace(
        settings or endpoint.Settings(name=name),
        name=name, host="127.0.0.1", port=0, log="log", auth=AuthConfig(),
    )  # fmt: skip
    endpoint.write_settings(folder, own)
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
    found = _metric(client, "process_cpu_seconds_total")
    if not found:
        raise ModelError("the endpoint tells no CPU time")
    return sum(found)


def _requests(client: http.client.HTTPConnection) -> int:
    """How many prediction requests it has handled."""
    return int(sum(_metric(client, "trimtab_requests_total")))


def _metric(client: http.client.HTTPConnection, name: str) -> list[float]:
    """Every sample of a metric."""
    client.request("GET", "/metrics")
    lines = client.getresponse().read().decode().splitlines()
    return [float(x.rpartition(" ")[2]) for x in lines if x.partition("{")[0].split()[:1] == [name]]
