"""The load of a capacity curve, a process of its own: `python -m trimtab.serve.measured.load`.

A closed loop: each of `concurrency` keep-alive connections sends its next request when its last was
answered, so the load is what the endpoint can take and never more. Such a client stands still while
the endpoint does and sees few of the slow answers that clients arriving on their own would have
seen (coordinated omission). Every wait is therefore kept, and `corrected` gives the latencies with
the requests that were not sent in the meantime (Gil Tene, HdrHistogram).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ModelError

_GRACE: Final = 30.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where: `bodies` in turn, for `warm_up` and then `seconds`."""

    host: str
    port: int
    path: str
    bodies: list[bytes]
    concurrency: int
    seconds: float
    warm_up: float = 0.3


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, after the warm-up.

    `milliseconds` (float64 bytes) are the latencies of answered requests and `at` the seconds into
    the measurement at which each was answered. `errors` counts by status, 0 for a lost connection;
    `said` is the first body that told an error.
    """

    milliseconds: bytes
    at: bytes
    seconds: float
    errors: dict[int, int] = {}
    said: str = ""

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Milliseconds, in the order of the answers."""
        return np.frombuffer(self.milliseconds, dtype=np.float64)

    @property
    def answered_at(self) -> NDArray[np.float64]:
        """Seconds into the measurement."""
        return np.frombuffer(self.at, dtype=np.float64)


def run(plan: Plan) -> Sent:
    """Send a plan from a process of its own; raises ModelError where that fails."""
    with tempfile.TemporaryDirectory(prefix="trimtab-load-") as place:
        # Files and no pipes: what is sent back may be megabytes.
        asked, told = Path(place) / "plan", Path(place) / "sent"
        asked.write_bytes(msgspec.msgpack.encode(plan))
        done = subprocess.run(
            [sys.executable, "-m", "trimtab.serve.measured.load", str(asked), str(told)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=plan.warm_up + plan.seconds + 2 * _GRACE,
            check=False,
        )
        if done.returncode or not told.is_file():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise ModelError(f"the load generator failed: {' '.join(last) or done.returncode}")
        return msgspec.msgpack.decode(told.read_bytes(), type=Sent)


def corrected(milliseconds: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """Latencies with those that were not measured because the client waited.

    A request of L ms, where one every `expected` ms was due, kept back others that would have taken
    L - expected, L - 2 * expected, ... down to `expected`.
    """
    if not expected > 0:
        return milliseconds
    long = milliseconds[milliseconds > 2 * expected]
    missing = [np.arange(value - expected, expected, -expected) for value in long.tolist()]
    return np.concatenate([milliseconds, *missing])


class _Tally:
    """What the connections saw."""

    def __init__(self, plan: Plan) -> None:
        head = (
            f"POST {plan.path} HTTP/1.1\r\nhost: {plan.host}\r\n"
            "content-type: application/json\r\ncontent-length: "
        )
        self.requests = [head.encode() + b"%d\r\n\r\n" % len(x) + x for x in plan.bodies]
        self.sent = 0
        self.latencies: list[float] = []
        self.at: list[float] = []
        self.errors: dict[int, int] = {}
        self.said = ""
        now = time.perf_counter()
        self.begin = now + plan.warm_up
        self.end = self.begin + plan.seconds

    def next(self) -> bytes:
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]

    def failed(self, status: int, body: bytes) -> None:
        self.errors[status] = self.errors.get(status, 0) + 1
        self.said = self.said or body[:300].decode(errors="replace")


class _Client(asyncio.Protocol):
    """One connection; `over` is done when the time is."""

    def __init__(self, tally: _Tally, over: asyncio.Future[None]) -> None:
        self.tally = tally
        self.over = over
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        found = _answer(buffer)
        if found is None:
            self.buffer = buffer
            return
        status, body, closes = found
        self.buffer = b""
        now, tally = time.perf_counter(), self.tally
        if tally.begin <= now < tally.end:
            if status == 200:
                tally.latencies.append((now - self.begun) * 1e3)
                tally.at.append(now - tally.begin)
            else:
                tally.failed(status, body)
        if now < tally.end and not closes:
            self._send()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            if time.perf_counter() < self.tally.end:
                self.tally.failed(0, b"the connection was closed")
            self.over.set_result(None)

    def _send(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.tally.next())

    def _stop(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self.transport.close()


def _answer(buffer: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the connection closes; None where the answer is not whole yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    place = head.find(b"content-length:")
    if place < 0:
        return int(head[9:12]), buffer[end + 4 :], True
    length = int(head[place + 15 :].partition(b"\r\n")[0])
    if len(buffer) < end + 4 + length:
        return None
    return int(head[9:12]), buffer[end + 4 :], b"connection: close" in head


async def drive(plan: Plan) -> Sent:
    """Send a plan from this process."""
    loop = asyncio.get_running_loop()
    tally = _Tally(plan)
    waits = []
    for _ in range(plan.concurrency):
        over: asyncio.Future[None] = loop.create_future()
        waits.append(over)
        try:
            await loop.create_connection(partial(_Client, tally, over), plan.host, plan.port)
        except OSError:
            tally.failed(0, b"the endpoint takes no connection")
            over.set_result(None)
    await asyncio.wait(waits, timeout=plan.warm_up + plan.seconds + _GRACE)
    seconds = min(time.perf_counter(), tally.end) - tally.begin
    return Sent(
        milliseconds=np.array(tally.latencies).tobytes(),
        at=np.array(tally.at).tobytes(),
        seconds=max(seconds, 0.0),
        errors=tally.errors,
        said=tally.said,
    )


def main() -> int:
    """Read a plan from a file, send it, and write what came of it to another."""
    asked, told = map(Path, sys.argv[1:])
    plan = msgspec.msgpack.decode(asked.read_bytes(), type=Plan)
    with asyncio.Runner(loop_factory=_loop) as runner:
        sent = runner.run(drive(plan))
    told.write_bytes(msgspec.msgpack.encode(sent))
    return 0


def _loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - there is none for Windows

    return uvloop.new_event_loop()


if __name__ == "__main__":
    raise SystemExit(main())
