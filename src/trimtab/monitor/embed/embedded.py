"""`trimtab.Monitor`: watching a model inside somebody else's server, in three lines.

`log` packs a row into a bounded ring and returns; a thread, or the caller's event loop between its
requests, counts the rows into window profiles, which the thread leaves where `trimtab tick` judges
them. What does not fit is dropped, counted and said. A forked child goes on with an empty ring and a
thread of its own; what its parent had not counted yet stays the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from multiprocessing import util as processes
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import duration
from trimtab.errors import StorageError, UsageError
from trimtab.monitor import judge as judging
from trimtab.monitor.budget import Budget, per_month
from trimtab.monitor.drift import episodes
from trimtab.monitor.drift.episodes import Span
from trimtab.monitor.embed import rows as turning
from trimtab.monitor.embed import spool, untold
from trimtab.monitor.embed.counting import ENOUGH, KEPT, Batch, Counting, batch_of
from trimtab.monitor.embed.ring import Ring
from trimtab.monitor.embed.rows import Subject
from trimtab.monitor.findings import Findings
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references

if TYPE_CHECKING:
    import asyncio

_said = logging.getLogger("trimtab.monitor")
_LOOK_SECONDS: Final = 1.0
"""Each look takes the interpreter away from the server's own work for a moment."""
_PIECE_SECONDS: Final = 0.001
"""So long at a time an event loop counts, and goes on with its requests for four times as long."""

_every: weakref.WeakSet[Monitor] = weakref.WeakSet()


