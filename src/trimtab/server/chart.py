"""A metric series as the points of an SVG line: no more of them than pixels, extremes kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from trimtab.server import words
from trimtab.store.series.chart import Curve

WIDTH: Final = 320
HEIGHT: Final = 96
STRETCHES: Final = 150
_INSET: Final = 6


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn series: `lines` are SVG point lists, broken where the series is not finite, which
    `odd` counts.
    """

    key: str
    lines: list[str]
    dots: list[tuple[float, float]]
    last: str
    low: str
    high: str
    steps: str
    odd: str
    label: str


def chart(curve: Curve) -> Chart:
    """Draw a series of at least one point."""
    nodes, key = curve.nodes, curve.key
    points = drawn(curve)
    lows = [value for value in nodes["low"].tolist() if math.isfinite(value)] or [0.0]
    highs = [value for value in nodes["high"].tolist() if math.isfinite(value)] or [0.0]
    least, greatest = min(lows), max(highs)
    x = _scale(points[0][0], points[-1][0], _INSET, WIDTH - _INSET)
    y = _scale(least, greatest, HEIGHT - _INSET, _INSET)
    parts = [[(x(at), y(value)) for at, value in part] for part in _finite_parts(points)]
    last, low, high = (words.number(one) for one in (points[-1][1], least, greatest))
    odd = _odd(curve)
    if not any(parts):  # NaN and infinities alone
        low = high = "–"
    return Chart(
        key=key,
        lines=[" ".join(f"{a:.1f},{b:.1f}" for a, b in part) for part in parts if len(part) > 1],
        dots=[part[0] for part in parts[:-1] if len(part) == 1] + [part[-1] for part in parts[-1:]],
        last=last,
        low=low,
        high=high,
        steps=f"steps {int(nodes['first_step'][0])} to {int(nodes['last_step'][-1])}"
        if curve.by == "step"
        else f"{curve.points} points",
        odd=odd,
        label=f"{key}: last {last}, lowest {low}, highest {high}, over {curve.points} points"
        + (f", {odd}" if odd else ""),
    )


def _odd(curve: Curve) -> str:
    """What cannot be drawn: how many points are not a number, or infinite."""
    names = (("nans", "NaN"), ("rises", "∞"), ("falls", "-∞"))
    counts = [(int(curve.nodes[name].sum()), told) for name, told in names]
    return ", ".join(f"{count:,} × {told}" for count, told in counts if count)


def drawn(curve: Curve) -> list[tuple[float, float]]:
    """At most four points a node: its first, least, greatest and last, in order."""
    by, found = curve.by, []
    for node in curve.nodes:
        ends = [(int(node[f"{name}_{by}"]), float(node[name])) for name in ("first", "last")]
        extremes = {
            (int(node[f"{name}_{by}"]), float(node[name]))
            for name in ("low", "high")
            if math.isfinite(node[name])
        }
        inner = sorted(extremes - set(ends))
        found += [ends[0], *inner] if int(node["points"]) == 1 else [ends[0], *inner, ends[1]]
    return [(float(at), value) for at, value in found]


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
