"""Evidence that may be looked at again and again: what rollout and monitor judge by.

The table's rows are in order of arrival and hold everything since counting began; each look
measures the whole table again. Metrics without a sequential interval leave no evidence, and
`judge` then says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.config import Requirement
from trimtab.errors import UndecidedError
from trimtab.evaluate import ends, metrics, sequential
from trimtab.evaluate.ends import Sequences
from trimtab.evaluate.estimate import Estimate, Linear, finite
from trimtab.evaluate.evidence import About
from trimtab.evaluate.fairness import combine, measure_groups, union_gap, union_ratio
from trimtab.evaluate.gain import paired_linear, paired_rows, sign_of
from trimtab.evaluate.measure import Part, can_measure, compared_with, measured, parts
from trimtab.evaluate.metric import Metric, counted, smooth_interval, snapped
from trimtab.evaluate.policy import MIN_ROWS, MIN_UNITS, bonferroni
from trimtab.evaluate.requirements import check_requirements
from trimtab.evaluate.scored import Scored
from trimtab.evaluate.slices import groups
from trimtab.store.records import Evidence


def measure_anytime(
    scored: Scored,
    requirements: Sequence[Requirement],
    *,
    subject: str,
    window: str,
    run: str = "",
    now: int | None = None,
    against: Scored | None = None,
    links: NDArray[np.int64] | None = None,
    exact: bool = False,
    each_end: bool = False,
) -> list[Evidence]:
    """Evidence with `validity="anytime"` for the requirements that allow it; raises ConfigError.

    `against` is the other arm of an experiment, on rows of its own: gains are then measured between
    the arms, otherwise on the rows that `scored` shares with its baseline or champion. `links` names
    for each of our rows the other arm's row of the same request, -1 for none. With `exact` only
    finite-sample intervals are made, which are wider and exist for fewer metrics. With `each_end`
    each end holds at the level by itself (see `ends`), where a requirement has one bound. Slices
    and groups share the level among all that the column has, so that one more judged changes
    nothing.
    """
    check_requirements(requirements, scored.task)
    about = About(subject=subject, window=window, run=run, now=ids.now() if now is None else now)

    def estimate(metric: Metric, requirement: Requirement, part: Part) -> Estimate:
        kind = ends.EACH if each_end and _has_one_bound(requirement) else ends.BOTH
        if requirement.is_fairness:
            return _disparity(metric, requirement, part.scored, part.level, kind, exact=exact)
        if requirement.better_than and against is not None:
            arm = _same_part(against, requirement, part.name)
            same = None if requirement.by else links
            return _between(metric, part.scored, arm, part.level, kind, same, exact=exact)
        other = compared_with(part.scored, requirement)
        if requirement.better_than and other is not None:
            return _paired(metric, part.scored, other, part.level, kind)
        return value(metric, part.scored, part.level, kind, exact=exact)

    found = []
    for requirement in requirements:
        metric = metrics.get(requirement.metric)
        if not isinstance(metric, Metric) or not _has_sequence(metric, requirement, exact=exact):
            continue
        if _is_measurable(metric, scored, requirement, against):
            found += [
                measured(metric, requirement, part, about, estimate=estimate, validity="anytime")
                for part in parts(scored, requirement, among_all=True)
            ]
    return found


def value(
    metric: Metric,
    scored: Scored,
    level: float,
    kind: Sequences = ends.BOTH,
    *,
    exact: bool = False,
) -> Estimate:
    """A metric with an interval that holds at any look; raises UndecidedError.

    Shares by mixture, bounded means by betting, `roc_auc` by pairs where `exact`, everything else
    by the asymptotic sequence of its linear form, on its own scale, from 50 rows on.
    """
    if metric.is_certain:
        return metric.compute(scored, level)
    if metric.observe is not None and _is_bounded(metric):
        values = counted(metric.observe(scored))
        if not metric.is_share:
            mean = kind.mean(values, level, *metric.bounds)
            return _estimate(*mean, "betting")
        lo, hi = kind.share(float(values.sum()), len(values), level)
        return _estimate(float(values.mean()), lo, hi, len(values), "beta-binomial-mixture")
    if exact:
        pairs = sequential.auc_pairs(scored.known_truth, scored.known_score, level)
        if not pairs.n:
            raise UndecidedError("no positive and negative have arrived to compare")
        return _estimate(*pairs, "pairs-mixture")
    found = _linear(metric, scored)
    factor = kind.factor(scored.rows, level)
    lo, hi = smooth_interval(found, factor, metric.scale)
    lo, hi = max(lo, metric.bounds[0]), min(hi, metric.bounds[1])
    return _estimate(snapped(found.value, metric.bounds), lo, hi, scored.rows, "asymptotic")


def _same_part(against: Scored, requirement: Requirement, name: str) -> Scored:
    for part in parts(against, requirement):
        if part.name == name:
            return part.scored
    raise UndecidedError(f"the other arm has no rows of {name}")


def _paired(
    metric: Metric, scored: Scored, other: Scored, level: float, kind: Sequences
) -> Estimate:
    rows = paired_rows(metric, scored, other)
    span = metric.bounds[1] - metric.bounds[0]
    if rows is not None and _is_bounded(metric):
        values = sign_of(metric) * counted(rows)
        mean = kind.mean(values, level, -span, span)
        return _estimate(*mean, "paired-betting")
    ours, theirs = _form(metric, scored), _form(metric, other)
    if ours is None or theirs is None:
        return _union(metric, scored, other, level, kind, exact=False)
    both = paired_linear(metric, ours, theirs)
    half = kind.factor(scored.rows, level) * both.error
    lo, hi = max(both.value - half, -span), min(both.value + half, span)
    return _estimate(both.value, lo, hi, scored.rows, "paired-asymptotic")


def _between(
    metric: Metric,
    scored: Scored,
    other: Scored,
    level: float,
    kind: Sequences,
    links: NDArray[np.int64] | None,
    *,
    exact: bool,
) -> Estimate:
    if exact:
        return _union(metric, scored, other, level, kind, exact=True)
    ours, theirs = _form(metric, scored), _form(metric, other)
    if ours is None or theirs is None:
        return _union(metric, scored, other, level, kind, exact=False)
    a, b, gain = scored.rows, other.rows, sign_of(metric) * (ours.value - theirs.value)
    square = ours.error**2 + theirs.error**2 - _shared(ours, theirs, links)
    half = kind.factor(ends.arms_clock(a, b), level) * math.sqrt(max(square, 0.0))
    span = metric.bounds[1] - metric.bounds[0]
    lo, hi = max(gain - half, -span), min(gain + half, span)
    return _estimate(gain, lo, hi, a + b, "arms-asymptotic")


def _shared(ours: Linear, theirs: Linear, links: NDArray[np.int64] | None) -> float:
    """Twice the covariance of two arms that answered some of the same requests."""
    if links is None:
        return 0.0
    mine = np.flatnonzero(links >= 0)
    products = ours.influence[mine] @ theirs.influence[links[mine]]
    return 2 * float(products) / (len(ours.influence) * len(theirs.influence))


def _union(
    metric: Metric, scored: Scored, other: Scored, level: float, kind: Sequences, *, exact: bool
) -> Estimate:
    each = bonferroni(level, 2)
    ours = value(metric, scored, each, kind, exact=exact)
    theirs = value(metric, other, each, kind, exact=exact)
    pair = (ours, theirs) if sign_of(metric) > 0 else (theirs, ours)
    lo, hi = union_gap(*pair)
    n = scored.rows if scored.rows == other.rows else scored.rows + other.rows
    return _estimate(pair[0].value - pair[1].value, lo, hi, n, "union")


def _disparity(
    metric: Metric,
    requirement: Requirement,
    scored: Scored,
    level: float,
    kind: Sequences,
    *,
    exact: bool,
) -> Estimate:
    """Over all pairs of groups, the small ones among them, since they may grow to be judged."""
    found = groups(scored, requirement.across)
    each = bonferroni(level, math.comb(len(found), 2))

    def measure(part: Scored, at: float) -> Estimate:
        estimate = value(metric, part, bonferroni(at, 2), kind, exact=exact)
        form = None if exact else _form(metric, part)
        if form is None:
            return estimate
        details = {"error": form.error, "rows": part.rows}
        return msgspec.structs.replace(estimate, details=details)

    measured_groups = measure_groups(measure, scored, found, each)
    if requirement.ratio is None:
        return combine(measured_groups, "gap", partial(_pair_gap, each, kind), "pairs-anytime")
    return combine(measured_groups, "ratio", partial(_pair_ratio, each, kind), "pairs-anytime")


def _pair_gap(level: float, kind: Sequences, a: Estimate, b: Estimate) -> tuple[float, float]:
    """Asymptotic where both groups are ample, else all that their own intervals allow together."""
    if not (a.details and b.details):
        return union_gap(a, b)
    half = _pair_factor(level, kind, a, b) * math.hypot(a.details["error"], b.details["error"])
    return finite(a.value - b.value - half), finite(a.value - b.value + half)


def _pair_ratio(level: float, kind: Sequences, a: Estimate, b: Estimate) -> tuple[float, float]:
    if not (a.details and b.details) or a.value <= 0 or b.value <= 0:
        return union_ratio(a, b)
    spread = math.hypot(a.details["error"] / a.value, b.details["error"] / b.value)
    half, ratio = min(_pair_factor(level, kind, a, b) * spread, 700.0), a.value / b.value
    return ratio * math.exp(-half), finite(ratio * math.exp(half))


def _pair_factor(level: float, kind: Sequences, a: Estimate, b: Estimate) -> float:
    return kind.factor(a.details["rows"] + b.details["rows"], level)


def _has_one_bound(requirement: Requirement) -> bool:
    return any(math.isinf(bound) for bound in requirement.bounds)


def _has_sequence(metric: Metric, requirement: Requirement, *, exact: bool) -> bool:
    if metric.is_certain:
        return not requirement.better_than
    finite_sample = _is_bounded(metric) and metric.observe is not None
    if exact:
        return finite_sample or metric.name == "roc_auc"
    return finite_sample or metric.linearise is not None


def _is_measurable(
    metric: Metric, scored: Scored, requirement: Requirement, against: Scored | None
) -> bool:
    if requirement.better_than and against is not None:
        here = (
            not requirement.by or {requirement.by} <= scored.slices.keys() & against.slices.keys()
        )
        return here and metric.can_measure(scored) and metric.can_measure(against)
    return can_measure(metric, scored, requirement)


def _is_bounded(metric: Metric) -> bool:
    return all(math.isfinite(bound) for bound in metric.bounds)


def _form(metric: Metric, scored: Scored) -> Linear | None:
    """The linear form where the normal limit is near; None where only its own sequence will do.

    It is far for shares with few successes or failures, and at the edge of a metric's range.
    """
    if metric.is_share and metric.observe is not None:
        values = counted(metric.observe(scored))
        if min(values.sum(), (1 - values).sum()) < MIN_UNITS:
            return None
    found = _linear(metric, scored)
    return None if metric.at_edge(found.value) else found


def _linear(metric: Metric, scored: Scored) -> Linear:
    if scored.rows < MIN_ROWS:
        raise UndecidedError(f"{scored.rows} rows have arrived, its interval needs {MIN_ROWS}")
    if metric.linearise is None:
        raise UndecidedError(f"{metric.name} has no linear form")
    found = metric.linearise(scored)
    if found.units < MIN_UNITS:
        raise UndecidedError(f"it rests on {found.units} rows, its interval needs {MIN_UNITS}")
    return found


def _estimate(value: float, lo: float, hi: float, n: int, method: str) -> Estimate:
    lo, hi = min(lo, value), max(hi, value)
    return Estimate(value=value, lo=finite(lo), hi=finite(hi), n=n, method=method)
