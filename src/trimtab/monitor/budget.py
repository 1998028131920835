"""The one knob of alarms: false pages per model and month, split over everything that is tested.

A level per test follows from the budget: B * share / ((features + 1) * windows * scales), the one
standing for the dependence test. The union bound makes the sum of all false alarms at most B.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab.errors import UsageError

SHAPE: Final = 0.5
"""The part of a feature's level for its distribution (Anderson-Darling or chi-square)."""
SPIKE: Final = 0.25
"""The part for the largest change of a single cell."""
RATES: Final = 0.25
"""The part for missing, mistyped, infinite, out-of-range and unseen values together."""


_MONTH: Final = 30 * 86_400_000_000


def per_month(span: int) -> float:
    """How many windows of `span` microseconds a month of 30 days has; at least one."""
    return max(_MONTH / span, 1.0)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """False pages that a model may raise in a month on data that did not change.

    `windows_per_month` is how often inputs are judged (30 for daily windows). `scales` merges of
    the last 1, 2, 4, ... windows are judged each time, and for the shape also those between
    (`merges`). `inputs` of the pages go to inputs, the rest to the error detector.
    """

    pages_per_month: float = 0.1
    windows_per_month: float = 30.0
    scales: int = 6
    inputs: float = 0.5

    def __post_init__(self) -> None:
        if self.pages_per_month <= 0 or self.windows_per_month <= 0 or self.scales < 1:
            raise UsageError(
                "a budget needs pages and windows above 0 and at least one scale",
                hint="the default is 0.1 pages and 30 windows a month at 6 scales",
            )
        if not 0 < self.inputs < 1:
            raise UsageError("the inputs' part of a budget lies between 0 and 1")


class Margins(msgspec.Struct, frozen=True, kw_only=True):
    """The least effects worth a word; the lower end of an effect's interval must exceed them.

    `shift` in reference sd (W1), `share` of rows that changed cell, `rate` of broken values,
    `correlation` as a difference. Drift whose lower ends stay under `strong_shift` and
    `strong_share` is a notice, not an alarm.
    """

    shift: float = 0.02
    share: float = 0.01
    rate: float = 0.002
    correlation: float = 0.05
    strong_shift: float = 0.1
    strong_share: float = 0.05


def alpha(budget: Budget, features: int) -> float:
    """The level of one feature in one window at one scale."""
    return (
        budget.pages_per_month
        * budget.inputs
        / ((features + 1) * budget.windows_per_month * budget.scales)
    )


def merges(scales: int) -> tuple[int, ...]:
    """How many of the last windows a shape is judged on together: 1, 2, 3, 4, 6, 8, 12, 16, ...

    The doublings and the halves between them, so that a change is never diluted by more than a
    third of rows from before it, or cut by more than a third of those since.
    """
    doublings = [1 << step for step in range(scales)]
    return tuple(sorted({*doublings, *(3 * one // 2 for one in doublings[1:-1])}))


def shape_level(level: float, scales: int) -> float:
    """The level of a feature's shape at each of `merges`: its part of `level` at all scales, shared
    out among them, so that the union bound over all tests stays what it is.
    """
    return level * SHAPE * scales / len(merges(scales))


def run_length(budget: Budget, rows_per_month: float) -> float:
    """The mean number of labelled rows between false alarms that the error detector must keep."""
    return rows_per_month / (budget.pages_per_month * (1 - budget.inputs))
