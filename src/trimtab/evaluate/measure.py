"""Evidence from a scored table: what the requirements ask, and the default metrics of the task.

Intervals are for one look; `anytime` makes those that hold for many. Endpoint metrics are left to
`serve`, and so is anything that needs a truth, a score, a column or a baseline that is not there:
`judge` then says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from trimtab import ids
from trimtab.config import Requirement
from trimtab.errors import UndecidedError
from trimtab.evaluate import metrics
from trimtab.evaluate.estimate import UNKNOWN, Estimate
from trimtab.evaluate.evidence import About, from_estimate
from trimtab.evaluate.fairness import Kind, disparity
from trimtab.evaluate.gain import gain
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.policy import bonferroni
from trimtab.evaluate.requirements import check_requirements
from trimtab.evaluate.scored import Scored
from trimtab.evaluate.slices import groups
from trimtab.store.records import Evidence, Validity


class Part(NamedTuple):
    """A table to measure: all rows, or one slice, at the level that it gets."""

    scored: Scored
    name: str
    level: float
    details: dict[str, Any]


Estimator = Callable[[Metric, Requirement, Part], Estimate]


def measure(
    scored: Scored,
    requirements: Sequence[Requirement],
    *,
    subject: str,
    window: str,
    run: str = "",
    now: int | None = None,
    level: float = 0.95,
    defaults: bool = True,
) -> list[Evidence]:
    """One evidence row per metric, statistic, slice and level; raises ConfigError.

    Requirements are measured at their own level, which slices of a column share (Bonferroni), and
    with `defaults` the default metrics of the task at `level`. A metric that the rows do not define
    leaves evidence of 0 rows with `details["undefined"]`, the reason.
    """
    check_requirements(requirements, scored.task)
    about = About(subject=subject, window=window, run=run, now=ids.now() if now is None else now)
    usual = metrics.default_metrics(scored.task) if defaults else ()
    found: dict[tuple[str, str, str, float], Evidence] = {}
    for requirement in (*requirements, *(Requirement(metric=m, level=level) for m in usual)):
        metric = metrics.get(requirement.metric)
        if not isinstance(metric, Metric) or not can_measure(metric, scored, requirement):
            continue
        for part in parts(scored, requirement):
            key = (requirement.metric, requirement.statistic, part.name, part.level)
            if key not in found:
                found[key] = measured(
                    metric, requirement, part, about, estimate=_estimate, validity="fixed"
                )
    return list(found.values())


def can_measure(metric: Metric, scored: Scored, requirement: Requirement) -> bool:
    """Whether the table has everything that the requirement reads."""
    other = compared_with(scored, requirement)
    columns = [name for name in (requirement.across, requirement.by) if name]
    return (
        metric.can_measure(scored)
        and all(name in scored.slices for name in columns)
        and (not requirement.better_than or (other is not None and metric.can_measure(other)))
    )


def compared_with(scored: Scored, requirement: Requirement) -> Scored | None:
    """The other model of a gain, on the same rows."""
    return scored.champion if requirement.better_than == "champion" else scored.baseline


def parts(scored: Scored, requirement: Requirement, *, among_all: bool = False) -> Iterator[Part]:
    """All rows at the requirement's level, or the slices of its `by`, which share the level.

    They share it among those that are judged or, with `among_all`, among all.
    """
    if not requirement.by:
        yield Part(scored, "", requirement.level, {})
        return
    found = groups(scored, requirement.by)
    judged = sum(group.is_judged for group in found)
    level = bonferroni(requirement.level, len(found) if among_all else judged)
    for group in found:
        details = {"rows": group.rows, "slices": judged}
        yield Part(scored.take(group.index), group.name, level, details)


def measured(
    metric: Metric,
    requirement: Requirement,
    part: Part,
    about: About,
    *,
    estimate: Estimator,
    validity: Validity,
) -> Evidence:
    """The evidence of one part; an UndecidedError of `estimate` becomes evidence of 0 rows."""
    details = part.details
    try:
        found = estimate(metric, requirement, part)
    except UndecidedError as error:
        found = _undefined(metric, requirement, error.message)
    if part.scored.biased and metric.needs_labels:
        details = {**details, "biased": part.scored.biased}
    return from_estimate(
        found,
        requirement.metric,
        requirement.statistic,
        about,
        level=part.level,
        validity=validity,
        part=part.name,
        details=details,
    )


def _estimate(metric: Metric, requirement: Requirement, part: Part) -> Estimate:
    scored, level = part.scored, part.level
    if requirement.is_fairness:
        kind: Kind = "gap" if requirement.ratio is None else "ratio"
        return disparity(metric, scored, requirement.across, kind, level)
    other = compared_with(scored, requirement)
    if requirement.better_than and other is not None:
        return gain(metric, scored, other, level)
    return metric.compute(scored, level)


def _undefined(metric: Metric, requirement: Requirement, reason: str) -> Estimate:
    lowest, highest = metric.bounds
    if requirement.is_fairness:
        lowest, highest = 0.0, 1.0 if requirement.ratio is not None else highest - lowest
    elif requirement.better_than:
        lowest, highest = lowest - highest, highest - lowest
    lo, hi = max(lowest, -UNKNOWN), min(highest, UNKNOWN)
    details = {"undefined": reason}
    return Estimate(value=max(0.0, lo), lo=lo, hi=hi, n=0, method="none", details=details)
