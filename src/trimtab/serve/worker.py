"""One process that answers: engine and native HTTP shell on one event loop.

Follows changes of the routes, tells its state, and on SIGTERM stops as a lame duck: it accepts
nobody new, every answer asks to close, and it ends when nobody is connected any more or two seconds
have passed and everything that was begun is answered. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trimtab.serve import counts
from trimtab.serve.access import consumers
from trimtab.serve.access.auth import Gate
from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.folder import DRAIN_SECONDS, STOP_SECONDS, Settings
from trimtab.serve.logged.log import Log
from trimtab.serve.metrics import Metrics
from trimtab.serve.notice import Follower
from trimtab.serve.router import Router
from trimtab.serve.shell.http import Connections

GARBAGE: Final = 20_000
POLL_SECONDS: Final = 0.15
SWEEP_SECONDS: Final = 1.0
_said = logging.getLogger("trimtab.serve")

Tell = Callable[[Engine, bool], None]


def build(folder: Path, settings: Settings, router: Router, slot: int | None = None) -> Engine:
    """The engine of a worker; `slot` is its number among several."""
    before = counts.read(folder, slot) if slot is not None else None
    engine = Engine(
        name=settings.name,
        router=router,
        log=Log(folder / settings.log, settings.name),
        settings=settings,
        gate=Gate.load(folder, settings.auth, settings.host),
        environment=os.environ,
        metrics=Metrics(settings.name, before),
    )
    if slot is not None:
        engine.others = lambda: counts.of_others(folder, slot)
    return engine


def run(
    engine: Engine,
    listener: socket.socket,
    tell: Tell,
    *,
    slot: int | None = None,
    folder: Path = Path(),
    parent: int = -1,
) -> int:
    """Answer on a listening socket until told to stop.

    `tell(engine, is_alive)` is called when the state has changed. `parent` is the reading end of a
    pipe that closes when the supervisor dies. Returns -1, or where the endpoint has ended for good
    a descriptor of its socket, on which clients still queue.
    """
    worker = _Worker(engine, listener, tell, slot, folder)
    # What is loaded by now stays. A turn makes some hundred tuples and lets all of them go.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(worker.serve(parent))
    finally:
        engine.log.close()
        worker.keep_counts()
        worker.keep_consumers()
        with contextlib.suppress(OSError):  # whoever reads it sees that the pid is gone
            tell(engine, False)
    return worker.kept


class _Worker:
    def __init__(
        self,
        engine: Engine,
        listener: socket.socket,
        tell: Tell,
        slot: int | None,
        folder: Path,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._tell = tell
        self._slot = slot
        self._folder = folder
        self._told = asyncio.Event()
        self._notice = Follower(engine.router.folder)
        self.kept = -1

    async def serve(self, parent: int) -> None:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._stop)
        if parent >= 0:
            loop.add_reader(parent, self._orphaned, loop, parent)
        batcher = Batcher(self._engine, loop)
        connections = Connections(self._engine, batcher)
        server = await loop.create_server(connections, sock=self._listener, backlog=2048)
        tasks = [
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._sweep(connections)),
            asyncio.create_task(self._count_consumers()),
        ]
        self._follow_notice()
        self._say()
        try:
            await self._told.wait()
            server.close()
            self._say()
            await _drain(connections, batcher)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            batcher.close()

    def keep_counts(self) -> None:
        """Leave what was counted where the others find it."""
        if self._slot is not None:
            with contextlib.suppress(OSError):
                counts.write(self._folder, self._slot, self._engine.metrics.snapshot())

    def keep_consumers(self) -> None:
        """Add who called to the file of the day."""
        taken = self._engine.consumers.take()
        try:
            consumers.add(self._engine.router.folder, taken)
        except OSError as error:  # counted again with the next ones
            _said.warning("who called cannot be written: %s", error)
            self._engine.consumers.give_back(taken)

    async def _count_consumers(self) -> None:
        folder, counter = self._engine.router.folder, self._engine.consumers
        while True:
            await asyncio.sleep(consumers.FLUSH_SECONDS)
            taken = counter.take()
            try:
                await asyncio.to_thread(consumers.add, folder, taken)
            except OSError as error:
                _said.warning("who called cannot be written: %s", error)
                counter.give_back(taken)

    def _follow_notice(self) -> None:
        """Tell clients that the endpoint will end; where it has, drain and keep the socket.

        Of several workers none does that by itself: the supervisor keeps the socket and tells them.
        """
        if not self._notice.changed():
            return
        self._engine.announce(self._notice.notice)
        if self._notice.is_gone and self._slot is None and not self._told.is_set():
            self.kept = os.dup(self._listener.fileno())
            self._engine.draining = True
            self._told.set()

    def _stop(self) -> None:
        if self._told.is_set():
            os._exit(1)
        self._engine.draining = True
        self._told.set()

    def _orphaned(self, loop: asyncio.AbstractEventLoop, parent: int) -> None:
        loop.remove_reader(parent)
        self._engine.draining = True
        self._told.set()

    async def _watch(self) -> None:
        """Follow `routes.json`."""
        router, metrics = self._engine.router, self._engine.metrics
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._engine.follow_keys()
            self._follow_notice()
            if router.changed():
                moved = await asyncio.to_thread(router.reload)
                metrics.add("reloads_total", result="moved" if moved else "failed")
                self._say()

    async def _sweep(self, connections: Connections) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            connections.sweep()
            self.keep_counts()

    def _say(self) -> None:
        try:
            self._tell(self._engine, True)
        except OSError as error:  # a full disk must not end the watch over the routes
            _said.warning("the state cannot be written: %s", error)


async def _drain(connections: Connections, batcher: Batcher) -> None:
    """Let connections end by themselves for a while, then close those that wait for nothing."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while connections.open or batcher.pending:
        await asyncio.sleep(0.02)
        spent = loop.time() - begun
        if spent > DRAIN_SECONDS:
            connections.close_idle()
        if spent > STOP_SECONDS:
            return
    batcher.finish_shadows()


def _loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - there is none for Windows

    return uvloop.new_event_loop()
