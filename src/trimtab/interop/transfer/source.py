"""Where runs are read from: one protocol over MLflow's server, folder and database.

A source gives records of `trimtab.interop.mlflow.state` with the ids and locations that they have
there. What it cannot read it passes to `skip`, with a reason, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from trimtab.errors import DataError
from trimtab.interop.mlflow.limits import GREATEST_MS
from trimtab.interop.mlflow.state import (
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.store.series.points import Series

ODD: Final = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
    msgspec.MsgspecError,
)  # fmt: skip
"""What is raised where fields that another tool gives are of other kinds than they should be."""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not carried over: what it is, its name, and why."""

    what: str
    name: str
    reason: str


Skip = Callable[[str, str, str], None]
Owner = TrackedRun | LoggedModel


class Source(Protocol):
    """Runs of another tool. `about` names it; `mark` changes when a run does."""

    about: str

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment, deleted ones too."""
        ...

    def runs(self, experiment: Experiment) -> Iterator[tuple[TrackedRun, str]]:
        """The runs of an experiment, deleted ones too, each with its mark; no points yet."""
        ...

    def keys(self, run: TrackedRun) -> list[str]:
        """The names of a run's series."""
        ...

    def points(self, run: TrackedRun, key: str) -> Iterator[Series]:
        """The points of a series, in parts; times in microseconds."""
        ...

    def models(self, experiment: Experiment) -> Iterator[LoggedModel]:
        """The logged models of an experiment."""
        ...

    def registered(self) -> Iterator[tuple[Registered, list[RegisteredVersion]]]:
        """The registered models and their versions."""
        ...

    def files(self, owner: Owner) -> Iterator[tuple[str, int]]:
        """Path and size of every file that a run or a model has."""
        ...

    def fetch(self, owner: Owner, path: str, into: Path) -> None:
        """Write the bytes of a file to a new one; raises DataError, StorageError."""
        ...

    def traces(self, experiment: Experiment) -> int:
        """How many traces an experiment has: they are not carried."""
        ...

    def close(self) -> None:
        """Give back what is open."""
        ...


def series_of(steps: Sequence[int], times: Sequence[int], values: Any) -> Series:
    """Points as columns, of times in milliseconds; raises DataError for what 64 bits do not hold."""
    try:
        found = np.array(times, dtype=np.int64)
        if len(found) and max(-int(found.min()), int(found.max())) > GREATEST_MS:
            raise DataError(f"a point is dated more than {GREATEST_MS} ms from 1970")
        return Series(
            np.array(steps, dtype=np.int64), found * 1000, np.array(values, dtype=np.float64)
        )
    except (OverflowError, ValueError, TypeError) as error:
        raise DataError(f"a point cannot be read: {error}") from error


def missing(part: Series, have: Series | None) -> Series:
    """The points that are not among those that are there."""
    if have is None or not len(have):
        return part
    return part[~np.isin(_rows(part), _rows(have))]


def _rows(series: Series) -> Any:
    table = np.stack([series.step, series.time, series.bits], axis=1)
    return np.ascontiguousarray(table).view([("", np.int64)] * 3).ravel()
