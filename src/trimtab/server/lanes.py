"""The timeline as SVG: lanes over time for quality, champions, rollouts, jobs, incidents and labels.

Everything is drawn from the events of `loop.timeline` and the windows' measured quality; a thing that
is not over reaches to the right edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.config import Requirement
from trimtab.loop.reports import Event
from trimtab.server import words
from trimtab.server.axis import scale
from trimtab.store.records import Window

WIDTH: Final = 1032
LEFT: Final = 96
_RIGHT: Final = 6
_QUALITY: Final = 118
_ROW: Final = 20
_MOST_ROWS: Final = 8
_LEAST: Final = 5.0
"""Pixels of the shortest bar: a job of seconds is seen among weeks."""
_LETTER: Final = 6.4
_TICKS: Final = 12
_NAME: Final = 48
"""Pixels that a date takes."""
_STEPS: Final = (1, 2, 7, 14, 28, 91, 364)
_DAY: Final = 86_400_000_000
_LANES: Final = {
    "champion": "champion",
    "rollout": "rollout",
    "retrain": "training",
    "incident": "incidents",
    "labels": "labels asked",
    "controller": "controller",
}
_IN: Final = {"endpoint": "controller", "data": "retrain"}
"""Lanes that are drawn as part of another."""
_ORDER: Final = ("roc_auc", "accuracy", "log_loss", "rmse", "mae")


Measured = tuple[Window, dict[str, float]]


class Piece(NamedTuple):
    """Something from its beginning to its end; the same moment twice is a moment."""

    begin: int
    end: int
    tone: str
    text: str
    label: str


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lasted; `text` is what fits into it."""

    x: float
    y: float
    width: float
    tone: str
    text: str
    label: str


