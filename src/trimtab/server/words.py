"""How numbers, moments and names are written for people, on the page and in the terminal alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from trimtab import hashing, ids
from trimtab.store.records import Incident, Run, Verdict

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
UNKNOWN: Final = 1e300
"""From here on a number is written as infinite."""
MEASURES: Final = {"js": "JS", "ks": "KS", "psi": "PSI", "psi_usual": "usual PSI"}
"""Further distances of a feature; the last is PSI's mean at these sizes where nothing changed."""
_TIMES: Final = (
    "since", "fetched_at", "mtime", "labelled_at", "over_at", "reopened_at", "grown_at"
)  # fmt: skip
_SIZES: Final = ("B", "kB", "MB", "GB", "TB")


def stored(value: float | str) -> float:
    """A number out of the store, where NaN and infinities are text (`hashing.canonical`)."""
    return float(value)


def number(value: float | str | None) -> str:
    """Four significant digits, thousands apart by a comma; a dash for nothing.

    What is not finite may be text, as it is stored.
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        value = stored(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= UNKNOWN:
        value = math.copysign(math.inf, value)  # an end of an interval that the data cannot tell
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "not a number")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 9_999.5 else f"{value:.4g}"


def origin(meta: Mapping[str, Any]) -> str:
    """Where a model came from that another tool's client registered; "" for one of a flow."""
    found = meta.get("origin") or {}
    if not found:
        return ""
    return f"MLflow's {found.get('model')} {found.get('version')}, {found.get('flavor')}"


def interval(lo: float | str | None, hi: float | str | None) -> str:
    """`[lo, hi]`, or nothing where there is none."""
    return "" if lo is None or hi is None else f"[{number(lo)}, {number(hi)}]"


def size(count: int) -> str:
    """Bytes in the nearest decimal unit."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 else f"{value:.3g} {_SIZES[unit]}"


def span(micros: int) -> str:
    """A length of time in microseconds."""
    seconds = micros / 1_000_000
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for length, unit in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"


def ago(micros: int, now: int | None = None) -> str:
    """How long ago a moment was; a dash for never."""
    if not micros:
        return "–"
    passed = (ids.now() if now is None else now) - micros
    return "just now" if passed < 1_000_000 else f"{span(passed)} ago"


def moment(micros: int) -> str:
    """A moment in UTC to the second; a dash for never."""
    return ids.to_datetime(micros).strftime("%Y-%m-%d %H:%M:%S") if micros else "–"


def took(run: Run) -> str:
    """How long a run took, or has been running."""
    if not run.started_at:
        return "–"
    return span((run.ended_at or ids.now()) - run.started_at)


def short(name: str) -> str:
    """A digest or id by the part that tells it apart; anything else as it is.

    The first 16 digits of an id are its millisecond and a counter: enough to name it again.
    """
    if hashing.is_digest(name):
        return name.removeprefix(hashing.PREFIX)[:12]
    return name[:16] if ids.is_id(name) else name


def cell(value: Any) -> str:
    """Any value of params, facts or details on one line."""
    if value is None:
        return "–"
    if isinstance(value, bool | int | float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {part(key, inner)}" for key, inner in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(cell(inner) for inner in value) or "–"
    return short(str(value))


def part(name: str, value: Any) -> str:
    """A value of params, facts or details by its name: moments are in microseconds."""
    return moment(value) if name in _TIMES and isinstance(value, int) else cell(value)


def error(found: dict[str, Any]) -> str:
    """Type and message of an error, and what to do next; the traceback is shown apart."""
    said = ": ".join(str(found[name]) for name in ("type", "message") if found.get(name))
    return f"{said} ({found['hint']})" if found.get("hint") else said


def cause(run: Run) -> str:
    """Why a run was begun; by hand where nothing is said, a dash for a part of another run."""
    said = dict(run.cause)
    kind = str(said.pop("kind", "")).replace("manual", "by hand")
    reason = str(said.pop("reason", ""))
    parts = [part for part in (kind, reason, cell(said) if said else "") if part]
    return ": ".join(parts) or ("–" if run.parent else "by hand")


def measured(verdict: Verdict) -> str:
    """A verdict's value with its interval and rows."""
    if verdict.value is None:
        return "not measured"
    parts = [number(verdict.value), interval(verdict.lo, verdict.hi)]
    return " ".join(part for part in parts if part) + (
        f" on {verdict.n:,} rows" if verdict.n else ""
    )


def standing(verdict: Verdict) -> str:
    """A verdict's status as one word or two."""
    return "provisional" if verdict.provisional else verdict.status


def stage(incident: Incident) -> str:
    """An incident's state as one word: open, acknowledged or resolved."""
    return (
        "acknowledged" if incident.state == "open" and incident.acknowledged_at else incident.state
    )
