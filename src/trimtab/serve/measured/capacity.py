"""What an endpoint can take: a level for each number of connections, and what to read off them.

Pure arithmetic on what was measured, and its picture; `bench` does the measuring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.serve.measured.load import Sent, corrected

LEVELS: Final = (1, 2, 4, 8, 16, 32, 64)
ENOUGH: Final = 0.9
"""The share of the best throughput at which more connections only wait."""
BUCKETS: Final = 20
_WIDTH: Final = 32


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One concurrency: answers a second, latencies in milliseconds, microseconds of the endpoint's
    CPU a request, and errors by status.

    `open_p99` is p99 with the requests that a closed loop did not send while it waited. `buckets`
    are the answers in equal parts of `seconds`.
    """

    concurrency: int
    requests: int
    seconds: float
    per_second: float
    p50: float
    p99: float
    p999: float
    largest: float
    open_p99: float
    cpu_us: float
    errors: dict[int, int] = {}
    buckets: tuple[int, ...] = ()

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(self.errors.values())


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Levels by rising concurrency."""

    levels: tuple[Level, ...]

    @property
    def best(self) -> Level:
        """The level of the highest throughput."""
        return max(self.levels, key=lambda one: one.per_second)

    @property
    def knee(self) -> Level:
        """The fewest connections that give 90 % of the best throughput; more of them only wait."""
        enough = ENOUGH * self.best.per_second
        return next(one for one in self.levels if one.per_second >= enough)

    def within(self, bounds: Sequence[tuple[str, float]]) -> Level | None:
        """The level of the highest throughput without errors that keeps every (quantile, ms).

        Without bounds it is the knee. None where no level keeps them.
        """
        if not bounds:
            return self.knee
        fitting = [
            one
            for one in self.levels
            if not one.failed and all(_quantile(one, name) <= most for name, most in bounds)
        ]
        return max(fitting, key=lambda one: one.per_second, default=None)


def level(concurrency: int, sent: Sent, cpu_seconds: float) -> Level:
    """A level of what the load generator saw; all latencies are NaN where nothing was answered."""
    values = sent.latencies
    count, seconds = len(values), max(sent.seconds, 1e-9)
    mean = float(values.mean()) if count else math.nan
    p50, p99, p999 = quantiles(values, (0.5, 0.99, 0.999))
    handled = count + sum(sent.errors.values())
    edges = np.linspace(0.0, seconds, BUCKETS + 1)
    return Level(
        concurrency=concurrency,
        requests=count,
        seconds=sent.seconds,
        per_second=count / seconds,
        p50=p50,
        p99=p99,
        p999=p999,
        largest=float(values.max()) if count else math.nan,
        # Waits that were not seen can only be worse news than those that were.
        open_p99=max(p99, quantiles(corrected(values, mean), (0.99,))[0]),
        cpu_us=cpu_seconds / handled * 1e6 if handled else math.nan,
        errors=sent.errors,
        buckets=tuple(np.histogram(sent.answered_at, edges)[0].tolist()),
    )


def quantiles(values: NDArray[np.float64], shares: Sequence[float]) -> list[float]:
    """The least value that at least that share of the values do not exceed; NaN where there is none."""
    if not len(values):
        return [math.nan for _ in shares]
    ordered = np.sort(values)
    return [float(ordered[max(math.ceil(x * len(ordered) - 1e-9) - 1, 0)]) for x in shares]


def bars(curve: Curve) -> list[str]:
    """Throughput as a bar for each level."""
    most = max(curve.best.per_second, 1e-9)
    return ["█" * max(round(_WIDTH * one.per_second / most), 1) for one in curve.levels]


def svg(curve: Curve, title: str) -> str:
    """Throughput (bars) and p50, p99 (lines, logarithmic) over concurrency, as a picture."""
    width, height, left, top = 640, 320, 64, 40
    inner, deep = width - 2 * left, height - top - 48
    step = inner / len(curve.levels)
    most = max(curve.best.per_second, 1e-9)
    times = [x for one in curve.levels for x in (one.p50, one.p99) if x > 0]
    lo, hi = math.log10(min(times, default=1)), math.log10(max(times, default=10))
    span = max(hi - lo, 0.1)

    def y(value: float) -> float:
        return top + deep * (1 - (math.log10(max(value, 1e-9)) - lo) / span * 0.9 - 0.05)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f'<title>{_escape(title)}</title><g font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="14">{_escape(title)}</text>',
    ]
    centres = [left + step * (place + 0.5) for place in range(len(curve.levels))]
    for x, one in zip(centres, curve.levels, strict=True):
        tall = deep * one.per_second / most
        fill = "#3b6ea5" if one is curve.knee else "#b9cde3"
        parts.append(
            f'<rect x="{x - step * 0.3:.1f}" y="{top + deep - tall:.1f}" width="{step * 0.6:.1f}" '
            f'height="{tall:.1f}" fill="{fill}"/>'
            f'<text x="{x:.1f}" y="{top + deep + 14}" text-anchor="middle">{one.concurrency}</text>'
            f'<text x="{x:.1f}" y="{top + deep - tall - 3:.1f}" text-anchor="middle" fill="#555">'
            f"{one.per_second:,.0f}</text>"
        )
    for name, colour in (("p50", "#2e8b57"), ("p99", "#c0392b")):
        known = [
            (x, getattr(one, name))
            for x, one in zip(centres, curve.levels, strict=True)
            if getattr(one, name) > 0
        ]
        line = " ".join(f"{x:.1f},{y(value):.1f}" for x, value in known)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if known:
            x, value = known[-1]
            parts.append(
                f'<text x="{x + 6:.1f}" y="{y(value):.1f}" fill="{colour}">{name} {value:.3g} ms</text>'
            )
    parts.append(
        f'<text x="{left}" y="{height - 10}" fill="#555">connections; bars: requests/s '
        f"(dark: the knee); lines: milliseconds, logarithmic</text></g></svg>"
    )
    return "\n".join(parts) + "\n"


def _quantile(one: Level, name: str) -> float:
    known = {"p50": one.p50, "p99": one.p99, "p99.9": one.p999}
    # A quantile that is not on the curve is bounded by the next higher one that is.
    share = float(name.removeprefix("p")) / 100
    return next(
        (value for key, value in known.items() if float(key[1:]) / 100 >= share - 1e-12),
        one.largest,
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
