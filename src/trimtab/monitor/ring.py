"""Where logged rows wait for the thread that takes them, and the shortest way of one row into it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import compress
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from trimtab import ids
from trimtab.monitor import rows as turning

_PARTS: Final = 3
"""Side by side in one list, each row without an object of its own: the row, its answer, the time."""
_ONE: Final = frozenset({float, int, str, bool, tuple, np.float64, np.float32, np.int64, np.str_})
"""What the answer to one row is. Without one, a mapping may hold one row or columns: the slow way."""


class Waiting(NamedTuple):
    """What was taken out of the ring, part by part; times are nanoseconds."""

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
    """Up to `limit` logged rows; the one that makes them `enough` sets `alarm`. Adding is thread-safe.

    `log` copies one row with its answer and leaves it; it hands everything else to `slow`, and what
    does not fit. Rows have the time of the last `look`. After `shut` all goes to `slow`.
    """

    def __init__(self, enough: int, limit: int, slow: Callable[[Any, Any], None]) -> None:
        self._parts: list[Any] = []
        self.alarm = threading.Event()
        self.log, self.look, self._taken, self.shut = _ways(
            self._parts, (enough, limit), slow, self._wake
        )

    def __len__(self) -> int:
        return len(self._parts) // _PARTS

    def add(self, row: Any, answer: Any, time: int) -> None:
        """Leave anything, whatever the limit."""
        self._parts.extend((row, answer, time))

    def take(self, most: int) -> Waiting:
        """What has waited longest, removed; for one thread at a time."""
        parts = self._parts[: most * _PARTS]
        del self._parts[: len(parts)]
        self._taken()
        return Waiting(*(parts[first::_PARTS] for first in range(_PARTS)))

    def renew(self) -> None:
        """Empty, with an alarm of this process."""
        self._parts.clear()
        self.alarm = threading.Event()
        self._taken()

    def _wake(self) -> None:
        self.alarm.set()


def is_row(rows: dict[str, Any], predictions: Any) -> bool:
    """Whether a mapping is one row and not columns."""
    return (predictions is None or predictions.__class__ in _ONE) and not turning.is_table(rows)


def _ways(
    parts: list[Any],
    room: tuple[int, int],
    slow: Callable[[Any, Any], None],
    wake: Callable[[], None],
) -> tuple[Log, Callable[[], None], Callable[[], None], Callable[[], None]]:
    """`log`, `look`, what follows a `take`, and `shut`.

    A request waits for `log` alone, so what changes is a variable of this function, which is the
    quickest to read: `now`, and `near`, the length at which something is to be done. That is to wake
    the thread, once, and then nothing before the limit.
    """
    extend, kinds = parts.extend, _ONE
    enough, limit = (room[0] - 1) * _PARTS, room[1] * _PARTS
    now, near = ids.now_ns(), enough

    def log(rows: Any, predictions: Any = None) -> None:
        if rows.__class__ is dict and predictions.__class__ in kinds and len(parts) < near:
            # one call into C: nothing of another thread comes between the three
            extend((rows.copy(), predictions, now))
        else:
            seldom(rows, predictions)

    def seldom(rows: Any, predictions: Any) -> None:
        nonlocal near
        if rows.__class__ is not dict or predictions.__class__ not in kinds or len(parts) >= limit:
            slow(rows, predictions)
            return
        extend((rows.copy(), predictions, now))
        if near != limit and len(parts) > enough:
            near = limit
            wake()

    def look() -> None:
        nonlocal now
        now = ids.now_ns()

    def taken() -> None:
        nonlocal near
        near = min(enough, limit)

    def shut() -> None:
        nonlocal limit, near
        limit = near = 0

    return log, look, taken, shut
