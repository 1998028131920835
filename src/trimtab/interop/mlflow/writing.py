"""What writes: all that has come in one turn of the event loop is one commit.

A change is made of a request, in order; it raises a fault before it has changed anything, or it is
done. Nobody is answered before the commit that holds the change. A quick change is committed on the
loop itself, which costs a quarter of the way to a thread and back; it never waits there: where somebody
else writes or reads just now, or where the change is not quick, a thread does it, and what has queued
while that commits is its next commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.store.database import Busy, Lane

AT_ONCE: Final = 256
IDLE_SECONDS: Final = 30.0
TURNS: Final = 200
"""Commits on the loop before one in the thread, which brings the write-ahead log home: that takes the
disk's time, and a commit on the loop never does it.
"""


class _Job(NamedTuple):
    change: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Writer:
    """The changes of a board; its thread is there while there is something to do for it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lane = Lane(board.ws.engine)
        self._turn: list[_Job] = []
        self._turns = 0
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_running = False

    async def do(self, change: Callable[[], Any], *, quick: bool = False) -> Any:
        """Make a change; returns what it returns once it is committed, raises what it raises."""
        loop = asyncio.get_running_loop()
        job = _Job(change, loop, loop.create_future())
        if not quick or not self._take(job):
            self._hand_over([job])
        return await job.answer

    def _take(self, job: _Job) -> bool:
        """Whether a job is of the turn that is gathered; another loop's is not."""
        with self._lock:
            turn = self._turn
            if turn and turn[0].loop is not job.loop:
                return False
            turn.append(job)
            if len(turn) == 1:
                job.loop.call_soon(self._end_turn)
            return True

    def _end_turn(self) -> None:
        with self._lock:
            group, self._turn = self._turn, []
        try:
            done = self._try(group)
        except BaseException as error:  # whoever waits is told, whatever broke
            done = [(job, error) for job in group]
        if done is None:
            self._hand_over(group)
            return
        for job, result in done:
            _settle(job.answer, result)

    def _try(self, group: Sequence[_Job]) -> list[tuple[_Job, Any]] | None:
        """Commit on the loop; None where that is not the moment for it, with nothing changed."""
        board = self._board
        self._turns = (self._turns + 1) % TURNS
        if not self._turns or not board.is_current() or not board.lock.acquire(blocking=False):
            return None
        try:
            return self._commit(group, self._lane.transaction(), self._check)
        except Busy:
            return None
        finally:
            board.lock.release()

    def _check(self) -> None:
        # what a command changed before it was this one's turn is read by the thread
        if not self._board.is_current():
            raise Busy

    def _hand_over(self, group: Sequence[_Job]) -> None:
        for job in group:
            self._jobs.put(job)
        with self._lock:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="mlflow-writer", daemon=True).start()

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
            for job, result in self._commit(group, self._board.ws.transaction(), self._board.load):
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    job.loop.call_soon_threadsafe(_settle, job.answer, result)

    def _commit(
        self,
        group: Sequence[_Job],
        transaction: AbstractContextManager[Any],
        ready: Callable[[], None],
    ) -> list[tuple[_Job, Any]]:
        """Each change with what it gave; raises Busy before any of them."""
        done: list[tuple[_Job, Any]] = []
        board = self._board
        try:
            # the store's turn is waited for without the board's lock: readers go on meanwhile
            with transaction, board.lock:
                ready()
                for job in group:
                    try:
                        done.append((job, job.change()))
                    except Fault as fault:
                        done.append((job, fault))
                board.write()
        except Busy:
            raise
        except BaseException as error:
            # a change that broke half-way must not be half there
            board.reset()
            return [(job, error) for job in group]
        return done


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():  # whoever asked is gone
        return
    if isinstance(result, BaseException):
        answer.set_exception(result)
    else:
        answer.set_result(result)
