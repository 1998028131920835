"""A value with its interval, and the linear form that intervals and comparisons are made from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trimtab.evaluate.scored import Floats, Scored

# Stands for "no bound is known": finite, because JSON and some databases cannot carry infinity.
UNKNOWN: Final = sys.float_info.max


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value, its interval [lo, hi], the rows it rests on and how it was made."""

    value: float
    lo: float
    hi: float
    n: int
    method: str
    details: dict[str, Any] = {}


@dataclass(frozen=True)
class Linear:
    """An estimator seen as a mean: `value + mean(influence)` for small changes of the sample.

    `influence` (n,) has mean zero over the rows; its squares give the variance (the influence
    function of Hampel, JASA 1974; the infinitesimal jackknife of Efron, 1982). Two estimators on
    the same rows differ by the mean of the difference of their influences, which is what makes
    paired comparisons exact to first order. `units` counts the independent things behind the value
    (positives, pairs) for an interval where the influence vanishes.
    """

    value: float
    influence: Floats
    units: int

    @property
    def error(self) -> float:
        """The standard error of the value."""
        rows = len(self.influence)
        return float((self.influence @ self.influence) ** 0.5 / rows)


Observe = Callable[[Scored], Floats]
Linearise = Callable[[Scored], Linear]


def finite(value: float) -> float:
    """`value` kept within what JSON can carry."""
    return min(max(float(value), -UNKNOWN), UNKNOWN)
