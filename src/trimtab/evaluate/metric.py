"""A metric: what it is called, which tables it measures, and how it gets its interval.

`proportion`, `mean` and `smooth` make a metric from a few lines; a plug-in may also bring its own
`compute`. A metric made from rows or influences gets paired gains and sequential intervals for
free, any other gets paired gains by bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trimtab.errors import UndecidedError
from trimtab.evaluate import intervals, observe
from trimtab.evaluate.estimate import Estimate, Linear, Linearise, Observe, finite
from trimtab.evaluate.scored import TASKS, Floats, Scored, Task

Direction = Literal["up", "down", "none"]
Compute = Callable[[Scored, float], Estimate]
ANY_NUMBER = (-math.inf, math.inf)
SHARE = (0.0, 1.0)
_ROUNDING = 1e-12
_BOUNDS: dict[intervals.Scale, tuple[float, float]] = {
    "identity": ANY_NUMBER,
    "logit": SHARE,
    "log": (0.0, math.inf),
    "log1m": (-math.inf, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measurement of a scored table.

    `compute(scored, level)` returns an `Estimate`, or raises UndecidedError where the rows do not
    define the metric. `direction` says which way is better ("none" where neither is). `bounds`
    enclose every possible value. `observe` gives rows whose mean is the metric, `linearise` its
    linear form on `scale`; `is_share` marks rows that are 0 or 1. `is_certain` marks a count, which
    no sampling blurs.
    """

    name: str
    about: str
    compute: Compute
    tasks: tuple[Task, ...] = TASKS
    direction: Direction = "up"
    bounds: tuple[float, float] = ANY_NUMBER
    needs_labels: bool = True
    needs_score: bool = False
    is_share: bool = False
    is_certain: bool = False
    observe: Observe | None = None
    linearise: Linearise | None = None
    scale: intervals.Scale = "identity"

    def can_measure(self, scored: Scored) -> bool:
        """Whether the table has the task, truth and scores that this reads."""
        return (
            scored.task in self.tasks
            and (scored.truth is not None or not self.needs_labels)
            and (scored.score is not None or not self.needs_score)
        )

    def at_edge(self, value: float) -> bool:
        """Whether a value is, up to rounding, one of the bounds: nothing varies around it."""
        return snapped(value, self.bounds) in self.bounds


def proportion(
    name: str,
    about: str,
    rows: Observe,
    *,
    tasks: tuple[Task, ...],
    direction: Direction = "up",
    needs_labels: bool = True,
) -> Metric:
    """A metric that is the share of rows that are 1, with a Wilson interval."""

    def compute(scored: Scored, level: float) -> Estimate:
        values = counted(rows(scored))
        value, n = float(values.mean()), len(values)
        lo, hi = intervals.wilson(value, n, intervals.normal_factor(level))
        return Estimate(value=value, lo=lo, hi=hi, n=n, method="wilson")

    return Metric(
        name=name,
        about=about,
        compute=compute,
        tasks=tasks,
        direction=direction,
        bounds=SHARE,
        needs_labels=needs_labels,
        is_share=True,
        observe=rows,
        linearise=_from_rows(rows),
    )


def mean(
    name: str,
    about: str,
    rows: Observe,
    *,
    tasks: tuple[Task, ...],
    direction: Direction = "down",
    bounds: tuple[float, float] = (0.0, math.inf),
) -> Metric:
    """A metric that is the mean of its rows, with a Student interval.

    One that is never negative has its sequential interval on the log scale: losses are skewed, and
    there the normal limit is nearer.
    """

    def compute(scored: Scored, level: float) -> Estimate:
        values = counted(rows(scored), at_least=2)
        lo, hi = mean_interval(values, level, bounds)
        value = min(max(float(values.mean()), lo), hi)
        return Estimate(value=value, lo=lo, hi=hi, n=len(values), method="student-t")

    return Metric(
        name=name,
        about=about,
        compute=compute,
        tasks=tasks,
        direction=direction,
        bounds=bounds,
        needs_score=True,
        observe=rows,
        linearise=_from_rows(rows),
        scale="log" if bounds[0] == 0 else "identity",
    )


def smooth(
    name: str,
    about: str,
    linearise: Linearise,
    scale: intervals.Scale,
    method: str,
    *,
    tasks: tuple[Task, ...],
    direction: Direction = "up",
    needs_score: bool = True,
) -> Metric:
    """A metric with a linear form, and a normal interval made on `scale`."""

    def compute(scored: Scored, level: float) -> Estimate:
        if not scored.rows:
            raise UndecidedError("there are no rows")
        found = linearise(scored)
        value = snapped(found.value, bounds)
        lo, hi = smooth_interval(found, intervals.normal_factor(level), scale)
        return Estimate(value=value, lo=lo, hi=hi, n=scored.rows, method=method)

    bounds = _BOUNDS[scale]
    return Metric(
        name=name,
        about=about,
        compute=compute,
        tasks=tasks,
        direction=direction,
        bounds=bounds,
        needs_score=needs_score,
        linearise=linearise,
        scale=scale,
    )


def counted(values: Floats, at_least: int = 1) -> Floats:
    """The rows that count; raises UndecidedError where there are too few."""
    kept = values[~np.isnan(values)]
    if len(kept) < at_least:
        raise UndecidedError(f"{len(kept)} of {len(values)} rows count, it needs {at_least}")
    return kept


def mean_interval(values: Floats, level: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """A Student interval of the mean of >= 2 values, kept inside `bounds`.

    Values that are all equal show no spread. Between finite bounds they then count as the most
    widely spread values of the same mean would: that interval is too wide, never too narrow.
    """
    n, value = len(values), float(values.mean())
    lowest, highest = bounds
    error = float(values.std(ddof=1)) / math.sqrt(n)
    is_flat = float(np.ptp(values)) <= _ROUNDING * abs(value)
    if is_flat and math.isfinite(lowest) and math.isfinite(highest):
        span = highest - lowest
        share = min(max((value - lowest) / span, 0.0), 1.0)
        lo, hi = intervals.wilson(share, n, intervals.normal_factor(level))
        return min(lowest + span * lo, value), max(lowest + span * hi, value)
    half = intervals.student_factor(level, n) * error
    return finite(max(lowest, value - half)), finite(min(highest, value + half))


def smooth_interval(found: Linear, factor: float, scale: intervals.Scale) -> tuple[float, float]:
    """The interval of a linear form on `scale`.

    At the edge of [0, 1], and where nothing varies, a share of `found.units` gives the interval:
    a perfect area over 12 positives is known no better than 12 successes in 12.
    """
    value, error = snapped(found.value, _BOUNDS[scale]), found.error
    is_edge = value in _BOUNDS[scale]
    if scale == "logit" and (is_edge or error <= _ROUNDING):
        return intervals.wilson(value, found.units, factor)
    if is_edge:
        return value, value
    lo, hi = intervals.transformed(value, error, factor, scale)
    return min(lo, value), max(hi, value)


def snapped(value: float, bounds: tuple[float, float]) -> float:
    """The bound that a value equals up to rounding, else the value."""
    lowest, highest = bounds
    if value <= lowest + _ROUNDING:
        return lowest
    return highest if value >= highest - _ROUNDING else value


def _from_rows(rows: Observe) -> Linearise:
    def linearise(scored: Scored) -> Linear:
        values = rows(scored)
        counted(values)
        return observe.linear(values)

    return linearise
