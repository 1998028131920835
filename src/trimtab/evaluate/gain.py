"""How much better a candidate is than another model on the same rows, with an interval.

The difference is signed so that positive is better, and it is paired: what makes a row hard makes
it hard for both models, and cancels.
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.errors import UndecidedError, UsageError
from trimtab.evaluate import intervals
from trimtab.evaluate.estimate import Estimate, Linear, finite
from trimtab.evaluate.fairness import union_gap
from trimtab.evaluate.metric import Metric, counted
from trimtab.evaluate.policy import bonferroni
from trimtab.evaluate.resample import bootstrap
from trimtab.evaluate.scored import Floats, Scored


def gain(metric: Metric, scored: Scored, other: Scored, level: float) -> Estimate:
    """Candidate against `other` on the same rows; raises UndecidedError.

    Means of rows: Student on the differences, with one extra row at each end of their range where
    it is finite (for shares the interval of Bonett & Price, 2012), so that few rows that all agree
    do not look certain. Other linear forms: the variance of the difference of influences, for
    roc_auc the paired test of DeLong et al. (1988). Any other metric: paired bootstrap.
    """
    sign = sign_of(metric)
    rows = paired_rows(metric, scored, other)
    if rows is not None:
        return _from_rows(sign * rows, metric, level)
    if metric.linearise is None:
        return _resampled(metric, scored, other, level)
    ours, theirs = metric.linearise(scored), metric.linearise(other)
    return _from_linear(metric, (scored, other), (ours, theirs), level)


def sign_of(metric: Metric) -> int:
    """1 where higher is better, -1 where lower is; raises UsageError where neither is."""
    if metric.direction == "none":
        raise UsageError(f"{metric.name} has no better direction, so nothing gains in it")
    return 1 if metric.direction == "up" else -1


def paired_rows(metric: Metric, scored: Scored, other: Scored) -> Floats | None:
    """Candidate minus other by row (n,); None where the metric counts other rows for each."""
    if metric.observe is None:
        return None
    ours, theirs = metric.observe(scored), metric.observe(other)
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return None
    difference: Floats = ours - theirs
    return difference


def paired_linear(metric: Metric, ours: Linear, theirs: Linear) -> Linear:
    """The gain of two linear forms on the same rows as one linear form."""
    sign = sign_of(metric)
    return Linear(
        sign * (ours.value - theirs.value),
        sign * (ours.influence - theirs.influence),
        min(ours.units, theirs.units),
    )


def _from_rows(rows: Floats, metric: Metric, level: float) -> Estimate:
    values = counted(rows, at_least=2)
    value, span = float(values.mean()), metric.bounds[1] - metric.bounds[0]
    padded = np.r_[values, -span, span] if math.isfinite(span) else values
    half = intervals.student_factor(level, len(padded)) * padded.std(ddof=1) / len(padded) ** 0.5
    lo = max(float(padded.mean() - half), -span)
    hi = min(float(padded.mean() + half), span)
    return Estimate(
        value=value,
        lo=finite(min(lo, value)),
        hi=finite(max(hi, value)),
        n=len(values),
        method="paired-student-t",
    )


def _from_linear(
    metric: Metric, tables: tuple[Scored, Scored], forms: tuple[Linear, Linear], level: float
) -> Estimate:
    (scored, other), (ours, theirs) = tables, forms
    both = paired_linear(metric, ours, theirs)
    at_edge = metric.at_edge(ours.value) or metric.at_edge(theirs.value)
    if both.value and (at_edge or not both.error):
        # A perfect score shows no variance of its own: allow all that both intervals allow.
        each = bonferroni(level, 2)
        a, b = metric.compute(scored, each), metric.compute(other, each)
        lo, hi = union_gap(a, b) if metric.direction == "up" else union_gap(b, a)
        return Estimate(value=both.value, lo=lo, hi=hi, n=scored.rows, method="union")
    half = intervals.normal_factor(level) * both.error
    span = metric.bounds[1] - metric.bounds[0]
    lo, hi = max(both.value - half, -span), min(both.value + half, span)
    return Estimate(
        value=both.value, lo=finite(lo), hi=finite(hi), n=scored.rows, method="paired-influence"
    )


def _resampled(metric: Metric, scored: Scored, other: Scored, level: float) -> Estimate:
    sign = sign_of(metric)

    def difference(index: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
        ours, theirs = scored.take(index), other.take(index)
        return sign * (metric.compute(ours, level).value - metric.compute(theirs, level).value)

    if not scored.rows:
        raise UndecidedError("there are no rows")
    value = difference(np.arange(scored.rows))
    lo, hi = bootstrap(difference, scored.rows, level)
    return Estimate(
        value=value, lo=min(lo, value), hi=max(hi, value), n=scored.rows, method="paired-bootstrap"
    )
