"""What an embedded monitor has counted: rows of its ring as columns, columns as profiles of windows."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor import rows as turning
from trimtab.monitor.ring import Ring
from trimtab.monitor.rows import Subject
from trimtab.profile import profile as profiles
from trimtab.profile.columns import Column
from trimtab.profile.profile import Counter, Profile

_said = logging.getLogger("trimtab.monitor")
ENOUGH: Final = 4_096
"""Rows that are worth counting at once."""
KEPT: Final = 64
"""Windows that stay in memory."""
_FEW: Final = 256
"""Where rows are no burst so many are turned at a time: a request waits for about 0.3 ms of it."""


class Batch(NamedTuple):
    """Rows that were logged together, as columns."""

    columns: dict[str, Column]
    rows: int
    time: int


class _Turned(NamedTuple):
    """Rows that were logged one by one, as columns, and their times (microseconds)."""

    columns: dict[str, Column]
    times: NDArray[np.int64]


class Counting:
    """The windows of one monitor. Its caller lets one thread in at a time.

    `lost` rows could not be read or did not fit, `queued` wait in batches; `windows` and `unsent` are
    profiles by the start of their windows (microseconds), `newest` the time of their last row.
    """

    def __init__(self, subject: Subject, span: int, enough: int, ring: Ring) -> None:
        self._subject, self._span, self._enough, self._ring = subject, span, enough, ring
        self._layout = subject.layout
        self._counter = Counter(subject.reference.bins)
        self.renew()

    def renew(self) -> None:
        """Nothing counted, nothing that waits."""
        self.lost = self.queued = 0
        self.turned: list[_Turned] = []
        self.windows: dict[int, Profile] = {}
        self.unsent: dict[int, Profile] = {}
        self.newest: dict[int, int] = {}
        self.at = time.monotonic()
        self.seconds = math.inf
        """What a count of enough rows took of the processor, at best."""

    def turn(self) -> None:
        """Make columns of the rows that could not be packed, and count those that are enough."""
        few = len(self._ring) < self._enough
        while (waiting := self._ring.take_odd(_FEW if few else ENOUGH)).rows:
            found = {one.__class__ for one in waiting.rows}
            for kind, turn in ((dict, turning.from_mappings), (np.ndarray, turning.from_arrays)):
                if kind in found:
                    mine = waiting.of(kind)
                    self._keep(mine.answers, mine.times, partial(turn, self._layout, mine.rows))
            if Batch in found:
                for batch in waiting.of(Batch).rows:
                    self.queued -= batch.rows
                    self.store(batch)
            if sum(len(one.times) for one in self.turned) >= self._enough:
                self._tally()
            if few:
                time.sleep(0)  # a request that waits for the interpreter has it first

    def count(self) -> None:
        """Count the packed rows that wait, and those that are columns already."""
        begun, left = time.thread_time(), len(self._ring)  # those that come meanwhile have time
        is_enough = left >= self._enough
        while self.turned or left > 0:
            packed = self._ring.take(ENOUGH)
            left -= len(packed.times) or left
            if packed.times:
                turn = partial(turning.from_packed, self._layout, packed.numbers, packed.words)
                self._keep(packed.answers, packed.times, turn)
            self._tally()
        if is_enough:
            self.seconds = min(self.seconds, time.thread_time() - begun)

    def store(self, batch: Batch) -> None:
        """Count rows that were logged together."""
        self._add(batch.time // self._span * self._span, batch.columns, batch.time)

    def _keep(
        self, answers: list[Any], times: list[int], turn: Callable[[], dict[str, Column]]
    ) -> None:
        try:
            columns = turn() | turning.answers(self._layout, answers)
        except Exception as error:  # what a caller's values do when they are read
            self.lost += len(times)
            _said.warning("%d rows could not be read and were dropped: %s", len(times), error)
            return
        self.turned.append(_Turned(columns, np.fromiter(times, np.int64, len(times)) // 1000))

    def _tally(self) -> None:
        pieces, self.turned = self.turned, []
        self.at = time.monotonic()
        if not pieces:
            return
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

    def _add(self, start: int, columns: dict[str, Column], newest: int) -> None:
        count = len(next(iter(columns.values())))
        for name in self._layout.outputs:
            columns.setdefault(name, turning.nothing(self._subject.reference, name, count))
        counted = self._counter.count(columns)
        for known in (self.windows, self.unsent):
            known[start] = profiles.merge(known[start], counted) if start in known else counted
        self.newest[start] = max(newest, self.newest.get(start, 0))
        while len(self.windows) > KEPT:
            del self.windows[min(self.windows)]