class Monitor:
    """Watches one model, or one table's columns, from inside any process.

    `Monitor("loans@v1")` takes the model's own reference from the project of the working directory
    (or `project`); its windows are judged by `trimtab tick` and shown by `trimtab monitor` under
    `name` (default: `MODEL-embedded`). `Monitor.against(table)` needs no project: `findings()`
    judges what was logged. Thread-safe; at most `limit` rows wait to be counted.

    Raises NotFoundError for an unknown version or one without a reference.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str = "",
        project: Path | str | None = None,
        window: str = "",
        every: float = 10.0,
        limit: int = 20_000,
    ) -> None:
        # The project brings the database, which a monitor of a table alone does without.
        from trimtab.monitor.embed import embedding  # noqa: PLC0415

        found = embedding.embed(model, name, Path(project) if project else None)
        self._begin(found, window or found.window, every, limit)

    @classmethod
    def against(
        cls, table: Any, *, window: str = "1d", every: float = 10.0, limit: int = 20_000
    ) -> Self:
        """A monitor that holds what is logged against a table of ordinary rows.

        `table` is a mapping of columns or a frame; what is neither numbers nor words, such as times, is
        not watched, and said by the log. Nothing is stored; what was dropped is told `every` so many
        seconds. Raises DataError.
        """
        made = cls.__new__(cls)
        columns, others = turning.columns_of(table)
        for column, kind in others.items():
            _said.warning(
                "column %s is not watched, it holds %s: log numbers or words, of a moment such as its hour",
                column, kind,
            )  # fmt: skip
        reference = references.fit_reference(columns, kinds=turning.kinds_of(columns))
        subject = Subject(reference=reference, layout=turning.layout_of(reference))
        made._begin(subject, window, every, limit)  # noqa: SLF001 - its own
        return made

    def _begin(self, subject: Subject, window: str, every: float, limit: int) -> None:
        self._span = duration(str(window))
        seconds: object = every  # what a caller without a type checker gave
        room: object = limit
        if self._span <= 0 or not isinstance(room, int) or room < 1:
            raise UsageError(
                "a monitor needs a window above 0 and room for at least one row",
                hint='such as window="1d", limit=20_000',
            )
        if not isinstance(seconds, int | float) or not seconds >= 0:
            raise UsageError(f"{every!r} is no number of seconds", hint="such as every=10.0")
        self._subject, self._every, self._limit = subject, every, limit
        self._enough = max(min(ENOUGH, limit // 2), 1)  # while they are counted others find room
        self._layout, self._reference = subject.layout, subject.reference
        self.name, self.model = subject.name, subject.model
        self._late = self._enough + min(self._enough, (limit - self._enough) // 4)
        self._ring = Ring(self._layout, (self._enough, self._late, limit), self.log, self._wake)
        self._counted = Counting(subject, self._span, self._enough, self._ring)
        # What a request waits for is this function alone, so it shadows the method.
        self._ring.log.__doc__ = Monitor.log.__doc__
        self.__dict__["log"] = self._ring.log
        self._over = False
        self._reset()
        _every.add(self)

    def _reset(self) -> None:
        """An empty ring and a thread of this process's own; what was closed stays closed."""
        self._alarm = threading.Event()
        self._ring.renew()
        self._counted.renew()
        self._told = 0
        self._lock = threading.RLock()
        self._hurried = self._counting = False
        self._sent_at = time.monotonic()
        if self._over:
            return
        # A daemon that holds no strong reference: a monitor that nobody holds any more ends.
        threading.Thread(
            target=_work,
            args=(weakref.ref(self), self._alarm),
            name="trimtab-monitor",
            daemon=True,
        ).start()

    def log(self, rows: Any, predictions: Any = None) -> None:
        """Take rows and what the model answered.

        One row: a mapping of columns (or an array in the order of the inputs) with a score, a
        decision or a (score, decision) pair. Many: a list of rows, a mapping of columns or a frame,
        with as many predictions. A mapping with its answer never waits; what else is taken may wait
        for a count, some milliseconds. A row's time is known to a second. Raises UsageError where
        rows and predictions do not fit, or after `close`.
        """
        if self._over:
            raise UsageError("this monitor is closed", hint="make another one")
        now = ids.now_ns()
        entry: Any = self._alone(rows)
        if entry is None:
            entry = batch_of(self._layout, rows, predictions, now // 1000)
        elif isinstance(predictions, np.ndarray | list):
            predictions = predictions.copy()  # the scores of classes; a caller may use them again
        count = entry.rows if isinstance(entry, Batch) else 1
        with self._lock:
            if isinstance(entry, Batch):
                self._counted.lost += entry.lost
            if isinstance(entry, Batch) and count > self._limit:
                # larger than all that may wait: the caller's own time counts it
                self._counted.store(entry)
                return
            if self._counted.queued + count > self._limit or len(self._ring) >= self._limit:
                self._counted.lost += count
                self._alarm.set()
                return
            if isinstance(entry, Batch):
                self._counted.queued += count
            self._ring.add(entry, predictions, now)
            if max(self._counted.queued, len(self._ring)) >= self._enough:
                self._alarm.set()

    @property
    def dropped(self) -> int:
        """Rows that were not counted because more waited than `limit`."""
        return self._counted.lost

    @property
    def rows(self) -> int:
        """Rows counted in the windows that are kept in memory."""
        with self._lock:
            self.flush()
            return sum(one.rows for one in self._counted.windows.values())

    def flush(self) -> None:
        """Count everything that waits and leave it for the controller."""
        with self._lock:
            self._counted.turn()
            self._count()
            self._send()

    def findings(self) -> Findings:
        """What this process's own rows show, its newest windows judged together.

        `since` is a moment (microseconds); data drift has its form from the second window on.
        """
        self.flush()
        with self._lock:
            known = sorted(self._counted.windows.items())
        least = self._subject.least_rows
        budget = Budget(
            pages_per_month=self._subject.pages,
            windows_per_month=per_month(self._span),
        )
        counted = [one for _, one in known]
        first = untold.alike(self._reference, counted) if counted else 0
        known = known[first:]
        counted = [untold.heard(self._reference, one) for _, one in known]
        windows = [Span(start, start + self._span) for start, _ in known]
        keys = episodes.seasons(self._reference, windows)
        see = partial(
            judging.judge, self._reference, budget=budget, least_rows=least,
            altered=untold.untold(self._reference, counted[-1]) if counted else (),
        )  # fmt: skip
        found = see(counted, seasons=keys)
        if not found.findings:
            return found
        kinds = episodes.alone(found, see(counted[-1:], seasons=keys[-1:]))
        named = episodes.told(
            found.findings, self._reference, windows, counted, kinds, least, seasons=keys
        )
        return msgspec.structs.replace(found, findings=tuple(named))

    def close(self) -> None:
        """Count what waits and end; logging afterwards is an error. Closing again changes nothing."""
        if self._over:
            return
        self._ring.shut()  # whatever is logged from now on takes the slow way, and is refused there
        self._over = True
        self._alarm.set()
        self.flush()
        if lost := sum(one.rows for one in self._counted.unsent.values()):
            self._counted.unsent.clear()
            self._counted.lost += lost
            _said.warning("%s: %d rows could not be left and are lost", self.name, lost)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _alone(self, rows: Any) -> Any:
        """A copy of one row, of no subclass; None where it is no single one."""
        if isinstance(rows, np.ndarray):
            return np.array(rows) if rows.ndim == 1 else None
        return dict(rows) if isinstance(rows, Mapping) and not turning.is_table(rows) else None

    def _wake(self) -> None:
        """Have the rows counted: by the caller's event loop, in pieces between its requests.

        A thread beside the loop takes the interpreter from many requests, at every step of numpy.
        A caller that logs on and on without letting its loop go on counts them itself: what it logs
        next would find no room.
        """
        asyncio = sys.modules.get("asyncio")  # who has not imported it runs no loop
        if asyncio is not None and not self._counting:
            # no loop runs here, or another thread is importing it just now
            with contextlib.suppress(RuntimeError, AttributeError):
                loop = asyncio.get_running_loop()
                if len(self._ring) >= self._late:
                    self._between(None)
                elif not self._counted.begun:
                    loop.call_soon(self._between, loop)
                return
        self._alarm.set()

    def _between(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Count for a turn of the loop and have it go on later, or without a loop count all."""
        if self._lock.acquire(blocking=False):
            try:
                if loop is None:
                    self._count()
                elif self._counted.begun or self._hurried or len(self._ring) >= self._enough:
                    self._count(_PIECE_SECONDS)
            except Exception:
                _said.exception("logged rows could not be counted")
            finally:
                self._lock.release()
        if loop is not None and self._counted.begun:
            loop.call_later(4 * _PIECE_SECONDS, self._between, loop)
        elif len(self._ring) >= self._enough:  # what could not be packed, or the thread was at work
            self._alarm.set()

    def _work(self) -> None:
        """One look of the thread: count and leave what is due; few rows whose caller may, it lets count."""
        now = time.monotonic()
        with self._lock:
            self._counted.turn()
            left = self._counted.begun and now - self._counted.at >= _LOOK_SECONDS
            if left or self._hurried or len(self._ring) >= self._enough:
                self._count()
            elif self._subject.place is not None and (self._counted.turned or self._ring):
                # no sooner: counting 50 costs as much as counting 500, and none is left before
                self._hurried = now - self._counted.at >= self._every
                if self._hurried:
                    self._ring.hurry()
            if now - self._sent_at >= self._every and not self._hurried:
                self._send()

    def _count(self, seconds: float = math.inf) -> None:
        self._hurried, self._counting = False, True
        try:
            self._counted.count(seconds)
        finally:
            self._counting = False

    def _send(self) -> None:
        """Leave what was counted since the last time; the caller holds the lock."""
        self._sent_at = time.monotonic()
        if self._counted.lost > self._told:
            _said.warning(
                "%s: %d rows were dropped: more than %d waited, or they could not be read or left",
                self.name or "monitor", self._counted.lost - self._told, self._limit,
            )  # fmt: skip
        place = self._subject.place
        if place is None:
            self._told = self._counted.lost
            self._counted.unsent.clear()
            return
        if self._counted.lost > self._told and not self._counted.unsent:
            now = ids.now()
            self._counted.unsent[now // self._span * self._span] = profiles.empty(
                self._reference.bins
            )
        for start in sorted(self._counted.unsent):
            part = spool.Part(
                model=self.model,
                start=start,
                end=start + self._span,
                rows=self._counted.unsent[start].rows,
                profile=profiles.encode(self._counted.unsent[start]),
                newest=self._counted.newest.get(start, 0),
                dropped=self._counted.lost - self._told,
            )
            try:
                spool.write(place, part)
            except StorageError as error:
                again = "" if self._over else "; it is tried again"
                _said.warning("%s: %s%s", self.name, error.message, again)
                while len(self._counted.unsent) > KEPT:
                    self._counted.lost += self._counted.unsent.pop(min(self._counted.unsent)).rows
                return
            self._told = self._counted.lost
            del self._counted.unsent[start]


def _work(monitor: weakref.ref[Monitor], alarm: threading.Event) -> None:
    while True:
        alarm.wait(_LOOK_SECONDS)
        alarm.clear()
        found = monitor()
        if found is None or found._over:  # noqa: SLF001 - the thread is the monitor's own
            return
        try:
            found._ring.look()  # noqa: SLF001
            found._work()  # noqa: SLF001
        except Exception:
            _said.exception("logged rows could not be counted")
        del found


def _after_fork() -> None:
    for one in list(_every):
        one._reset()  # noqa: SLF001 - locks and the thread are of the parent


def _at_exit() -> None:
    for one in list(_every):
        one.close()


def _in_child(_: object = None) -> None:
    processes.Finalize(None, _at_exit, exitpriority=0)  # a child of multiprocessing skips atexit


os.register_at_fork(after_in_child=_after_fork)
processes.register_after_fork(_every, _in_child)
atexit.register(_at_exit)
_in_child()  # this may be one, and its first monitor is made in it
