"""When labels have shown concept drift: estimates of those times assume a meaning that was another.

What the last look knew is kept, so that a window that closes meanwhile is estimated with the doubt
that it deserves, and so that a drift that is over is remembered with its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from trimtab import ids
from trimtab.store import estimates, states
from trimtab.store.records import Window
from trimtab.store.workspace import Workspace

KIND: Final = "concept drift"
_PART: Final = 0.1
"""The share of a window that a drift must have, because its beginning is known by a few rows."""


class Span(NamedTuple):
    """A concept drift from `since` to `until`, 0 while it lasts, in microseconds of event time."""

    since: int
    until: int


def spans(ws: Workspace, endpoint: str, model: str) -> list[Span]:
    """The concept drifts of a model that the last look knew of."""
    return [Span(since, until) for since, until in states.get(ws, _name(endpoint, model)) or []]


def note(
    ws: Workspace,
    endpoint: str,
    model: str,
    drift: int,
    over: int,
    replaced: Mapping[int, int] = MappingProxyType({}),
) -> list[Span]:
    """Remember since when labels show a `drift`, or when the last one was `over` (0 for none).

    `replaced` are those, by their beginning, of which newer labels tell from a moment on.
    """
    before = spans(ws, endpoint, model)
    past = [
        Span(one.since, one.until)
        for one in estimates.episodes(ws, endpoint, model=model, kind=KIND)
        if one.until
    ]
    ended = [one if one.until else Span(one.since, replaced.get(one.since, over)) for one in before]
    found = sorted({*past, *(one for one in ended if one.since < one.until)})
    found += [Span(drift, 0)] if drift else []
    if found != before:
        states.put(ws, _name(endpoint, model), found)
    return found


def why(known: Iterable[Span], window: Window) -> str:
    """Why an estimate of a window is untrusted, by what labels have shown; "" where they have not."""
    least = (window.end - window.start) * _PART
    touched = [
        one
        for one in known
        if min(one.until or window.end, window.end) - max(one.since, window.start) > least
    ]
    return _said(touched[-1]) if touched else ""


def both(reasons: Sequence[str]) -> str:
    """Several reasons as one, those that are none left out."""
    return "; ".join(one for one in reasons if one)


def _said(one: Span) -> str:
    if not one.until:
        return f"labels show concept drift since {ids.iso(one.since)}"
    return f"labels showed concept drift from {ids.iso(one.since)} to {ids.iso(one.until)}"


def _name(endpoint: str, model: str) -> str:
    return f"distrust:{endpoint}:{model}"
