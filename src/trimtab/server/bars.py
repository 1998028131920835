"""A verdict as a small picture: the interval, the value, and the side of the bound that satisfies."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec

from trimtab.config import Requirement
from trimtab.server import words
from trimtab.store.records import Verdict

WIDTH = 176
_INSET = 4
_MARGIN = 0.12
_LARGEST = sys.float_info.max


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Horizontal places in pixels of a strip `WIDTH` wide.

    `allowed` is the part of the strip that satisfies; `lo`, `hi` and `value` are the measurement,
    `cut_lo` and `cut_hi` say that the interval goes on beyond the strip.
    """

    allowed: tuple[float, float]
    bounds: list[float]
    value: float
    lo: float
    hi: float
    cut_lo: bool
    cut_hi: bool
    label: str


class Scale(msgspec.Struct, frozen=True):
    """The range of values that a requirement's bars share, so that they compare by eye."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands, in pixels, kept on the strip."""
        half = self.high / 2 - self.low / 2  # the whole range may be beyond the largest float
        share = (value / 2 - self.low / 2) / half if half else 0.5
        return round(_INSET + min(max(share, 0.0), 1.0) * (WIDTH - 2 * _INSET), 2)


def scale(requirement: Requirement | None, verdicts: Sequence[Verdict]) -> Scale | None:
    """A scale that shows every bound, value and interval; None where nothing was measured."""
    measured = [one for one in verdicts if _is_drawable(one)]
    bounds = [bound for bound in _bounds(requirement) if math.isfinite(bound)]
    ends = [end for one in measured for end in (one.value, one.lo, one.hi)]
    shown = [end for end in (*ends, *bounds) if end is not None and math.isfinite(end)]
    if not measured or not shown:
        return None
    low, high = min(shown), max(shown)
    margin = (high / 2 - low / 2) * (2 * _MARGIN) or abs(high) * _MARGIN or 1.0
    return Scale(max(low - margin, -_LARGEST), min(high + margin, _LARGEST))


def bar(requirement: Requirement | None, verdict: Verdict | None, on: Scale | None) -> Bar | None:
    """A verdict on a scale; None where there is nothing to draw."""
    if verdict is None or on is None or not _is_drawable(verdict):
        return None
    value = float(verdict.value if verdict.value is not None else math.nan)
    lo = value if verdict.lo is None else verdict.lo
    hi = value if verdict.hi is None else verdict.hi
    low, high = _bounds(requirement)
    return Bar(
        allowed=(on.at(max(low, on.low)), on.at(min(high, on.high))),
        bounds=[on.at(bound) for bound in (low, high) if math.isfinite(bound)],
        value=on.at(value),
        lo=on.at(lo),
        hi=on.at(hi),
        cut_lo=lo < on.low,
        cut_hi=hi > on.high,
        label=f"{verdict.text}: {words.measured(verdict)}, {words.standing(verdict)}",
    )


def _is_drawable(verdict: Verdict) -> bool:
    return verdict.value is not None and math.isfinite(verdict.value)


def _bounds(requirement: Requirement | None) -> tuple[float, float]:
    return requirement.bounds if requirement else (-math.inf, math.inf)
