"""Ids and time: UUIDv7 as 32 lower-case hex digits, UTC as int64 microseconds."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from datetime import UTC, datetime

_lock = threading.Lock()
_last = 0
# Its own generator: a program that seeds the global one must not make two processes agree on ids.
_random = random.SystemRandom() if not hasattr(os, "register_at_fork") else random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)
_ID = re.compile(r"[0-9a-f]{32}\Z")


def new_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7) as 32 hex digits.

    Ids made by one process sort in the order they were made: the 12 bits after the millisecond
    count up within it (RFC 9562 section 6.2, method 1).
    """
    global _last
    with _lock:
        tick = max((time.time_ns() // 1_000_000) << 12, _last + 1)
        _last = tick
    millis, counter = tick >> 12, tick & 0xFFF
    upper = (millis << 16) | 0x7000 | counter
    return f"{(upper << 64) | 0x8000_0000_0000_0000 | _random.getrandbits(62):032x}"


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an id."""
    return _ID.match(text) is not None


def now() -> int:
    """The present moment in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


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
