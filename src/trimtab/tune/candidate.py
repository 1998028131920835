"""A candidate: a fitted estimator with all that packaging and judging it need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import polars as pl

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["number", "text", "boolean"]
Class = str | int | bool | float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One tried set of parameters; `score` is the mean over folds, higher is better."""

    number: int
    params: dict[str, Any]
    score: float
    folds: list[float]
    metric: str
    run: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """`features` are the columns given to fit, in order. `train` holds the rows it was fitted on
    and `withheld` those that no trial has seen, both with every column of the source.
    `baseline` is what always guessing gives: {"class": ...} or {"value": ...} with class shares.
    """

    estimator: Any
    params: dict[str, Any]
    task: Task
    target: str
    fit_on: str
    classes: tuple[Class, ...]
    positive: Class | None
    threshold: float | None
    features: dict[str, Kind]
    train: pl.DataFrame
    withheld: pl.DataFrame
    trials: tuple[Trial, ...] = ()
    baseline: dict[str, Any] = field(default_factory=dict)
