"""`trimtab.Monitor`: watching a model inside somebody else's server, in three lines.

`log` copies a row into a bounded ring and returns; a thread counts the rows into window profiles
and leaves them where `trimtab tick` judges them. What does not fit is dropped, counted and said. A
forked child goes on with an empty ring and a thread of its own; what its parent had not counted yet
stays the parent's.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.config import duration
from trimtab.errors import StorageError, UsageError
from trimtab.monitor import judge as judging
from trimtab.monitor import rows as turning
from trimtab.monitor import spool
from trimtab.monitor.budget import Budget
from trimtab.monitor.findings import Findings
from trimtab.monitor.ring import Ring, Waiting, is_row
from trimtab.monitor.rows import Subject
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references
from trimtab.profile.columns import Column
from trimtab.profile.profile import Counter, Profile

_said = logging.getLogger("trimtab.monitor")
_LOOK_SECONDS: Final = 1.0
"""Each look takes the interpreter away from the server's own work for a moment; rows that wait longer
are memory that its requests do not find warm again."""
_ENOUGH: Final = 4_096
"""Rows that are worth counting before the next look."""
_FEW: Final = 256
"""Where rows are no burst so many are turned at a time: a request waits for about 0.3 ms of it."""
_WAIT_SECONDS: Final = 5.0
"""Few rows wait so long, as columns: counting 50 costs as much as counting 500."""
_KEPT: Final = 64
_MONTH: Final = 30 * 86_400_000_000

_every: weakref.WeakSet[Monitor] = weakref.WeakSet()


class _Batch(NamedTuple):
    """Rows that were logged together, as columns."""

    columns: dict[str, Column]
    rows: int
    time: int


class _Turned(NamedTuple):
    """Rows that were logged one by one, as columns, and their times (microseconds)."""

    columns: dict[str, Column]
    times: NDArray[np.int64]


class Monitor:
    """Watches one model, or one table's columns, from inside any process.

    `Monitor("loans@v1")` takes the model's own reference from the project of the working directory
    (or `project`); its windows are judged by `trimtab tick` and shown by `trimtab monitor` under
    `name` (default: `MODEL-embedded`). `Monitor.against(table)` needs no project: `findings()`
    judges what was logged. Thread-safe; at most `limit` rows wait for its thread.

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
        from trimtab.monitor import embedding  # noqa: PLC0415

        found = embedding.embed(model, name, Path(project) if project else None)
        self._begin(found, window or found.window, every, limit)

    @classmethod
    def against(
        cls, table: Any, *, window: str = "1d", every: float = 10.0, limit: int = 20_000
    ) -> Self:
        """A monitor that holds what is logged against a table of ordinary rows.

        `table` is a mapping of columns or a frame. Nothing is stored. Raises DataError.
        """
        made = cls.__new__(cls)
        reference = references.fit_reference(turning.columns_of(table))
        subject = Subject(reference=reference, layout=turning.layout_of(reference))
        made._begin(subject, window, every, limit)  # noqa: SLF001 - its own
        return made

    def _begin(self, subject: Subject, window: str, every: float, limit: int) -> None:
        self._span = duration(window)
        if self._span <= 0 or limit < 1:
            raise UsageError("a monitor needs a window above 0 and room for at least one row")
        self._subject, self._every, self._limit = subject, every, limit
        self._enough = max(min(_ENOUGH, limit // 2), 1)  # while they are counted others find room
        self._layout, self._reference = subject.layout, subject.reference
        self._counter = Counter(subject.reference.bins)
        self.name, self.model = subject.name, subject.model
        self._ring = Ring(self._enough, limit, self.log)
        # What a request waits for is this function alone, so it shadows the method.
        self._ring.log.__doc__ = Monitor.log.__doc__
        self.__dict__["log"] = self._ring.log
        self._reset()
        _every.add(self)

    def _reset(self) -> None:
        """An empty ring and a thread of this process's own."""
        self._ring.renew()
        self._queued = 0
        self._turned: list[_Turned] = []
        self._lost = self._told = 0
        self._windows: dict[int, Profile] = {}
        self._unsent: dict[int, Profile] = {}
        self._newest: dict[int, int] = {}
        self._lock = threading.RLock()
        self._over = False
        self._counted_at = self._sent_at = time.monotonic()
        # A daemon that holds no strong reference: a monitor that nobody holds any more ends.
        threading.Thread(
            target=_work,
            args=(weakref.ref(self), self._ring.alarm),
            name="trimtab-monitor",
            daemon=True,
        ).start()

    def log(self, rows: Any, predictions: Any = None) -> None:
        """Take rows and what the model answered; never waits.

        One row: a mapping of columns (or an array in the order of the inputs) with a score, a
        decision or a (score, decision) pair. Many: a list of rows, a mapping of columns or a frame,
        with as many predictions. A row's time is known to a second. Raises UsageError
        where rows and predictions do not fit, or after `close`.
        """
        if self._over:
            raise UsageError("this monitor is closed", hint="make another one")
        now = ids.now_ns()
        entry: Any = self._alone(rows, predictions)
        if entry is None:
            entry = self._batch(rows, predictions, now)
        count = entry.rows if isinstance(entry, _Batch) else 1
        with self._lock:
            if isinstance(entry, _Batch) and count > self._limit:
                self._store(entry)  # larger than all that may wait: the caller's own time counts it
                return
            if self._queued + count > self._limit or len(self._ring) >= self._limit:
                self._lost += count
                return
            if isinstance(entry, _Batch):
                self._queued += count
            self._ring.add(entry, predictions, now)
            if max(self._queued, len(self._ring)) >= self._enough:
                self._ring.alarm.set()

    @property
    def dropped(self) -> int:
        """Rows that were not counted because more waited than `limit`."""
        return self._lost

    @property
    def rows(self) -> int:
        """Rows counted in the windows that are kept in memory."""
        self.flush()
        return sum(one.rows for one in self._windows.values())

    def flush(self) -> None:
        """Count everything that waits and leave it for the controller."""
        with self._lock:
            self._catch_up()

    def findings(self) -> Findings:
        """What this process's own rows show, its newest windows judged together."""
        self.flush()
        with self._lock:
            windows = [self._windows[start] for start in sorted(self._windows)]
        budget = Budget(
            pages_per_month=self._subject.pages,
            windows_per_month=max(_MONTH / self._span, 1.0),
        )
        return judging.judge(
            self._reference, windows, budget=budget, least_rows=self._subject.least_rows
        )

    def close(self) -> None:
        """Count what waits and end; logging afterwards is an error. Closing again changes nothing."""
        if self._over:
            return
        self._ring.shut()  # whatever is logged from now on takes the slow way, and is refused there
        self._over = True
        self._ring.alarm.set()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _alone(self, rows: Any, predictions: Any) -> Any:
        """A copy of one row, of no subclass; None where it is no single one."""
        if isinstance(rows, np.ndarray):
            return np.array(rows) if rows.ndim == 1 else None
        return dict(rows) if isinstance(rows, dict) and is_row(rows, predictions) else None

    def _batch(self, rows: Any, predictions: Any, now: int) -> _Batch:
        if isinstance(rows, np.ndarray):
            columns = turning.from_arrays(self._layout, list(rows))
            count = len(rows)
        elif isinstance(rows, list | tuple):
            columns = turning.from_mappings(self._layout, rows)
            count = len(rows)
        else:
            columns, count = turning.from_table(self._layout, rows)
        given = [None] * count if predictions is None else turning.listed(predictions)
        if len(given) != count:
            raise UsageError(f"there are {len(given)} predictions for {count} rows")
        columns |= turning.answers(self._layout, given)
        return _Batch(columns, count, now // 1000)

    def _work(self) -> None:
        """One look of the thread: turn what waits, count and leave what is due."""
        now = time.monotonic()
        with self._lock:
            self._turn()
            if self._turned and now - self._counted_at >= _WAIT_SECONDS:
                self._count()
            if now - self._sent_at >= self._every:
                self._catch_up()

    def _catch_up(self) -> None:
        """Count and leave everything; the caller holds the lock."""
        self._turn()
        if self._turned:
            self._count()
        self._send()

    def _turn(self) -> None:
        """Turn what waits into columns, count those that are enough; the caller holds the lock."""
        while self._ring:
            few = len(self._ring) < self._enough
            waiting = self._ring.take(_FEW if few else 4 * _ENOUGH)
            found = {one.__class__ for one in waiting.rows}
            for kind in (dict, np.ndarray):
                if kind in found:
                    self._take(waiting.of(kind), kind)
            if _Batch in found:
                for batch in waiting.of(_Batch).rows:
                    self._queued -= batch.rows
                    self._store(batch)
            if sum(len(one.times) for one in self._turned) >= self._enough:
                self._count()
            if few and self._ring:
                time.sleep(0)  # a request that waits for the interpreter has it first

    def _take(self, waiting: Waiting, kind: type) -> None:
        turn = turning.from_mappings if kind is dict else turning.from_arrays
        try:
            columns = turn(self._layout, waiting.rows)
            columns |= turning.answers(self._layout, waiting.answers)
        except Exception as error:  # what a caller's values do when they are read
            count = len(waiting.rows)
            self._lost += count
            _said.warning("%d rows could not be read and were dropped: %s", count, error)
            return
        times = np.fromiter(waiting.times, np.int64, len(waiting.times)) // 1000
        self._turned.append(_Turned(columns, times))

    def _count(self) -> None:
        """Count the rows that were turned; the caller holds the lock."""
        pieces, self._turned = self._turned, []
        self._counted_at = time.monotonic()
        columns = turning.joined([one.columns for one in pieces])
        times = np.concatenate([one.times for one in pieces])
        slots = times // self._span * self._span
        if slots.min() == slots.max():
            self._add(int(slots[0]), columns, int(times.max()))
            return
        for slot in np.unique(slots).tolist():
            mine = slots == slot
            part = {name: values[mine] for name, values in columns.items()}
            self._add(slot, part, int(times[mine].max()))

    def _store(self, batch: _Batch) -> None:
        self._add(batch.time // self._span * self._span, batch.columns, batch.time)

    def _add(self, start: int, columns: dict[str, Column], newest: int) -> None:
        count = len(next(iter(columns.values())))
        for name in self._layout.outputs:
            columns.setdefault(name, turning.nothing(self._reference, name, count))
        counted = self._counter.count(columns)
        for known in (self._windows, self._unsent):
            known[start] = profiles.merge(known[start], counted) if start in known else counted
        self._newest[start] = max(newest, self._newest.get(start, 0))
        while len(self._windows) > _KEPT:
            del self._windows[min(self._windows)]

    def _send(self) -> None:
        """Leave what was counted since the last time; the caller holds the lock."""
        self._sent_at = time.monotonic()
        if self._lost > self._told:
            _said.warning(
                "%s: %d rows were dropped: more than %d waited to be counted",
                self.name or "monitor", self._lost - self._told, self._limit,
            )  # fmt: skip
        place = self._subject.place
        if place is None:
            self._told = self._lost
            self._unsent.clear()
            return
        for start in sorted(self._unsent):
            part = spool.Part(
                model=self.model,
                start=start,
                end=start + self._span,
                rows=self._unsent[start].rows,
                profile=profiles.encode(self._unsent[start]),
                newest=self._newest[start],
                dropped=self._lost - self._told,
            )
            try:
                spool.write(place, part)
            except StorageError as error:
                _said.warning("%s: %s; it is tried again", self.name, error.message)
                while len(self._unsent) > _KEPT:
                    self._lost += self._unsent.pop(min(self._unsent)).rows
                return
            self._told = self._lost
            del self._unsent[start]


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


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