class Mark(msgspec.Struct, frozen=True):
    """Something that has no length."""

    x: float
    y: float
    tone: str
    label: str


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """A named strip."""

    name: str
    y: float
    height: float
    bars: list[Bar] = []
    marks: list[Mark] = []


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """A measured metric by window: a line and a band for each model, and the required bounds."""

    metric: str
    y: float
    height: float
    lines: list[str]
    bands: list[str]
    dots: list[tuple[float, float, str]]
    bounds: list[tuple[float, str]]
    low: str
    high: str


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture."""

    height: float
    quality: Quality | None
    lanes: list[Lane]
    ticks: list[tuple[float, str]]
    label: str


def draw(
    events: Sequence[Event],
    windows: Sequence[Window],
    requirements: Sequence[Requirement],
    span: tuple[int, int],
) -> Drawing:
    """The lanes between two moments; `windows` are of one endpoint, oldest first."""
    x = scale(span[0], max(span[1], span[0] + 1), LEFT, WIDTH - _RIGHT)
    shown = [one for one in windows if one.end > span[0] and one.start < span[1]]
    quality, y = _quality(shown, requirements, x, 24.0), 24.0
    y += _QUALITY + 18 if quality else 0
    lanes = []
    for name, title in _LANES.items():
        mine = [one for one in events if _IN.get(one.lane, one.lane) == name]
        lane = _lane(title, mine, span, x, y)
        if lane is not None:
            lanes.append(lane)
            y += lane.height + 10
    first, last = (words.moment(one)[:10] for one in span)
    label = f"{len(events)} events from {first} to {last}, told one by one below"
    return Drawing(height=y + 4, quality=quality, lanes=lanes, ticks=_ticks(span, x), label=label)


def _lane(
    title: str,
    events: Sequence[Event],
    span: tuple[int, int],
    x: Callable[[float], float],
    y: float,
) -> Lane | None:
    bars: list[Bar] = []
    marks: list[Mark] = []
    ends: list[float] = []
    for one in _pieces(events, span[1]):
        if one.end < span[0] or one.begin > span[1]:
            continue
        left, right = x(max(one.begin, span[0])), x(min(one.end, span[1]))
        if one.begin == one.end:
            marks.append(Mark(left, y + _ROW / 2, one.tone, one.label))
            continue
        width = round(max(right - left, _LEAST), 1)
        row = next((at for at, taken in enumerate(ends) if taken <= left + 0.5), len(ends))
        row = min(row, _MOST_ROWS - 1)
        ends[row : row + 1] = [left + width]
        text = _fitting(one.text, int((width - 8) / _LETTER))
        top = y + row * _ROW
        bars.append(Bar(x=left, y=top, width=width, tone=one.tone, text=text, label=one.label))
    if not bars and not marks:
        return None
    return Lane(name=title, y=y, height=max(len(ends), 1) * _ROW, bars=bars, marks=marks)


def _fitting(text: str, room: int) -> str:
    """A text, or what of it fits into so many letters."""
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room > 3 else ""


def _pieces(events: Sequence[Event], now: int) -> Iterator[Piece]:
    """Each event until the next of its thing; what ends a thing is told with what began it."""
    nexts: dict[str, Event] = {}
    found: list[Piece] = []
    ending: list[Event] = []
    for one in reversed(events):
        thing = f"champion:{one.endpoint}" if one.lane == "champion" else one.id
        after = nexts.get(thing) if thing else None
        when = words.moment(one.time)
        if one.ends:
            ending.append(one)
        elif not one.short:
            label = f"{when}: {one.said}" + (f"; {one.cause}" if one.cause else "")
            found.append(Piece(one.time, one.time, one.tone, "", label))
        else:
            then = after.said if after else "still so"
            tone = after.tone if after and after.tone == "bad" and after.ends else one.tone
            label = f"{when}: {one.said}; {then}"
            found.append(Piece(one.time, after.time if after else now, tone, one.short, label))
        if thing:
            nexts[thing] = one
    begun = {one.id for one in events if one.short and not one.ends}
    for one in ending:
        if one.id not in begun:
            label = f"{words.moment(one.time)}: {one.said}; {one.cause}"
            found.append(Piece(one.time, one.time, one.tone, "", label))
    return iter(sorted(found))


def _quality(
    windows: Sequence[Window],
    requirements: Sequence[Requirement],
    x: Callable[[float], float],
    top: float,
) -> Quality | None:
    metric = _metric(windows, requirements)
    known = [
        (one, {name: words.stored(end) for name, end in values[metric].items()})
        for one in windows
        if metric in (values := one.features.get("quality", {}).get("values", {}))
    ]
    known = [(one, value) for one, value in known if math.isfinite(value["value"])]
    if not known:
        return None
    bounds = [
        (bound, one.text)
        for one in requirements
        if one.metric == metric and not one.across and not one.better_than
        for bound in one.bounds
        if math.isfinite(bound)
    ]
    ends = [end for _, value in known for end in (value["value"], value["lo"], value["hi"])]
    ends += [bound for bound, _ in bounds]
    finite = [end for end in ends if math.isfinite(end) and abs(end) < 1e300]
    low, high = min(finite), max(finite)
    y = scale(low, high, top + _QUALITY - 8, top + 8)
    lines, bands = [], []
    for series in _unbroken(known):
        at = [x((one.start + one.end) / 2) for one, _ in series]
        lines.append(" ".join(f"{a},{y(v['value'])}" for a, (_, v) in zip(at, series, strict=True)))
        upper = [f"{a},{y(v['hi'])}" for a, (_, v) in zip(at, series, strict=True)]
        lower = [f"{a},{y(v['lo'])}" for a, (_, v) in zip(at, series, strict=True)]
        bands.append(" ".join([*upper, *reversed(lower)]))
    dots = [
        (x((one.start + one.end) / 2), y(value["value"]), _said(one, metric, value))
        for one, value in known
    ]
    return Quality(
        metric=metric, y=top, height=_QUALITY, lines=lines, bands=bands, dots=dots,
        bounds=[(y(bound), text) for bound, text in bounds],
        low=f"{low:.3g}", high=f"{high:.3g}",
    )  # fmt: skip


def _unbroken(known: Sequence[Measured]) -> list[list[Measured]]:
    """Windows of one model that follow each other."""
    found: dict[str, list[list[Measured]]] = {}
    for one in known:
        parts = found.setdefault(one[0].model, [])
        if parts and parts[-1][-1][0].end == one[0].start:
            parts[-1].append(one)
        else:
            parts.append([one])
    return [part for parts in found.values() for part in parts]


def _said(window: Window, metric: str, value: dict[str, float]) -> str:
    measured = f"{words.number(value['value'])} {words.interval(value['lo'], value['hi'])}"
    return f"{words.moment(window.start)}: {metric} {measured} on {int(value.get('n', 0)):,} labels"


def _metric(windows: Sequence[Window], requirements: Sequence[Requirement]) -> str:
    """What to draw: a metric that is required, else the most telling one that was measured."""
    measured = {
        name for one in windows for name in one.features.get("quality", {}).get("values", {})
    }
    order = [one.metric for one in requirements] + [*_ORDER] + sorted(measured)
    return next((name for name in order if name in measured), "")


def _ticks(span: tuple[int, int], x: Callable[[float], float]) -> list[tuple[float, str]]:
    """Midnights, weekly and longer ones on Mondays, at most a dozen."""
    days = max((span[1] - span[0]) / _DAY, 1)
    step = next((one for one in _STEPS if days / one <= _TICKS), _STEPS[-1])
    first = -(-span[0] // _DAY) * _DAY
    if step >= 7:
        first += (-(first // _DAY + 3) % 7) * _DAY
    return [
        (x(moment), f"{ids.to_datetime(moment):%d %b}".lstrip("0"))
        for moment in range(first, span[1], step * _DAY)
        if x(moment) < WIDTH - _NAME
    ]
