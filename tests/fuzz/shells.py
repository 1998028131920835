"""Sends mangled HTTP to both shells of one endpoint and compares what they say.

`python tests/fuzz/shells.py --seconds 60 [--seed N]` starts from the connections in `corpus/` (raw bytes
as a client would send them), mangles and joins them, and sends each to the native shell and to the
ASGI shell on uvicorn, cut into the same pieces. Both must live on, and answer the same: status and
body of every response, up to the first that ends the connection. What the native shell is stricter
about on purpose is listed in `STRICTER`. A find is written to `build/fuzz/` and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import uvicorn

from trimtab import ids
from trimtab.serve import routes
from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.logged.log import Log
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile, RouteSpec
from trimtab.serve.shell.asgi import App
from trimtab.serve.shell.http import Connections

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FOUND = HERE.parents[1] / "build" / "fuzz"
WAIT = 0.25  # seconds without an answer after which a connection is taken to wait for more
PATIENCE = 3.0  # the same where the shells seem to differ: a busy machine is slow to answer
# Codes of the native shell's refusals where uvicorn goes on, or says it in its own words.
STRICTER = {
    "bad_request",
    "headers_too_large",
    "body_too_large",
    "upgrade",
    "expectation",
    "transfer_encoding",
    "http_version",
}
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"\xff", b"%", b"%41", b"?", b"#", b"..", b"//",
    b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"expect: 100-continue\r\n",
    b"connection: close\r\n", b"connection: keep-alive\r\n", b"upgrade: websocket\r\n",
    b"host: x\r\n", b"content-type: text/csv\r\n", b"content-encoding: gzip\r\n", b"accept: text/csv\r\n",
    b"inference-header-content-length: 10\r\n", b"x-request-id: r\r\n", b"x-event-time: 5\r\n",
    b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT",
    b"0\r\n\r\n", b"5\r\nabcde\r\n", b"null", b"NaN", b"1e999", b"[]", b"{}", b'"', b"true", b"-1",
]  # fmt: skip


def corpus() -> list[bytes]:
    """The committed connections, in the order of their names."""
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


def mangled(chance: random.Random, seeds: list[bytes]) -> bytes:
    """One connection's bytes: a seed or several, with some damage."""
    data = bytearray(b"".join(chance.choice(seeds) for _ in range(chance.choice((1, 1, 1, 2, 3)))))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            data[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 3:
            end = at + chance.randrange(1, 200)
            data[at:at] = data[at:end]
        elif kind == 4:
            lines = bytes(data).split(b"\r\n")
            chance.shuffle(lines) if chance.random() < 0.2 else lines.insert(
                chance.randrange(len(lines)), chance.choice(lines)
            )
            data = bytearray(b"\r\n".join(lines))
        else:
            other = chance.choice(seeds)
            data[at : at + 40] = other[:40]
    return bytes(data[: 1 << 20])


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in one to four parts."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


async def say(port: int, parts: list[bytes], wait: float = WAIT) -> bytes:
    """Send the parts and read until the server closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = bytearray()
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        while True:
            data = await asyncio.wait_for(reader.read(1 << 16), wait)
            if not data:
                break
            found += data
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    return bytes(found)


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The responses in a connection's bytes. One that another follows at once answers a HEAD."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        if not separator:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        if status == 100:
            continue
        length = int(headers.get("content-length", 0))
        if headers.get("transfer-encoding") == "chunked":
            body, data = data, b""
        elif data.startswith(b"HTTP/1.1 "):
            body = b""
        else:
            body, data = data[:length], data[length:]
        found.append((status, headers, body))
    return found


def code(body: bytes) -> str:
    """The error code of a refusal, "" where it has none."""
    try:
        error = json.loads(body)["error"]
        return str(error["code"]) if isinstance(error, dict) else "text"
    except (ValueError, KeyError, TypeError):
        return ""


def differ(native: bytes, asgi: bytes) -> str:
    """How two connections differ, "" where they do not.

    uvicorn drops what it has begun when a later request on the connection is malformed, so after a
    refusal only what both have answered before can be compared; but each must have refused.
    """
    ours, theirs = answers(native), answers(asgi)
    we_refuse, they_refuse = _refusal(ours), _refused_by_uvicorn(theirs)
    for place in range(min(len(ours), len(theirs))):
        if place in (we_refuse, they_refuse):
            break
        if said := _unlike(ours[place], theirs[place]):
            return f"response {place}: {said}"
    if any(one[0] == 500 for one in (*ours, *theirs)):
        return "a request is answered with 500"
    if they_refuse is not None and we_refuse is None:
        return "uvicorn refuses what the native shell takes"
    if we_refuse is None and len(ours) != len(theirs):
        closed = any(one[-1][1].get("connection") == "close" for one in (ours, theirs) if one)
        return "" if closed else f"{len(ours)} answers of the native shell, {len(theirs)} of ASGI"
    return ""


def _refusal(found: list[tuple[int, dict[str, str], bytes]]) -> int | None:
    """Where the native shell has refused to go on."""
    for place, (status, headers, body) in enumerate(found):
        unsaid = status >= 400 and not body  # to a HEAD
        if headers.get("connection") == "close" and (unsaid or code(body) in STRICTER):
            return place
    return None


def _refused_by_uvicorn(found: list[tuple[int, dict[str, str], bytes]]) -> int | None:
    return next((i for i, (_, _, body) in enumerate(found) if b"Invalid HTTP" in body), None)


def _unlike(
    mine: tuple[int, dict[str, str], bytes], other: tuple[int, dict[str, str], bytes]
) -> str:
    if mine[0] != other[0]:
        return f"native {mine[0]} {mine[2][:200]!r}, ASGI {other[0]} {other[2][:200]!r}"
    types = [one[1].get("content-type", "") for one in (mine, other)]
    if types[0] != types[1]:
        return f"types {types}"
    # Metrics and statistics count what each shell has seen.
    counted = types[0].startswith("text/plain") or b"model_stats" in mine[2]
    if mine[2] != other[2] and not counted:
        return f"bodies {mine[2][:300]!r} and {other[2][:300]!r}"
    return ""


class Shells:
    """One engine behind both shells, on two ports of this machine."""

    def __init__(self, folder: Path, package: Path, digest: str) -> None:
        spec = RouteSpec(role="champion", model=digest, label="loans@v1", folder=str(package))
        routes.write(folder, RoutesFile(version=1, name="loans", routes=(spec,)))
        self.router = Router(folder)
        if not self.router.reload():
            raise SystemExit(self.router.error)
        self.folder = folder
        self.ports: list[int] = []

    def engine(self, name: str) -> Engine:
        return Engine(name="loans", router=self.router, log=Log(self.folder / name, "loans"))

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        engine = self.engine("native")
        self.connections = Connections(engine, Batcher(engine, loop))
        self._native = await loop.create_server(self.connections, "127.0.0.1", 0)
        config = uvicorn.Config(
            App(self.engine("asgi")),
            host="127.0.0.1",
            port=0,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=1 << 16,
        )
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving = asyncio.create_task(self._uvicorn.serve())
        while not self._uvicorn.started:  # noqa: ASYNC110 - it offers nothing to wait for
            await asyncio.sleep(0.01)
        both: list[Any] = [self._native, self._uvicorn.servers[0]]
        self.ports = [one.sockets[0].getsockname()[1] for one in both]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._native.close()
        self._uvicorn.should_exit = True
        await self._serving

    async def compare(self, parts: list[bytes]) -> str:
        """How the shells differ on a connection."""
        said = ""
        for wait in (WAIT, PATIENCE):
            native, asgi = await asyncio.gather(*(say(port, parts, wait) for port in self.ports))
            said = differ(native, asgi)
            if not said:
                break
        return said


async def run(seconds: float, seed: int, folder: Path, package: Path, digest: str) -> int:
    """Fuzz for some seconds; the number of finds."""
    chance, seeds, finds, sent = random.Random(seed), corpus(), 0, 0
    ids.new_id = lambda: "0" * 32
    ids.new_ids = lambda count: ["0" * 32] * count
    logging.disable(logging.CRITICAL)  # uvicorn has a word for every refusal
    async with Shells(folder, package, digest) as shells:
        for _ in range(3):  # from the second time on a head is known
            found = await asyncio.gather(*(shells.compare([data]) for data in seeds))
            for data, said in zip(seeds, found, strict=True):
                finds += report(said, [data])
        until, told = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < until:
            batch = [pieces(chance, mangled(chance, seeds)) for _ in range(32)]
            for parts, said in zip(
                batch, await asyncio.gather(*map(shells.compare, batch)), strict=True
            ):
                finds += report(said, parts)
            sent += len(batch)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(f"{sent:,} connections, {finds} finds", file=sys.stderr, flush=True)
    print(f"{sent:,} connections to both shells, {len(seeds)} seeds, {finds} finds (seed {seed})")
    return finds


def report(said: str, parts: list[bytes]) -> int:
    """Keep a find and say it."""
    if not said:
        return 0
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{abs(hash(b''.join(parts))):016x}.json"
    path.write_text(json.dumps([part.decode("latin-1") for part in parts]))
    print(f"{said}\n  {path}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--replay", type=Path, help="a find to try again")
    given = parser.parse_args()
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.unit.serve.conftest import write_package

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        package = folder / "package"
        digest = write_package(package)
        if given.replay is not None:
            parts = [part.encode("latin-1") for part in json.loads(given.replay.read_text())]
            return asyncio.run(again(parts, folder, package, digest))
        return int(asyncio.run(run(given.seconds, given.seed, folder, package, digest)) > 0)


async def again(parts: list[bytes], folder: Path, package: Path, digest: str) -> int:
    """Try one find again, and show both conversations."""
    ids.new_id = lambda: "0" * 32
    ids.new_ids = lambda count: ["0" * 32] * count
    async with Shells(folder, package, digest) as shells:
        for port, name in zip(shells.ports, ("native", "ASGI"), strict=True):
            print(f"== {name}\n{(await say(port, parts)).decode('latin-1')}")
        said = await shells.compare(parts)
    print(said or "they agree")
    return int(bool(said))


if __name__ == "__main__":
    raise SystemExit(main())
