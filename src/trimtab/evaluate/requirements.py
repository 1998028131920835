"""Whether requirements can be measured at all, asked before anything is trained."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence

from trimtab.config import Requirement
from trimtab.errors import ConfigError, NotFoundError
from trimtab.evaluate import metrics
from trimtab.evaluate.endpoint import EndpointMetric
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.scored import Task


def check_requirements(
    requirements: Sequence[Requirement], task: Task, *, columns: Collection[str] | None = None
) -> None:
    """Raises ConfigError for the first requirement that could never be satisfied or measured.

    That is an unknown metric, a metric of another task, a statistic that the metric does not have,
    a bound outside of its range or, where `columns` are given, a column that the table lacks.
    """
    for requirement in requirements:
        metric = _metric(requirement, task)
        if isinstance(metric, EndpointMetric):
            _check_endpoint(requirement, metric)
        else:
            _check_table(requirement, metric)
        _check_bounds(requirement, metric)
        for column in (requirement.across, requirement.by):
            if column and columns is not None and column not in columns:
                raise ConfigError(
                    f"{_where(requirement)}: the scored table has no column {column!r}"
                    + _near(column, columns),
                    hint="it has " + (", ".join(sorted(columns)) or "no columns to group by"),
                )


def _metric(requirement: Requirement, task: Task) -> Metric | EndpointMetric:
    known = metrics.names(task)
    try:
        metric = metrics.get(requirement.metric)
    except NotFoundError:
        raise ConfigError(
            f"[require] unknown metric {requirement.metric!r}" + _near(requirement.metric, known),
            hint=f"metrics of a {task} task: {', '.join(known)}",
        ) from None
    if isinstance(metric, Metric) and task not in metric.tasks:
        raise ConfigError(
            f"[require] {requirement.metric} is a metric of {' or '.join(metric.tasks)} tasks, "
            f"this task is {task}",
            hint=f"metrics of a {task} task: {', '.join(known)}",
        )
    return metric


def _check_endpoint(requirement: Requirement, metric: EndpointMetric) -> None:
    where = _where(requirement)
    if requirement.is_fairness or requirement.by or requirement.better_than:
        raise ConfigError(
            f"{where}: it is measured on the endpoint, which has no slices and no baseline"
        )
    if metric.by_quantile and not requirement.quantile:
        raise ConfigError(f"{where} is bounded by a quantile", hint="write { p99 = 20 }")
    if requirement.quantile and not metric.by_quantile:
        raise ConfigError(f"{where} has no quantiles", hint="write { max = 0.02 }")


def _check_table(requirement: Requirement, metric: Metric) -> None:
    where = _where(requirement)
    if requirement.quantile:
        raise ConfigError(f"{where} has no quantiles", hint="write min or max")
    if requirement.better_than and metric.direction == "none":
        raise ConfigError(
            f"{where}: neither more nor less of it is better", hint="write min or max"
        )
    if requirement.ratio is not None and metric.bounds[0] < 0:
        raise ConfigError(
            f"{where} can be negative, so a ratio says nothing", hint="write gap instead of ratio"
        )


def _check_bounds(requirement: Requirement, metric: Metric | EndpointMetric) -> None:
    where, (lowest, highest) = _where(requirement), metric.bounds
    if requirement.ratio is not None and not 0 < requirement.ratio <= 1:
        raise ConfigError(f"{where}: ratio is smallest over largest, it lies in (0, 1]")
    if requirement.gap is not None and requirement.gap < 0:
        raise ConfigError(f"{where}: gap is largest minus smallest, it is never negative")
    for bound in (requirement.min, requirement.max):
        if bound is not None and not (lowest <= bound <= highest and math.isfinite(bound)):
            raise ConfigError(
                f"{where}: {bound:g} lies outside of its range {lowest:g} to {highest:g}"
            )
    if requirement.bounds[0] > requirement.bounds[1]:
        raise ConfigError(f"{where}: min is above max, nothing can satisfy both")


def _where(requirement: Requirement) -> str:
    return f"[require] {requirement.metric}"


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""
