"""The server as a process: its socket, its lock, its life from ready to stopped.

One `up` per project: the lock file is held with flock, which the kernel gives back however the
process dies, so what the file says is true exactly as long as the lock is held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from trimtab import ids
from trimtab.errors import ConflictError, RefusedError, TrimtabError, UsageError
from trimtab.serve.access.auth import is_loopback
from trimtab.server.app import build
from trimtab.server.opened import Opened

PORT: Final = 8746
LOCK: Final = "up.json"
_STOP_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 5


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """A running server: what its lock file says. `since` is in microseconds."""

    pid: int
    url: str
    since: int


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; raises RefusedError, ConflictError, UsageError."""
    if not is_loopback(host):
        raise RefusedError(
            f"the server does not listen on {host}: it has no login yet",
            hint="leave --host out, and reach it from elsewhere through an SSH tunnel",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {port} is in use by another process",
                hint="choose another with --port N, or --port 0 for any free one",
            ) from error
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The address that a socket is reached at."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def holding(root: Path, url: str) -> Iterator[Up]:
    """Be the one server of a workspace; raises ConflictError naming the one that is."""
    path = root / LOCK
    with path.open("a+b") as stream:
        if not _lock(stream.fileno()):
            other = running(root)
            where = f" at {other.url} (process {other.pid})" if other else ""
            raise ConflictError(f"trimtab is up already{where}", hint="`trimtab down` stops it")
        held = Up(pid=os.getpid(), url=url, since=ids.now())
        stream.truncate(0)
        stream.write(msgspec.json.encode(held))
        stream.flush()
        try:
            yield held
        finally:
            stream.truncate(0)


def running(root: Path) -> Up | None:
    """The server that is up in a workspace, if one is."""
    path = root / LOCK
    if not path.exists():
        return None
    with path.open("r+b") as stream:
        if _lock(stream.fileno()):
            return None
        try:
            return msgspec.json.decode(stream.read(), type=Up)
        except msgspec.MsgspecError:
            return None  # it is starting or ending just now


def stop(root: Path) -> Up | None:
    """Ask the server of a workspace to end and wait until it has; None where none is up."""
    found = running(root)
    if found is None:
        return None
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        if running(root) is None:
            return found
        time.sleep(0.05)
    raise TrimtabError(
        f"process {found.pid} did not end within {_STOP_SECONDS:.0f} s", hint=f"kill {found.pid}"
    )


def serve(opened: Opened, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer until the process is asked to end, by SIGINT or SIGTERM."""
    config = uvicorn.Config(
        build(opened),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    server.on_ready = on_ready
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the ordinary way to end, and not raise them again."""
        taken: dict[signal.Signals, Any] = {}
        for sign in (signal.SIGINT, signal.SIGTERM):
            taken[sign] = signal.signal(sign, self.handle_exit)
        try:
            yield
        finally:
            for sign, before in taken.items():
                signal.signal(sign, before)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
