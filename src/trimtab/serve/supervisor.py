"""Several workers of one endpoint: forked from one process that has loaded the models.

What was loaded before the fork is shared by all. A worker that dies is replaced; SIGHUP replaces
them one after the other, each new one answering before an old one stops, so that no request is lost.
Workers whose supervisor dies stop as on SIGTERM.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from trimtab.serve import counts, worker
from trimtab.serve.engine import Engine
from trimtab.serve.folder import STOP_SECONDS, Settings, State
from trimtab.serve.notice import Follower
from trimtab.serve.router import Router

TURN_SECONDS: Final = 0.05
READY_SECONDS: Final = 30.0
REST_SECONDS: Final = 0.5  # before a worker that died at once is started again
_said = logging.getLogger("trimtab.serve")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker tells its supervisor."""

    pid: int
    ready: bool
    routes_version: int
    error: str


class Supervisor:
    """Keeps the workers of one endpoint; `tell` gets the state of all of them together."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        listener: socket.socket,
        tell: Callable[[State], None],
        state: State,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._listener = listener
        self._tell = tell
        self._state = state
        self._router = Router(
            folder, settings.pii, invalid=settings.invalid, allow_python=settings.allow_python
        )
        self._slots: dict[int, tuple[int, float]] = {}  # slot -> pid, when it was started
        self._counts: dict[int, int] = {}  # slot -> the number under which its worker counts
        self._leaving: dict[int, float] = {}  # pid -> when it was told to go
        self._rests: dict[int, float] = {}  # slot -> when it may be filled again
        self._turning: list[int] = []
        self._is_over = False
        self._notice = Follower(folder)
        self._pipe = os.pipe()

    def run(self) -> int:
        """Supervise until told to stop, and until every worker has stopped.

        Returns -1, or where the endpoint has ended for good the descriptor of its socket.
        """
        counts.clear(self._folder)
        for path in self._folder.glob(f"{counts.FOLDER}/*.told"):
            path.unlink(missing_ok=True)
        self._router.reload()
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._turn())
        while True:
            self._reap()
            if self._is_over and not self._slots and not self._leaving:
                self._tell(msgspec.structs.replace(self._state, pid=0, ready=False))
                return self._listener.fileno() if self._notice.is_gone else -1
            if not self._is_over and self._notice.changed() and self._notice.is_gone:
                self._stop()
            if not self._is_over:
                self._fill()
                self._go_on_turning()
            self._say()
            time.sleep(TURN_SECONDS)

    def _stop(self) -> None:
        if self._is_over:
            for pid in (*(pid for pid, _ in self._slots.values()), *self._leaving):
                _kill(pid, signal.SIGKILL)
        self._is_over = True
        for slot in list(self._slots):
            self._dismiss(slot)

    def _turn(self) -> None:
        """Replace the workers one after the other."""
        if not self._is_over:
            self._turning = list(self._slots)

    def _go_on_turning(self) -> None:
        """Dismiss the next old worker when everyone else answers."""
        if not self._turning or self._leaving:
            return
        slot = self._turning[0]
        spare = self._settings.workers
        if spare not in self._slots:
            # Old and new count for a while beside each other, so a slot has two numbers in turn.
            now = self._counts.get(slot, slot)
            self._counts[spare] = slot if now != slot else slot + spare
            self._fork(spare)
        elif self._is_ready(spare):
            # The spare takes the place of the old one, which leaves.
            self._turning.pop(0)
            self._counts[slot] = self._counts[spare]
            old = self._slots[slot]
            self._slots[slot] = self._slots.pop(spare)
            self._leaving[old[0]] = time.monotonic()
            _kill(old[0], signal.SIGTERM)

    def _fill(self) -> None:
        now = time.monotonic()
        for slot in range(self._settings.workers):
            if slot not in self._slots and now > self._rests.get(slot, 0.0):
                if self._router.changed():
                    self._router.reload()
                self._fork(slot)

    def _fork(self, slot: int) -> None:
        gc.freeze()  # pages that the collector does not touch stay shared
        pid = os.fork()
        if pid:
            self._slots[slot] = (pid, time.monotonic())
            return
        code = 1
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.close(self._pipe[1])
            number = self._counts.get(slot, slot)
            engine = worker.build(self._folder, self._settings, self._router, number)
            worker.run(
                engine,
                self._listener,
                self._note,
                slot=number,
                folder=self._folder,
                parent=self._pipe[0],
            )
            code = 0
        except BaseException:
            _said.exception("a worker failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _note(self, engine: Engine, is_alive: bool) -> None:
        """In a worker: tell the supervisor."""
        table = engine.router.table
        told = Told(
            pid=os.getpid(),
            ready=engine.ready and is_alive,
            routes_version=table.version if table else 0,
            error=engine.router.error,
        )
        place = self._folder / counts.FOLDER
        place.mkdir(exist_ok=True)
        staged = place / f".{os.getpid()}.told"
        staged.write_bytes(msgspec.json.encode(told))
        staged.replace(place / f"{os.getpid()}.told")

    def _heard(self, pid: int) -> Told | None:
        try:
            data = (self._folder / counts.FOLDER / f"{pid}.told").read_bytes()
            return msgspec.json.decode(data, type=Told)
        except (OSError, msgspec.MsgspecError):
            return None

    def _is_ready(self, slot: int) -> bool:
        told = self._heard(self._slots[slot][0])
        return told is not None and told.ready

    def _dismiss(self, slot: int) -> None:
        pid, _ = self._slots.pop(slot)
        self._leaving[pid] = time.monotonic()
        _kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Take note of workers that have ended, and end those that do not."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self._leaving.pop(pid, None)
            (self._folder / counts.FOLDER / f"{pid}.told").unlink(missing_ok=True)
            for slot, (known, since) in list(self._slots.items()):
                if known == pid:
                    del self._slots[slot]
                    now = time.monotonic()
                    self._rests[slot] = now + (REST_SECONDS if now - since < REST_SECONDS else 0)
                    _said.warning("worker %d ended and is replaced", pid)
        for pid, since in self._leaving.items():
            if time.monotonic() - since > STOP_SECONDS + 2:
                _kill(pid, signal.SIGKILL)

    def _say(self) -> None:
        """Tell the state of all workers, where it has changed."""
        heard = [self._heard(pid) for pid, _ in self._slots.values()]
        told = [one for one in heard if one is not None]
        whole = len(told) >= self._settings.workers and all(one.ready for one in told)
        error = next((one.error for one in told if one.error), "") or self._router.error
        state = msgspec.structs.replace(
            self._state,
            ready=whole and not self._is_over,
            routes_version=min((one.routes_version for one in told), default=0),
            error=error,
        )
        if state != self._state:
            self._state = state
            with contextlib.suppress(OSError):
                self._tell(state)


def _kill(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)
