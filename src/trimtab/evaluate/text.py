"""Evidence as a person reads it: `0.812 [0.795, 0.828] n=2,400`."""

from __future__ import annotations

import math
from typing import Final

from trimtab.store.records import Evidence

_HUGE: Final = 1e300
_MOST_DECIMALS: Final = 8


def render(evidence: Evidence) -> str:
    """Value, interval and rows on one line; the reason where there is no value."""
    undefined = evidence.details.get("undefined")
    if undefined:
        return f"undefined: {undefined}"
    return f"{interval(evidence.value, evidence.lo, evidence.hi)} n={evidence.n:,}"


def interval(value: float, lo: float, hi: float, *bounds: float) -> str:
    """`value [lo, hi]` with two digits of its width, and more where a bound asks for them.

    A number that is not exactly a bound is never written as if it were.
    """
    decimals = _decimals(value, lo, hi)
    while decimals < _MOST_DECIMALS and any(
        x != bound and round(x, decimals) == bound for x in (value, lo, hi) for bound in bounds
    ):
        decimals += 1
    v, a, b = (number(x, decimals) for x in (value, lo, hi))
    return f"{v} [{a}, {b}]"


def number(value: float, decimals: int) -> str:
    """A number with so many decimals; one that stands for no bound is infinite."""
    if abs(value) >= _HUGE:
        return "-inf" if value < 0 else "inf"
    if value and abs(value) >= 1e12:
        return f"{value:.3g}"
    if value and not round(value, decimals):
        return f"{value:.2g}"
    return f"{value:,.{decimals}f}"


def _decimals(value: float, lo: float, hi: float) -> int:
    width = hi / 2 - lo / 2
    if not 0 < width < _HUGE:
        width = abs(value) / 100
    if not 0 < width < _HUGE:
        return 0
    return min(max(1 - math.floor(math.log10(2 * width)), 0), _MOST_DECIMALS)
