"""Which requests are scored together: those that arrived in one turn of the event loop.

Nobody waits for company: what is there is scored at once, so a lone request is as fast as without
batching. A model that is slow runs in a thread, and what arrives meanwhile is its next batch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from trimtab.serve.access.limits import InFlight
from trimtab.serve.engine import Engine
from trimtab.serve.job import Failed, Job, Scored, score
from trimtab.serve.reply import Refusal, Response
from trimtab.serve.shell import hot

LANE_ROWS: Final = 1_024
ENOUGH: Final = 64
SHADOW_ROWS: Final = 4_096
SHADOW_TURN: Final = 256  # rows
SHADOW_SECONDS: Final = 0.01
_said = logging.getLogger("trimtab.serve")

Done = Callable[[Response], None]
Entry = tuple[Job, Done]


class Batcher:
    """Collects the jobs of one engine and answers them; lives on one event loop."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._in_flight = InFlight(engine.limits)
        self._loop = loop
        self._waiting: list[Entry] = []
        self._hurrying: list[hot.Entry] = []
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._shadows: deque[Job] = deque()
        self._shadow_rows = 0
        self._shadowing = False
        self.clients = 0
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, job: Job, done: Done) -> None:
        """Score a job with whatever else arrives in this turn; `done` gets the response."""
        try:
            self._in_flight.enter(job.count)
        except Refusal as error:
            done(self.engine.fail(job, error))
            return
        if not self._waiting and not self._hurrying:
            self._loop.call_soon(self._gather, 0)
        self._waiting.append((job, done))

    def hurry(self, plan: hot.Plan, body: bytes, client: hot.Client) -> bool:
        """Answer a request the shortest way in this turn; False where too many wait already."""
        if not self._in_flight.has_room:
            return False
        if not self._waiting and not self._hurrying:
            self._loop.call_soon(self._gather, 0)
        self._in_flight.requests += 1
        self._in_flight.rows += 1
        self._hurrying.append((plan, body, client, time.perf_counter()))
        return True

    @property
    def pending(self) -> int:
        """How many jobs wait for their response."""
        return self._in_flight.requests

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _gather(self, before: int) -> None:
        """Look at the sockets again while that brings more: together requests cost less."""
        waiting = len(self._waiting) + len(self._hurrying)
        if before < waiting < min(self.clients, ENOUGH):
            self._loop.call_soon(self._gather, waiting)
        else:
            self._turn()

    def _turn(self) -> None:
        if self._hurrying:
            hurrying, self._hurrying = self._hurrying, []
            self._in_flight.requests -= len(hurrying)
            self._in_flight.rows -= len(hurrying)
            waiting, self._waiting = self._waiting, []  # what comes back waits for its own turn
            self.engine.hot.turn(hurrying)
            if not waiting:
                return
        else:
            waiting, self._waiting = self._waiting, []
        first = waiting[0][0]
        if all(job.route is first.route and job.contract is first.contract for job, _ in waiting):
            self._start(waiting)
            return
        groups: dict[tuple[int, str], list[Entry]] = {}
        for entry in waiting:
            groups.setdefault((id(entry[0].route), entry[0].contract.name), []).append(entry)
        for group in groups.values():
            self._start(group)

    def _start(self, entries: list[Entry]) -> None:
        """Answer jobs of one route and contract, here or in a thread."""
        route = entries[0][0].route
        if not route.slow and sum(job.count for job, _ in entries) <= route.inline:
            wanted = self._wanted(entries)
            if wanted:
                self._answer(wanted, lambda: self.engine.answer([job for job, _ in wanted]))
            return
        key = (id(route), entries[0][0].contract.name)
        lane = self._lanes.setdefault(key, _Lane())
        lane.waiting.extend(entries)
        if not lane.is_busy:
            self._next(key, lane)

    def _next(self, key: tuple[int, str], lane: _Lane) -> None:
        """Start the lane's next batch, or close the lane where nothing waits."""
        taken: list[Entry] = []
        rows = 0
        while lane.waiting and (not taken or rows + lane.waiting[0][0].count <= LANE_ROWS):
            entry = lane.waiting.popleft()
            rows += entry[0].count
            taken.append(entry)
        wanted = self._wanted(taken)
        if not wanted:
            if lane.waiting:
                self._next(key, lane)
            else:
                del self._lanes[key]
            return
        lane.is_busy = True
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "score")
        work = self._threads.submit(score, [job for job, _ in wanted])

        def over(found: Future[list[Scored | Failed]]) -> None:
            self._loop.call_soon_threadsafe(self._finish, key, lane, wanted, found)

        work.add_done_callback(over)

    def _finish(
        self,
        key: tuple[int, str],
        lane: _Lane,
        entries: list[Entry],
        found: Future[list[Scored | Failed]],
    ) -> None:
        if not found.cancelled():
            self._answer(entries, lambda: self.engine.finish(found.result()))
        lane.is_busy = False
        self._next(key, lane)

    def _answer(self, entries: list[Entry], make: Callable[[], list[Response]]) -> None:
        """Hand the responses out: nobody is left waiting, whatever fails."""
        try:
            responses = make()
        except Exception:
            _said.exception("%d requests failed", len(entries))
            failed = Refusal(500, "internal", "the endpoint failed on this request")
            responses = [self.engine.fail(job, failed) for job, _ in entries]
        for (job, done), response in zip(entries, responses, strict=True):
            self._in_flight.leave(job.count)
            done(response)
        if entries[0][0].table.shadows:
            self._shadow([job for job, _ in entries])

    def _wanted(self, entries: list[Entry]) -> list[Entry]:
        """Those whose client is still there."""
        for job, _ in entries:
            if job.gone:
                self._in_flight.leave(job.count)
        return [entry for entry in entries if not entry[0].gone]

    def _shadow(self, jobs: list[Job]) -> None:
        """Keep answered jobs for their shadows; the oldest go first where those cannot keep up."""
        dropped = 0
        for job in jobs:
            self._shadows.append(job)
            self._shadow_rows += job.count
        while self._shadow_rows > SHADOW_ROWS and len(self._shadows) > 1:
            gone = self._shadows.popleft()
            self._shadow_rows -= gone.count
            dropped += gone.count
        if dropped:
            self.engine.metrics.add("shadow_dropped_total", dropped)
        if not self._shadowing:
            self._shadowing = True
            self._loop.call_later(SHADOW_SECONDS, self._shadow_turn)

    def _shadow_turn(self) -> None:
        """Score for the shadows what fits into one turn, while nobody waits for an answer."""
        if not self._waiting:
            self._shadow_some()
        if self._shadows:
            self._loop.call_later(SHADOW_SECONDS, self._shadow_turn)
        else:
            self._shadowing = False

    def finish_shadows(self) -> None:
        """Score everything that shadows still have to."""
        while self._shadows:
            self._shadow_some()

    def _shadow_some(self) -> None:
        jobs: list[Job] = []
        rows = 0
        while self._shadows and (not jobs or rows + self._shadows[0].count <= SHADOW_TURN):
            if jobs and not _alike(jobs[0], self._shadows[0]):
                break
            job = self._shadows.popleft()
            rows += job.count
            jobs.append(job)
        self._shadow_rows -= rows
        if jobs:
            self.engine.shadow(jobs)


class _Lane:
    """The jobs that wait for a slow model."""

    def __init__(self) -> None:
        self.waiting: deque[Entry] = deque()
        self.is_busy = False


def _alike(one: Job, other: Job) -> bool:
    return one.table is other.table and one.route is other.route and one.contract is other.contract
