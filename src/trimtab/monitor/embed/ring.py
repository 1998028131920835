"""Where logged rows wait for the thread that takes them, and the shortest way of one row into it."""

from __future__ import annotations

import struct
import threading
from bisect import bisect_right
from collections.abc import Callable
from itertools import compress
from operator import itemgetter
from sys import intern
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from trimtab import ids
from trimtab.monitor.embed.rows import Layout, holds_columns

_PACKED: Final = 3
"""Parts of a usual row, side by side in one list: its packed numbers, answer, time; then its words."""
_ODD: Final = 3
"""Parts of any other: whatever was logged, its answer, the time."""
_ONE: Final = frozenset({float, int, str, bool, tuple, np.float64, np.float32, np.int64, np.str_})
"""What the answer to one row is. With any other, a mapping may hold one row or columns: the slow way."""


_Entry = Callable[[dict[str, Any], Any], tuple[Any, ...]]


class Packed(NamedTuple):
    """Usual rows taken out of the ring: doubles in the order of the layout, words column by column.

    Times are nanoseconds.
    """

    numbers: list[bytes]
    answers: list[Any]
    times: list[int]
    words: list[list[Any]]


class Waiting(NamedTuple):
    """Other rows taken out of the ring, part by part; times are nanoseconds."""

    rows: list[Any]
    answers: list[Any]
    times: list[int]

    def of(self, kind: type) -> Waiting:
        """What has rows of one class."""
        mine = [row.__class__ is kind for row in self.rows]
        if all(mine):
            return self
        return Waiting(*(list(compress(part, mine)) for part in self))


class Log(Protocol):
    """Takes one row and its answer."""

    def __call__(self, rows: Any, predictions: Any = None) -> None:  # noqa: D102 - see the class
        ...


class Ring:
    """Logged rows, up to the last number of `room`; `wake` is called at each of the others. Thread-safe.

    `log` packs one row with its answer and leaves it: a copy that is small, and not the caller's own
    values, whose memory the next request then finds warm. A row whose numbers cannot be packed is
    copied as it is. Everything else goes to `slow`, and what does not fit. Rows have the time of the
    last `look`. After `hurry` the next row calls `wake` too, after `shut` all goes to `slow`.
    """

    def __init__(
        self,
        layout: Layout,
        room: tuple[int, ...],
        slow: Callable[[Any, Any], None],
        wake: Callable[[], None],
    ) -> None:
        self._parts: list[Any] = []
        self._odd: list[Any] = []
        self._width = _PACKED + len(layout.words)
        *self._steps, self._limit = room
        self._woken, self._hurried = 0, False
        self._changing = threading.RLock()
        self._slow, self._wake = slow, wake
        ways = _ways(layout, self._parts, self._seldom)
        self.log, self._entry, self.look, self._set_near = ways
        self._changed(False)

    def __len__(self) -> int:
        return len(self._parts) // self._width + len(self._odd) // _ODD

    def add(self, row: Any, answer: Any, time: int) -> None:
        """Leave anything, whatever the limit."""
        self._odd.extend((row, answer, time))
        self._changed(False)

    def take(self, most: int) -> Packed:
        """The packed rows that have waited longest, removed; for one thread at a time."""
        numbers, answers, times, *words = self._removed(self._parts, self._width, most)
        return Packed(numbers, answers, times, words)

    def take_odd(self, most: int) -> Waiting:
        """What else has waited longest, removed; for one thread at a time."""
        return Waiting(*self._removed(self._odd, _ODD, most))

    def renew(self) -> None:
        """Empty."""
        self._changing = threading.RLock()  # another thread may have held it where this one forked
        self._parts.clear()
        self._odd.clear()
        self._changed(True)

    def hurry(self) -> None:
        """Have the next row call `wake`."""
        with self._changing:
            self._hurried = True
            self._set_near(0)

    def shut(self) -> None:
        """Take nothing more."""
        with self._changing:
            self._limit = 0
            self._set_near(0)

    def _removed(self, parts: list[Any], width: int, most: int) -> list[list[Any]]:
        taken = parts[: most * width]
        del parts[: len(taken)]
        self._changed(True)
        return [taken[first::width] for first in range(width)]

    def _seldom(self, rows: Any, predictions: Any) -> None:
        """What the short way leaves."""
        is_one = rows.__class__ is dict and predictions.__class__ in _ONE
        if not is_one or len(self) >= self._limit:
            self._slow(rows, predictions)
            return
        try:
            self._parts.extend(self._entry(rows, predictions))
        except Exception:  # whatever a caller's value does when it is read
            if predictions.__class__ is tuple and holds_columns(rows):
                self._slow(rows, predictions)  # the answers of many rows, and no pair
                return
            self._odd.extend((rows.copy(), predictions, ids.now_ns()))
        self._changed(False)

    def _changed(self, taken: bool) -> None:
        """Call `wake` where that is due, and say up to which length the short way is right."""
        with (
            self._changing
        ):  # who was late to say so would leave the ring open, or `wake` not called
            held, others = len(self), len(self._odd) // _ODD
            step = bisect_right(self._steps, held)
            due = (self._hurried and not taken) or (step > 0 and (taken or step > self._woken))
            self._woken, self._hurried = step, False
            most = self._steps[step] - 1 if step < len(self._steps) else self._limit
            self._set_near((min(most, self._limit) - others) * self._width)
        if due:
            self._wake()


def _ways(
    layout: Layout,
    parts: list[Any],
    seldom: Callable[[Any, Any], None],
) -> tuple[Log, _Entry, Callable[[], None], Callable[[int], None]]:
    """`log`, a row as parts, `look`, and the setting of the length from which on `seldom` does it all.

    A request waits for `log` alone, so what changes is a variable of this function, which is the
    quickest to read.
    """
    pack, get = struct.Struct(f"{len(layout.numbers)}d").pack, _getter(layout.numbers)
    words = _getter(layout.words) if layout.words else None
    extend, kinds = parts.extend, _ONE
    now, near = ids.now_ns(), 0

    def log(rows: Any, predictions: Any = None) -> None:
        if len(parts) < near and rows.__class__ is dict and predictions.__class__ in kinds:
            try:
                # one call into C: nothing of another thread comes between the parts
                if words is None:
                    extend((pack(*get(rows)), predictions, now))
                else:
                    extend((pack(*get(rows)), predictions, now, *words(rows)))
            except Exception:  # whatever a caller's value does when it is read
                seldom(rows, predictions)
        else:
            seldom(rows, predictions)

    def entry(rows: dict[str, Any], predictions: Any) -> tuple[Any, ...]:
        return (pack(*get(rows)), predictions, now, *(words(rows) if words else ()))

    def look() -> None:
        nonlocal now
        now = ids.now_ns()

    def set_near(length: int) -> None:
        nonlocal near
        near = length

    return log, entry, look, set_near


def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """The values of these names in a row; raises KeyError."""
    if len(names) > 1:
        return itemgetter(*map(intern, names))  # as the keys of literals and of models' fields are
    return lambda row: tuple([row[name] for name in names])
