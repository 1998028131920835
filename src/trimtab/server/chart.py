"""A metric series as the points of an SVG line: no more of them than pixels, extremes kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from trimtab.server import words
from trimtab.store.records import Point

WIDTH = 320
HEIGHT = 96
_INSET = 6
_BUCKETS = 150


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn series: `lines` are SVG point lists, broken where the series is not finite."""

    key: str
    lines: list[str]
    dots: list[tuple[float, float]]
    last: str
    low: str
    high: str
    steps: str
    label: str


def chart(key: str, points: Sequence[Point]) -> Chart:
    """Draw a series of at least one point."""
    ordered = sorted(points, key=lambda point: (point.step, point.time))
    # A series logged without steps is drawn against time instead.
    by_step = ordered[0].step != ordered[-1].step
    places = [float(point.step if by_step else point.time) for point in ordered]
    values = [point.value for point in ordered]
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    x = _scale(min(places), max(places), _INSET, WIDTH - _INSET)
    y = _scale(min(finite), max(finite), HEIGHT - _INSET, _INSET)
    parts = [
        [(x(at), y(value)) for at, value in part]
        for part in _finite_parts(thinned(list(zip(places, values, strict=True))))
    ]
    last, low, high = words.number(values[-1]), words.number(min(finite)), words.number(max(finite))
    return Chart(
        key=key,
        lines=[" ".join(f"{a:.1f},{b:.1f}" for a, b in part) for part in parts if len(part) > 1],
        dots=[part[0] for part in parts[:-1] if len(part) == 1] + [part[-1] for part in parts[-1:]],
        last=last,
        low=low,
        high=high,
        steps=f"steps {ordered[0].step} to {ordered[-1].step}"
        if by_step
        else f"{len(values)} points",
        label=f"{key}: last {last}, lowest {low}, highest {high}, over {len(values)} points",
    )


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most four points a bucket: its first, least, greatest and last, in order."""
    if len(points) <= 4 * _BUCKETS:
        return points
    size = -(-len(points) // _BUCKETS)
    kept: list[tuple[float, float]] = []
    for begin in range(0, len(points), size):
        bucket = points[begin : begin + size]
        order = range(len(bucket))
        # NaN compares with nothing; such a point is kept as an edge or not at all.
        known = [i for i in order if math.isfinite(bucket[i][1])] or [0]
        least = min(known, key=lambda i: bucket[i][1])
        greatest = max(known, key=lambda i: bucket[i][1])
        kept += [bucket[i] for i in sorted({0, least, greatest, len(bucket) - 1})]
    return kept


def _finite_parts(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """A linear map from values to pixels; where there is one value only, it lies in the middle."""
    half = high / 2 - low / 2  # the whole range may be beyond the largest float

    def at(value: float) -> float:
        share = (value / 2 - low / 2) / half if half else 0.5
        return round(begin + share * (end - begin), 2)

    return at
