"""One thread that writes: what has queued while a commit went on is the next commit.

A change is made of a request, in order; it raises a fault before it has changed anything, or it is
done. Nobody is answered before the commit that holds the change.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault

AT_ONCE: Final = 256
IDLE_SECONDS: Final = 30.0


class _Job(NamedTuple):
    change: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Writer:
    """The queue of a board; its thread is there while there is something to do."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_running = False

    async def do(self, change: Callable[[], Any]) -> Any:
        """Make a change; returns what it returns once it is committed, raises what it raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(change, loop, answer))
        with self._lock:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="mlflow-writer", daemon=True).start()
        return await answer

    def _run(self) -> None:
        while True:
            try:
                first = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._is_running = False
                        return
                continue
            group = [first]
            with contextlib.suppress(queue.Empty):
                while len(group) < AT_ONCE:
                    group.append(self._jobs.get_nowait())
            self._commit(group)

    def _commit(self, group: list[_Job]) -> None:
        done: list[tuple[_Job, Any]] = []
        board = self._board
        try:
            board.load()
            # the store's turn is waited for without the board's lock: readers go on meanwhile
            with board.ws.transaction(), board.lock:
                for job in group:
                    try:
                        done.append((job, job.change()))
                    except Fault as fault:
                        done.append((job, fault))
                board.write()
        except BaseException as error:
            # a change that broke half-way must not be half there
            board.reset()
            done = [(job, error) for job in group]
        for job, result in done:
            _settle(job, result)


def _settle(job: _Job, result: Any) -> None:
    def settle() -> None:
        if job.answer.done():  # whoever asked is gone
            return
        if isinstance(result, BaseException):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        job.loop.call_soon_threadsafe(settle)
