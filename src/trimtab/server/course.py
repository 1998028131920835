"""The course of a metric over windows as SVG: what labels showed, and what was estimated without."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from trimtab.server import words
from trimtab.server.axis import scale
from trimtab.store.records import Window, WindowEstimate

WIDTH: Final = 420
HEIGHT: Final = 132
_INSET: Final = 10
_ENDS: Final = ("value", "lo", "hi")


class Point(msgspec.Struct, frozen=True):
    """A value at a window's place, with its interval; `of` says on which part of its rows."""

    at: int
    value: float
    lo: float
    hi: float
    of: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn series: a band (SVG points) for the interval, a line, dots with words."""

    band: list[str]
    points: list[str]
    dots: list[tuple[float, float, str]]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's chart; either line may be missing."""

    metric: str
    realised: Line | None
    estimated: Line | None
    low: str
    high: str
    last: str
    label: str


def draw(windows: Sequence[Window], estimates: Sequence[WindowEstimate]) -> list[Course]:
    """A chart for each metric that was measured or estimated in any of the windows."""
    place = {one.start: at for at, one in enumerate(windows)}
    realised: dict[str, list[Point]] = {}
    for one in windows:
        for metric, (value, of) in _measured(one).items():
            point = Point(place[one.start], value["value"], value["lo"], value["hi"], of)
            realised.setdefault(metric, []).append(point)
    guessed: dict[str, list[Point]] = {}
    for estimate in estimates:
        if estimate.start in place and not estimate.untrusted:
            point = Point(place[estimate.start], estimate.value, estimate.lo, estimate.hi)
            guessed.setdefault(estimate.metric, []).append(point)
    names = sorted({*realised, *guessed})
    return [_course(name, realised.get(name, []), guessed.get(name, []), windows) for name in names]


def doubt(windows: Sequence[Window], estimates: Sequence[WindowEstimate]) -> str:
    """Of how many windows the estimates are not drawn because they are untrusted, and why those of the
    newest are; "" where there are none.
    """
    shown = {one.start for one in windows}
    doubted = {one.start: one for one in estimates if one.untrusted and one.start in shown}
    if not doubted:
        return ""
    newest, count = doubted[max(doubted)], len(doubted)
    of = "1 window" if count == 1 else f"{count} windows"
    said = (
        f"What is expected of {of} is untrusted and not drawn; newest {words.moment(newest.start)}"
    )
    return f"{said}: {newest.untrusted}."


def metrics(window: Window) -> tuple[dict[str, Any], dict[str, Any]]:
    """A window's metrics by name, by the few labels that have come, corrected for it, and by all.

    Labels that are a selection on purpose, or of one outcome yet, show nothing of the other rows.
    """
    known = window.features.get("labels", {})
    few = {} if known.get("biased") else known.get("metrics", {})
    return few, window.features.get("quality", {}).get("values", {})


def _measured(window: Window) -> dict[str, tuple[dict[str, float], str]]:
    """What a window's labels showed: all that came, else the few that have come, and how many."""
    few, whole = metrics(window)
    kept = window.features.get("labels", {}).get("labels", 0)
    found = {metric: (one, _part(window, kept)) for metric, one in few.items()}
    judged = window.features.get("quality", {}).get("rows", window.rows)
    found |= {metric: (one, _part(window, judged)) for metric, one in whole.items()}
    return {
        metric: ({end: words.stored(one[end]) for end in _ENDS}, of)
        for metric, (one, of) in found.items()
        if all(one.get(end) is not None for end in _ENDS)
    }


def _part(window: Window, labels: int) -> str:
    return f" on {labels:,} of {window.rows:,} rows" if labels < window.rows else ""


def _course(
    metric: str, real: Sequence[Point], guess: Sequence[Point], windows: Sequence[Window]
) -> Course:
    ends = [
        end
        for one in (*real, *guess)
        for end in (one.value, one.lo, one.hi)
        if math.isfinite(end) and abs(end) < 1e300
    ] or [0.0]
    low, high = min(ends), max(ends)
    x = scale(0, max(len(windows) - 1, 1), _INSET, WIDTH - _INSET)
    y = scale(low, high, HEIGHT - _INSET, _INSET)
    newest, how = (real[-1], "measured") if real else (guess[-1], "estimated")
    last = f"{words.number(newest.value)} {words.interval(newest.lo, newest.hi)}"
    return Course(
        metric=metric,
        realised=_line(real, x, y, "measured", windows) if real else None,
        estimated=_line(guess, x, y, "estimated", windows) if guess else None,
        low=words.number(low),
        high=words.number(high),
        last=f"{last} {how}",
        label=f"{metric} over {len(windows)} windows, last {last} {how}",
    )


def _line(
    series: Sequence[Point],
    x: Callable[[float], float],
    y: Callable[[float], float],
    how: str,
    windows: Sequence[Window],
) -> Line:
    """A series, broken where windows in between have no value."""
    parts: list[list[Point]] = []
    for one in sorted(series, key=lambda point: point.at):
        if not math.isfinite(one.value):
            continue
        if parts and one.at == parts[-1][-1].at + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return Line(
        band=[_band(part, x, y) for part in parts if len(part) > 1],
        points=[" ".join(f"{x(p.at)},{y(p.value)}" for p in part) for part in parts],
        dots=[
            (
                x(p.at),
                y(p.value),
                _said(p, windows[p.at], how + p.of),
            )
            for part in parts
            for p in part
        ],
    )


def _said(point: Point, window: Window, how: str) -> str:
    value = f"{words.number(point.value)} {words.interval(point.lo, point.hi)}"
    return f"{words.moment(window.start)}: {value} {how}"


def _band(part: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    upper = [(x(p.at), y(p.hi if math.isfinite(p.hi) else p.value)) for p in part]
    lower = [(x(p.at), y(p.lo if math.isfinite(p.lo) else p.value)) for p in part]
    return " ".join(f"{a},{b}" for a, b in (*upper, *reversed(lower)))
