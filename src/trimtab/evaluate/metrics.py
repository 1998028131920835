"""The built-in metrics, registered in the plug-in group "metrics" where strangers add theirs.

docs/metrics.md lists them with their sources.
"""

from __future__ import annotations

from typing import Final

from trimtab import plugins
from trimtab.evaluate import counting, endpoint, observe, ranking, regression
from trimtab.evaluate.endpoint import EndpointMetric
from trimtab.evaluate.estimate import Estimate
from trimtab.evaluate.metric import ANY_NUMBER, Metric, mean, proportion, smooth
from trimtab.evaluate.scored import Scored, Task

_BINARY: Final[tuple[Task, ...]] = ("binary",)
_CLASSES: Final[tuple[Task, ...]] = ("binary", "multiclass")
_MULTICLASS: Final[tuple[Task, ...]] = ("multiclass",)
_NUMBER: Final[tuple[Task, ...]] = ("regression",)

_DEFAULTS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "selection_rate",
        "rows",
    ),
    "multiclass": ("accuracy", "macro_f1", "log_loss", "roc_auc_ovr", "rows"),
    "regression": ("mae", "rmse", "r2", "bias", "rows"),
}


def _count(scored: Scored, _level: float) -> Estimate:
    n = float(scored.rows)
    return Estimate(value=n, lo=n, hi=n, n=scored.rows, method="count")


BUILT_IN: Final = (
    smooth(
        "roc_auc",
        "P(a positive scores above a negative)",
        ranking.roc_auc,
        "logit",
        "delong-logit",
        tasks=_BINARY,
    ),
    smooth(
        "average_precision",
        "mean precision at the scores of the positives",
        ranking.average_precision,
        "logit",
        "influence-logit",
        tasks=_BINARY,
    ),
    proportion("accuracy", "share of right decisions", observe.correct, tasks=_CLASSES),
    mean(
        "log_loss", "minus log probability of the truth, in nats", observe.log_loss, tasks=_CLASSES
    ),
    mean(
        "brier",
        "squared distance of P(positive) from the truth",
        observe.brier,
        tasks=_BINARY,
        bounds=(0.0, 1.0),
    ),
    proportion(
        "precision", "share of positive decisions that are right", observe.precise, tasks=_BINARY
    ),
    proportion("recall", "share of positives that are found", observe.hit, tasks=_BINARY),
    proportion("true_positive_rate", "the same as recall", observe.hit, tasks=_BINARY),
    proportion(
        "false_positive_rate",
        "share of negatives that are decided positive",
        observe.false_alarm,
        tasks=_BINARY,
        direction="down",
    ),
    smooth(
        "f1",
        "2 TP / (2 TP + FP + FN)",
        counting.f1,
        "logit",
        "delta-logit",
        tasks=_BINARY,
        needs_score=False,
    ),
    proportion(
        "selection_rate",
        "share of positive decisions; needs no labels",
        observe.selected,
        tasks=_BINARY,
        direction="none",
        needs_labels=False,
    ),
    smooth(
        "macro_f1",
        "mean F1 over the classes",
        counting.macro_f1,
        "logit",
        "delta-logit",
        tasks=_MULTICLASS,
        needs_score=False,
    ),
    smooth(
        "roc_auc_ovr",
        "mean over classes of the area of class against rest",
        ranking.roc_auc_ovr,
        "logit",
        "delong-logit",
        tasks=_MULTICLASS,
    ),
    mean("mae", "mean absolute error, in the target's unit", observe.absolute_error, tasks=_NUMBER),
    mean("mse", "mean squared error", observe.squared_error, tasks=_NUMBER),
    smooth(
        "rmse",
        "root of the mean squared error, in the target's unit",
        regression.rmse,
        "log",
        "delta-log",
        tasks=_NUMBER,
        direction="down",
    ),
    smooth(
        "r2",
        "1 - mean squared error / variance of the truth",
        regression.r2,
        "log1m",
        "delta-log1m",
        tasks=_NUMBER,
    ),
    mean(
        "bias",
        "mean of prediction minus truth",
        observe.error,
        tasks=_NUMBER,
        direction="none",
        bounds=ANY_NUMBER,
    ),
    Metric(
        name="rows",
        about="number of rows",
        compute=_count,
        direction="none",
        bounds=(0.0, float("inf")),
        needs_labels=False,
        is_certain=True,
    ),
)

for _metric in (*BUILT_IN, *endpoint.BUILT_IN):
    plugins.register("metrics", _metric.name, _metric)


def get(name: str) -> Metric | EndpointMetric:
    """The metric called `name`; raises NotFoundError with the nearest known name."""
    found: Metric | EndpointMetric = plugins.get("metrics", name)
    return found


def names(task: Task | None = None) -> list[str]:
    """The known metrics, sorted; with a task those that it has, endpoint metrics among them."""
    known = plugins.names("metrics")
    return [name for name in known if task is None or _fits(get(name), task)]


def default_metrics(task: Task) -> tuple[str, ...]:
    """The metrics that every evaluation of a task leaves as evidence."""
    return _DEFAULTS[task]


def _fits(metric: Metric | EndpointMetric, task: Task) -> bool:
    return isinstance(metric, EndpointMetric) or task in metric.tasks
