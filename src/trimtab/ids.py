"""Ids and time: UUIDv7 as 32 lower-case hex digits, UTC as int64 microseconds.

Every stored time comes from here. Where TRIMTAB_CLOCK names a file, its first eight bytes, a native
int64, are microseconds that this process and its children add to the machine's clock: a simulation
moves all of them by one write (`set_offset`). What waits or measures spans does not ask this clock.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from trimtab.errors import ConfigError

CLOCK: Final = "TRIMTAB_CLOCK"
_lock = threading.Lock()
_last = 0
# Its own generator: a program that seeds the global one must not make two processes agree on ids.
_random = random.SystemRandom() if not hasattr(os, "register_at_fork") else random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def _clock(path: str) -> Callable[[], int]:
    """The clock in nanoseconds; without a file the machine's own, at no cost."""
    if not path:
        return time.time_ns
    try:
        with Path(path).open("rb") as stream:
            view = memoryview(mmap.mmap(stream.fileno(), 8, access=mmap.ACCESS_READ)).cast("q")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{CLOCK} names no clock file: {path}: {error}",
            hint="a file of 8 bytes: microseconds to add to the time, as a native int64; "
            "unset it outside of simulations",
        ) from error

    def nanoseconds() -> int:
        return time.time_ns() + view[0] * 1_000

    return nanoseconds


now_ns: Final = _clock(os.environ.get(CLOCK, ""))
"""The present moment in nanoseconds since 1970-01-01 UTC."""
_ID = re.compile(r"[0-9a-f]{32}\Z")


def new_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7) as 32 hex digits.

    Ids made by one process sort in the order they were made: the 12 bits after the millisecond
    count up within it (RFC 9562 section 6.2, method 1).
    """
    global _last
    with _lock:
        tick = max((now_ns() // 1_000_000) << 12, _last + 1)
        _last = tick
    millis, counter = tick >> 12, tick & 0xFFF
    upper = (millis << 16) | 0x7000 | counter
    return f"{(upper << 64) | 0x8000_0000_0000_0000 | _random.getrandbits(62):032x}"


def new_ids(count: int) -> list[str]:
    """So many ids in order, as `new_id` makes one, at half its cost each."""
    global _last
    if count < 2:
        return [new_id() for _ in range(count)]
    with _lock:
        first = max((now_ns() // 1_000_000) << 12, _last + 1)
        _last = first + count - 1
    drawn = (_random.getrandbits(64 * count) | _lows("8", count)) & ~_lows("4", count)
    lower = drawn.to_bytes(8 * count, "big").hex()
    found: list[str] = []
    while len(found) < count:
        tick = first + len(found)
        upper, begin = f"{tick >> 12:012x}7", 16 * len(found)
        places = range(begin, 16 * count, 16)
        counter = tick & 0xFFF
        counted = _counted()[counter : counter + count]
        found += [
            upper + digits + lower[place : place + 16]
            for digits, place in zip(counted, places, strict=False)
        ]
    return found


@lru_cache(maxsize=1)
def _counted() -> tuple[str, ...]:
    """What counts up within a millisecond, in hex."""
    return tuple(f"{count:03x}" for count in range(0x1000))


@lru_cache(maxsize=64)
def _lows(digit: str, count: int) -> int:
    """The lower halves of `count` ids with this first digit and nothing else, as one number."""
    return int(f"{digit}000000000000000" * count, 16)


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an id."""
    return _ID.match(text) is not None


def made_at(made: str) -> int:
    """When an id was made, in microseconds, to the millisecond."""
    return int(made[:12], 16) * 1_000


def now() -> int:
    """The present moment in microseconds since 1970-01-01 UTC."""
    return now_ns() // 1_000


def set_offset(path: Path, micros: int) -> None:
    """Write how far the clock of whoever runs with `TRIMTAB_CLOCK=path` is off; makes the file.

    The bytes are changed in place, so that a process that has the file open sees the new offset.
    """
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.write(micros.to_bytes(8, sys.byteorder, signed=True))


def to_datetime(micros: int) -> datetime:
    """Microseconds to an aware UTC datetime."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def from_datetime(moment: datetime) -> int:
    """A datetime to microseconds; a naive one counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def iso(micros: int) -> str:
    """Microseconds as RFC 3339 text with a Z, without a fraction where it is zero."""
    return to_datetime(micros).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """RFC 3339 text (or a date) to microseconds; raises ValueError."""
    return from_datetime(datetime.fromisoformat(text))
