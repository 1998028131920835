"""Operations on runs: find, group, compare and show them."""

from __future__ import annotations

from typing import Any, Final

from trimtab.server import answers
from trimtab.server import requests as asked
from trimtab.server.operation import Operation
from trimtab.track import reports

RUNS_GROUP: Final = Operation(
    name="runs.group",
    method="GET",
    path="/runs/groups",
    summary="Runs in groups that share the values of fields, with numbers of each.",
    request=asked.RunGroups,
    response=reports.Groups,
    handler="finding:group",
)
RUNS_IMPORTANCE: Final = Operation(
    name="runs.importance",
    method="GET",
    path="/runs/importance",
    summary="Which params explain the differences in a metric.",
    request=asked.Explained,
    response=reports.Importance,
    handler="finding:importance",
)
RUNS_DIFF: Final = Operation(
    name="runs.diff",
    method="GET",
    path="/runs/{before}/diff/{after}",
    summary="What differs between two runs: params, metrics, code, environment, data.",
    request=asked.TwoRuns,
    response=reports.RunDiff,
    handler="finding:diff",
)
RUNS_LS: Final = Operation(
    name="runs.ls",
    method="GET",
    path="/runs",
    summary="Runs that a filter keeps, in order, a page at a time.",
    request=asked.RunFilter,
    response=answers.Runs,
    handler="runs:ls",
)
RUNS_SHOW: Final = Operation(
    name="runs.show",
    method="GET",
    path="/runs/{id}",
    summary="A run: parameters, last metrics, inputs, outputs, the runs inside it.",
    request=asked.Identified,
    response=answers.RunShown,
    handler="runs:show",
)
RUNS_METRICS: Final = Operation(
    name="runs.metrics",
    method="GET",
    path="/runs/{id}/metrics",
    summary="The metric series of a run.",
    request=asked.SeriesFilter,
    response=answers.RunMetrics,
    handler="runs:metrics",
)

TABLE: Final[tuple[Operation[Any, Any], ...]] = (
    # before runs.show, whose address has room for any word
    RUNS_GROUP,
    RUNS_IMPORTANCE,
    RUNS_LS,
    RUNS_SHOW,
    RUNS_METRICS,
    RUNS_DIFF,
)
