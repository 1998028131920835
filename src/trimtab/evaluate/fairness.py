"""Disparity of a metric between the groups of a column, with an interval.

`ratio` is the smallest group value over the largest, `gap` the largest minus the smallest. Every
pair of groups gets an interval at a Bonferroni-corrected level; while all of them hold, so does
the interval of the most unequal pair, whichever pair that truly is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any, Literal

import msgspec

from trimtab.errors import UndecidedError
from trimtab.evaluate import intervals
from trimtab.evaluate.estimate import UNKNOWN, Estimate, finite
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.policy import bonferroni
from trimtab.evaluate.scored import Scored
from trimtab.evaluate.slices import Group, groups

Kind = Literal["ratio", "gap"]
Pair = Callable[[Estimate, Estimate], tuple[float, float]]
Measure = Callable[[Scored, float], Estimate]


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The judged groups with their estimates, and those that are only listed."""

    judged: dict[str, Estimate]
    small: dict[str, int]
    unmeasured: dict[str, str]

    @property
    def details(self) -> dict[str, Any]:
        """What evidence keeps of the groups."""
        return {
            "groups": {
                name: {"value": e.value, "lo": e.lo, "hi": e.hi, "n": e.n}
                for name, e in self.judged.items()
            },
            "small": self.small,
            "unmeasured": self.unmeasured,
        }


def disparity(metric: Metric, scored: Scored, column: str, kind: Kind, level: float) -> Estimate:
    """The disparity of `metric` over the groups of `column`; raises UndecidedError.

    Ratios of shares: log interval of Katz et al. (Biometrics 1978), with Walter's half counts
    where a group is all or nothing. Others combine the groups' own intervals: MOVER, Zou & Donner
    (Statistics in Medicine 2008), which for a gap of shares is Newcombe's hybrid score (1998).
    """
    found = groups(scored, column)
    pairs = math.comb(sum(group.is_judged for group in found), 2)
    each = bonferroni(level, pairs)
    measured = measure_groups(metric.compute, scored, found, each)
    if kind == "gap":
        return combine(measured, kind, mover_gap, "mover")
    if not metric.is_share:
        return combine(measured, kind, mover_ratio, "mover-log")
    factor = intervals.normal_factor(each)
    return combine(measured, kind, lambda a, b: katz(a, b, factor), "katz-log")


def measure_groups(measure: Measure, scored: Scored, found: list[Group], level: float) -> Groups:
    """Each judged group measured at `level`, small and undefined ones listed."""
    judged, small, unmeasured = {}, {}, {}
    for group in found:
        if not group.is_judged:
            small[group.value] = group.rows
            continue
        try:
            judged[group.value] = measure(scored.take(group.index), level)
        except UndecidedError as error:
            unmeasured[group.value] = error.message
    return Groups(judged=judged, small=small, unmeasured=unmeasured)


def combine(measured: Groups, kind: Kind, pair: Pair, method: str) -> Estimate:
    """The disparity of measured groups from the interval of each ordered pair."""
    found = measured.judged
    if len(found) < 2:
        listed = ", ".join([*measured.small, *measured.unmeasured]) or "none"
        raise UndecidedError(
            f"{len(found)} group has rows enough to compare, it needs 2 (left out: {listed})"
        )
    smallest, largest = _ends(found)
    if kind == "ratio" and (found[smallest].value < 0 or found[largest].value <= 0):
        raise UndecidedError(
            f"a ratio needs positive values, {largest} is {found[largest].value:g}"
        )
    both = [pair(found[a], found[b]) for a, b in permutations(found, 2)]
    if kind == "ratio":
        value = found[smallest].value / found[largest].value
        lo, hi = min(p[0] for p in both), min(p[1] for p in both)
        lo, hi = max(0.0, min(lo, value)), min(1.0, max(hi, value))
    else:
        value = found[largest].value - found[smallest].value
        lo, hi = max(p[0] for p in both), max(p[1] for p in both)
        lo, hi = max(0.0, min(lo, value)), max(hi, value)
    return Estimate(
        value=value,
        lo=lo,
        hi=hi,
        n=sum(e.n for e in found.values()),
        method=method,
        details={**measured.details, "smallest": smallest, "largest": largest},
    )


def katz(a: Estimate, b: Estimate, factor: float) -> tuple[float, float]:
    """The log interval of a ratio of two independent shares."""
    x, y = round(a.value * a.n), round(b.value * b.n)
    half = 0.5 if x in (0, a.n) or y in (0, b.n) else 0.0
    x_, y_, n, m = x + half, y + half, a.n + half, b.n + half
    centre = math.log(x_ / n) - math.log(y_ / m)
    width = factor * math.sqrt(1 / x_ - 1 / n + 1 / y_ - 1 / m)
    return math.exp(centre - width), math.exp(min(centre + width, 700.0))


def mover_ratio(a: Estimate, b: Estimate) -> tuple[float, float]:
    """The interval of a ratio of two independent positive values from their own intervals."""
    if a.value <= 0 or b.value <= 0:
        return 0.0, finite(a.hi / b.lo) if b.lo > 0 else UNKNOWN
    ratio = a.value / b.value
    down = math.hypot(_log(a.value, a.lo), _log(b.hi, b.value))
    up = math.hypot(_log(a.hi, a.value), _log(b.value, b.lo))
    return ratio * math.exp(-down), finite(ratio * math.exp(min(up, 700.0)))


def mover_gap(a: Estimate, b: Estimate) -> tuple[float, float]:
    """The interval of a difference of two independent values from their own intervals."""
    gap = a.value - b.value
    lo = gap - math.hypot(a.value - a.lo, b.hi - b.value)
    hi = gap + math.hypot(a.hi - a.value, b.value - b.lo)
    return finite(lo), finite(hi)


def union_ratio(a: Estimate, b: Estimate) -> tuple[float, float]:
    """The ratios that two intervals allow together, whatever their dependence."""
    return max(a.lo, 0.0) / b.hi if b.hi > 0 else 0.0, finite(a.hi / b.lo) if b.lo > 0 else UNKNOWN


def union_gap(a: Estimate, b: Estimate) -> tuple[float, float]:
    """The differences that two intervals allow together, whatever their dependence."""
    return finite(a.lo - b.hi), finite(a.hi - b.lo)


def _ends(found: Mapping[str, Estimate]) -> tuple[str, str]:
    ranked = sorted(found, key=lambda name: (found[name].value, name))
    return ranked[0], ranked[-1]


def _log(above: float, below: float) -> float:
    return math.log(above / below) if below > 0 else math.inf
