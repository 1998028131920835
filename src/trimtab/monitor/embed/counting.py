"""What an embedded monitor has counted: rows of its ring as columns, columns as profiles of windows."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import UsageError
from trimtab.monitor.embed import answers as telling
from trimtab.monitor.embed import rows as turning
from trimtab.monitor.embed.ring import Packed, Ring, Waiting
from trimtab.monitor.embed.rows import Layout, Subject
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
    """Rows that were logged together, as columns; `lost` others had answers that cannot be read."""

    columns: dict[str, Column]
    rows: int
    time: int
    lost: int = 0


class _Turned(NamedTuple):
    """Rows that were logged one by one, as columns, and their times (microseconds)."""

    columns: dict[str, Column]
    times: NDArray[np.int64]


def batch_of(layout: Layout, rows: Any, predictions: Any, time: int) -> Batch:
    """A list of rows, a mapping of columns or a frame, with its answers. Raises UsageError, DataError."""
    if isinstance(rows, np.ndarray):
        columns, count = turning.from_arrays(layout, list(rows)), len(rows)
    elif isinstance(rows, list | tuple):
        columns, count = turning.from_rows(layout, rows), len(rows)
    else:
        columns, count = turning.from_table(layout, rows)
    given = [None] * count if predictions is None else telling.listed(predictions)
    if len(given) != count:
        raise UsageError(
            f"there are {len(given)} predictions for {count} rows",
            hint="one a row: a score, a decision or a tuple (score, decision), as zip(scores, "
            "decisions) makes them",
        )
    read: list[tuple[slice, dict[str, Column]]] = []

    def read_answers(part: slice) -> None:
        read.append((part, telling.answers(layout, given[part])))

    lost = profiles.finish(_without_bad(count, read_answers))
    if lost:
        places = np.concatenate([np.arange(count)[part] for part, _ in read] or [np.arange(0)])
        columns = {name: values[places] for name, values in columns.items()}
    told = turning.joined([one for _, one in read]) if read else {}
    return Batch(columns | told, count - lost, time, lost)


def _without_bad(
    rows: int, do: Callable[[slice], Iterable[None] | None]
) -> Generator[None, None, int]:
    """Do something with all rows, in halves of halves where one raises; returns how many did.

    Where that pauses, this does.
    """
    parts, bad, why = [slice(0, rows)], 0, ""
    while parts:
        part = parts.pop()
        try:
            yield from do(part) or ()
        except Exception as error:  # what a caller's values do when they are read
            middle = (part.start + part.stop) // 2
            if middle > part.start:
                parts += [slice(middle, part.stop), slice(part.start, middle)]
            else:
                bad, why = bad + 1, str(error)
    if bad:
        _said.warning("%d rows could not be read and were dropped: %s", bad, why)
    return bad


class Counting:
    """The windows of one monitor. Its caller lets one thread in at a time.

    A count that was begun in pieces is finished by whoever counts next, so all see whole counts only.
    `lost` rows could not be read or did not fit, `queued` wait in batches; `windows` and `unsent` are
    profiles by the start of their windows (microseconds), `newest` the time of their last row,
    `at` the time of the last piece (of `time.monotonic`).
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
        self._begun: Generator[None, None, None] | None = None

    @property
    def begun(self) -> bool:
        """Whether a count waits for its next piece."""
        return self._begun is not None

    def turn(self) -> None:
        """Make columns of the rows that could not be packed, and count those that are enough."""
        left = len(self._ring)  # those that come meanwhile have time
        few = left < self._enough
        while left > 0 and (waiting := self._ring.take_odd(_FEW if few else ENOUGH)).rows:
            left -= len(waiting.rows)
            found = {one.__class__ for one in waiting.rows}
            for kind, turn in ((dict, turning.from_mappings), (np.ndarray, turning.from_arrays)):
                if kind in found:
                    self._keep_odd(waiting.of(kind), turn)
            if Batch in found:
                for batch in waiting.of(Batch).rows:
                    self.queued -= batch.rows
                    self.store(batch)
            if sum(len(one.times) for one in self.turned) >= self._enough:
                self._end()
                profiles.finish(self._tally())
            if few:
                time.sleep(0)  # a request that waits for the interpreter has it first

    def count(self, seconds: float = math.inf) -> None:
        """Count the packed rows that wait, and those that are columns already.

        Not all at once but for about `seconds` where they are given: `begun` says whether to call again.
        """
        if seconds == math.inf:
            self._end()
        self._piece(seconds)

    def _piece(self, seconds: float) -> None:
        self.at = time.monotonic()
        end = time.perf_counter() + seconds
        work, self._begun = self._begun or self._steps(), None  # what raises is not begun again
        for _ in work:
            if time.perf_counter() >= end:
                self._begun = work
                return

    def _end(self) -> None:
        if self.begun:
            self._piece(math.inf)

    def _steps(self) -> Generator[None, None, None]:
        left = len(self._ring)  # those that come meanwhile have time
        while self.turned or left > 0:
            packed = self._ring.take(ENOUGH)
            count = len(packed.times)
            left -= count or left
            if count:
                yield from self._keep_packed(packed)
            yield from self._tally()

    def store(self, batch: Batch) -> None:
        """Count rows that were logged together."""
        self._end()
        profiles.finish(self._add(batch.columns, np.full(batch.rows, batch.time)))

    def _keep_packed(self, packed: Packed) -> Generator[None, None, None]:
        def turn(part: slice) -> dict[str, Column]:
            words = [one[part] for one in packed.words]
            return turning.from_packed(self._layout, packed.numbers[part], words)

        return self._keep(packed.answers, packed.times, turn)

    def _keep_odd(
        self, waiting: Waiting, turn: Callable[[Layout, list[Any]], dict[str, Column]]
    ) -> None:
        read = self._keep(
            waiting.answers, waiting.times, lambda part: turn(self._layout, waiting.rows[part])
        )
        profiles.finish(read)

    def _keep(
        self, answers: list[Any], times: list[int], turn: Callable[[slice], dict[str, Column]]
    ) -> Generator[None, None, None]:
        stamps = np.fromiter(times, np.int64, len(times)) // 1000

        def keep(part: slice) -> Generator[None, None, None]:
            columns = turn(part)
            yield
            columns |= telling.answers(self._layout, answers[part])
            self.turned.append(_Turned(columns, stamps[part]))
            yield

        bad = yield from _without_bad(len(times), keep)
        self.lost += bad  # read after the pauses: others lose rows meanwhile

    def _tally(self) -> Generator[None, None, None]:
        pieces, self.turned = self.turned, []
        if pieces:
            columns = turning.joined([one.columns for one in pieces])
            yield from self._add(columns, np.concatenate([one.times for one in pieces]))

    def _add(
        self, columns: dict[str, Column], times: NDArray[np.int64]
    ) -> Generator[None, None, None]:
        if not len(times):
            return
        for name in self._layout.outputs:
            columns.setdefault(name, turning.nothing(self._subject.reference, name, len(times)))
        slots = times // self._span * self._span
        if slots.min() == slots.max():
            yield from self._add_to(int(slots[0]), columns, times)
            return
        for slot in np.unique(slots).tolist():
            mine = slots == slot
            part = {name: values[mine] for name, values in columns.items()}
            yield from self._add_to(slot, part, times[mine])

    def _add_to(
        self, start: int, columns: dict[str, Column], times: NDArray[np.int64]
    ) -> Generator[None, None, None]:
        def add(part: slice) -> Generator[None, None, None]:
            some = {name: one[part] for name, one in columns.items()}
            counted = yield from self._counter.steps(some)
            for known in (self.windows, self.unsent):
                known[start] = profiles.merge(known[start], counted) if start in known else counted
            self.newest[start] = max(int(times[part].max()), self.newest.get(start, 0))

        bad = yield from _without_bad(len(times), add)
        self.lost += bad
        while len(self.windows) > KEPT:
            del self.windows[min(self.windows)]
