"""A model endpoint as one detached process: `python -m trimtab.serve.endpoint FOLDER`.

Reads `endpoint.json` and `routes.json` of its folder, answers HTTP, follows changes of the routes,
and tells its state in `state.json`, written whole at every change. SIGTERM lets every request that
was begun be answered; a second one ends it at once. docs/serving.md describes the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from trimtab.errors import ConflictError, TrimtabError, UsageError
from trimtab.serve.asgi import App
from trimtab.serve.engine import Engine
from trimtab.serve.folder import (
    DRAIN_SECONDS,
    STATE,
    STOP_SECONDS,
    Settings,
    State,
    read_settings,
    write_state,
)
from trimtab.serve.log import Log
from trimtab.serve.process import started
from trimtab.serve.router import Router

POLL_SECONDS: Final = 0.15
_said = logging.getLogger("trimtab.serve")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an endpoint until it is told to stop; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        if len(given) != 1:
            raise UsageError("usage: python -m trimtab.serve.endpoint FOLDER")
        run(Path(given[0]))
    except TrimtabError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        sys.stderr.write(f"trimtab: {error.message}{hint}\n")
        return error.exit_code
    return 0


def run(folder: Path) -> None:
    """Serve a folder; raises NotFoundError, UsageError, or ConflictError where its port is taken."""
    folder = folder.resolve()
    settings = read_settings(folder)
    with _only_one(folder), _bound(settings) as listener:
        engine = Engine(
            name=settings.name,
            router=Router(folder),
            log=Log(folder / settings.log, settings.name),
            event_time=settings.event_time,
        )
        engine.router.reload()
        keeper = _Keeper(folder, settings, engine, listener.getsockname()[1])
        server = _Server(engine, keeper)
        factory = server.config.get_loop_factory()
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(_serve(server, keeper, listener))
        finally:
            engine.log.close()
            with contextlib.suppress(OSError):  # whoever reads it sees that the pid is gone
                keeper.tell(pid=0)


async def _serve(server: _Server, keeper: _Keeper, listener: socket.socket) -> None:
    watching = asyncio.create_task(_watch(keeper))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(keeper: _Keeper) -> None:
    """Follow `routes.json`."""
    router, metrics = keeper.engine.router, keeper.engine.metrics
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if router.changed():
            moved = await asyncio.to_thread(router.reload)
            metrics.add("reloads_total", result="moved" if moved else "failed")
            try:
                keeper.tell()
            except OSError as error:  # a full disk must not end the watch over the routes
                _said.warning("the state cannot be written: %s", error)


class _Keeper:
    """Writes `state.json`."""

    def __init__(self, folder: Path, settings: Settings, engine: Engine, port: int) -> None:
        self.folder = folder
        self.settings = settings
        self.engine = engine
        self.port = port
        self.pid_started = started(os.getpid())

    def tell(self, pid: int | None = None) -> None:
        table = self.engine.router.table
        state = State(
            pid=os.getpid() if pid is None else pid,
            pid_started=self.pid_started,
            host=self.settings.host,
            port=self.port,
            ready=self.engine.ready and pid is None,
            routes_version=table.version if table else 0,
            error=self.engine.router.error,
        )
        write_state(self.folder, state)


class _Server(uvicorn.Server):
    """uvicorn that, told to stop, first lets its connections finish.

    uvicorn alone closes idle keep-alive connections at once, and a request already on its way to
    one of them is lost. Here it stops listening, every answer says `connection: close`, and it ends
    when no connection is left, or after two seconds.
    """

    def __init__(self, engine: Engine, keeper: _Keeper) -> None:
        super().__init__(
            uvicorn.Config(
                App(engine),
                http="httptools",
                loop="uvloop",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._engine = engine
        self._keeper = keeper
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends."""
        if self._engine.draining:
            self.should_exit = self.force_exit = True
        self._engine.draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the state as soon as requests are answered."""
        await super().startup(sockets)
        self._keeper.tell()

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True ends the server."""
        if await super().on_tick(counter):
            return True
        if not self._engine.draining:
            return False
        if not self._until:
            self._until = time.monotonic() + DRAIN_SECONDS
            self._keeper.tell()
            for server in self.servers:
                server.close()
        return not self.server_state.connections or time.monotonic() > self._until


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two processes never tell its state; raises ConflictError."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                f"an endpoint is already running from {folder}", hint=f"see {STATE} there"
            ) from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket; raises ConflictError where the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(2048)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ConflictError(
                f"{settings.host}:{settings.port} "
                + ("is in use already" if taken else f"cannot be bound: {error.strerror}"),
                hint="stop what listens there, or set another [serve] port (0 picks a free one)",
            ) from error
        yield listener
    finally:
        listener.close()


if __name__ == "__main__":
    raise SystemExit(main())
