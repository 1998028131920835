"""Dates as people write them: ISO 8601, a date or a date with a time; UTC where no zone is named."""

from __future__ import annotations

from datetime import UTC, datetime

from trimtab import ids
from trimtab.track.search.tree import Now, Value


def read(text: str) -> int | None:
    """Microseconds since 1970 of a date, None where it is none."""
    try:
        found = datetime.fromisoformat(text.strip())
        aware = found if found.tzinfo else found.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def micros(value: Value, now: int) -> float:
    """A moment as a filter writes it: a date, `now()` and a span from it, or milliseconds."""
    match value:
        case str():
            found = read(value)
            return float("nan") if found is None else float(found)
        case Now(sign, span):
            return now + sign * (span.micros if span else 0.0)
        case float() | int():
            return value * 1000.0
    return float("nan")


def written(moment: float) -> str:
    """A moment as a filter takes it."""
    return ids.to_datetime(int(moment)).isoformat()
