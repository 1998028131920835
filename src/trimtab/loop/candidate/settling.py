"""Whether a change of meaning has come to its end: before that, rows to retrain on teach a mixture.

A sudden change has come to its end where it began. A gradual one shows in the windows before it was
noticed, which have lost quality already: then a retrain waits until the measured metric stands still
over the newest seven windows, and learns from the rows since. It waits for three weeks of windows at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.store import operations
from trimtab.store.records import Incident

_BEFORE: Final = 3
"""Windows before an incident's beginning that must not have lost quality."""
_LEAST: Final = 5
_STANDING: Final = 7
_MOST: Final = 21
_CLEAR: Final = 2.5
_TREND: Final = 1.0
_ORDER: Final = ("roc_auc", "accuracy", "rmse", "mae")
_LOWER: Final = ("rmse", "mae")


class Value(NamedTuple):
    """A window's measured metric, higher for better, with its standard error."""

    start: int
    end: int
    value: float
    error: float


class Settling(NamedTuple):
    """From when on to learn; `waits` says why not yet, "" where nothing speaks against it."""

    since: int
    waits: str = ""


def of(project: Project, incident: Incident) -> Settling:
    """What the measured quality of the incident's model says of its change."""
    model = str(incident.detail.get("model", ""))
    return judge(values(project, incident.endpoint, model), incident.since)


def values(project: Project, endpoint: str, model: str) -> list[Value]:
    """A model's measured quality by window, oldest first: of the first metric that is required."""
    kept = [
        (one, one.features["quality"]["values"])
        for one in operations.windows(project.ws, endpoint=endpoint, model=model)
        if one.role != "shadow" and one.features.get("quality", {}).get("values")
    ]
    measured = {name for _, found in kept for name in found}
    order = [*(one.metric for one in project.config.require if not one.across), *_ORDER]
    name = next((one for one in order if one in measured), "")
    if not name:
        return []
    sign = -1.0 if name in _LOWER else 1.0
    by_start = {
        one.start: Value(one.start, one.end, sign * found[name]["value"], _error(found[name]))
        for one, found in kept
        if name in found
    }
    usable = (
        one for one in by_start.values() if math.isfinite(one.value) and 0 < one.error < 1e300
    )
    return sorted(usable)


def _error(measured: Mapping[str, float]) -> float:
    """The standard error behind a 95 % interval."""
    return (measured["hi"] - measured["lo"]) / 3.92


def judge(found: Sequence[Value], since: int) -> Settling:
    """Whether a change that was noticed as beginning at `since` still goes on."""
    before = [one for one in found if one.end <= since]
    after = [one for one in found if one.start >= since]
    if len(before) < 2 * _BEFORE or not _lost(before[:-_BEFORE], before[-_BEFORE:]):
        return Settling(since)
    if len(after) >= _MOST:
        return Settling(_level(after), "")
    begun = ids.iso(before[-_BEFORE].start)
    if len(after) < _LEAST:
        said = f"it came little by little, from about {begun} on; {len(after)} of {_LEAST} labelled"
        return Settling(since, f"{said} windows tell whether it goes on")
    slope = _slope(found[-_STANDING:])
    if slope < -_TREND:
        return Settling(since, f"it still goes on: quality falls over the last {_STANDING} windows")
    return Settling(_level(after))


def _lost(calm: Sequence[Value], late: Sequence[Value]) -> bool:
    """Whether the windows just before the incident were worse than those before them, for sure."""
    (usual, a), (now, b) = _mean(calm), _mean(late)
    return (usual - now) / math.hypot(a, b) > _CLEAR


def _level(after: Sequence[Value]) -> int:
    """From when on the windows are as the newest three are."""
    usual, error = _mean(after[-3:])
    begin = after[-3].start
    for one in reversed(after[:-3]):
        if abs(one.value - usual) > _CLEAR * math.hypot(one.error, error):
            break
        begin = one.start
    return begin


def _mean(found: Sequence[Value]) -> tuple[float, float]:
    """The mean weighted by precision, and its standard error."""
    weights = [one.error**-2 for one in found]
    total = sum(weights)
    mean = sum(w * one.value for w, one in zip(weights, found, strict=True)) / total
    return mean, float(total**-0.5)


def _slope(found: Sequence[Value]) -> float:
    """The weighted least-squares slope over the windows, in its standard errors."""
    weights = [one.error**-2 for one in found]
    total = sum(weights)
    middle = sum(w * at for at, w in enumerate(weights)) / total
    spread = sum(w * (at - middle) ** 2 for at, w in enumerate(weights))
    pairs = enumerate(zip(weights, found, strict=True))
    return float(sum(w * (at - middle) * one.value for at, (w, one) in pairs) / spread**0.5)
