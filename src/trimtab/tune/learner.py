"""An estimator that is fitted again and again, and learns on where it can.

A pipeline learns on by its last step; what is before it stays as its first rows fitted it, so that
the last step's inputs keep their meaning.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import PipelineError
from trimtab.tune.candidate import Class, Task


class Answer(NamedTuple):
    """What a model says of N rows: places of classes (or values), and chances [N, classes]."""

    decision: NDArray[Any]
    chance: NDArray[np.float64] | None


class Decide(NamedTuple):
    """Of two classes the one in this place is decided where its chance reaches the threshold."""

    place: int = 1
    threshold: float = 0.5


EVEN: Final = Decide()


class Learner:
    """A fitted estimator among `classes`, those of the whole history in order."""

    def __init__(
        self, estimator: Any, task: Task, classes: Sequence[Class], decide: Decide = EVEN
    ) -> None:
        self.estimator = estimator
        self.task = task
        self.classes = list(classes)
        self.decide = decide

    def copy(self) -> Learner:
        """Another one that learns on without changing this one."""
        return Learner(copy.deepcopy(self.estimator), self.task, self.classes, self.decide)

    def learn(self, table: pl.DataFrame, labels: NDArray[Any]) -> None:
        """Take rows in; raises PipelineError where the estimator fails."""
        before, last = _parts(self.estimator)
        known = {} if self.task == "regression" else {"classes": np.array(self.classes)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an unknown category is expected here
                rows = before.transform(table) if before is not None else table
                last.partial_fit(rows, labels, **({} if hasattr(last, "classes_") else known))
        except Exception as error:  # a user's estimator may raise anything
            raise _failed("learning on", last, error) from error

    def answer(self, table: pl.DataFrame) -> Answer:
        """Decisions and chances; a class that the estimator never saw has no chance."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an unknown category is expected here
                if self.task == "regression":
                    values = np.asarray(self.estimator.predict(table), dtype=np.float64)
                    return Answer(values.reshape(-1), None)
                if not has_chances(self.estimator):
                    return Answer(self._places(self.estimator.predict(table)), None)
                chance = np.asarray(self.estimator.predict_proba(table), dtype=np.float64)
        except Exception as error:  # a user's estimator may raise anything
            raise _failed("asking", self.estimator, error) from error
        spread = np.zeros((len(chance), len(self.classes)))
        spread[:, self._places(self.estimator.classes_)] = chance
        if self.task != "binary":
            return Answer(spread.argmax(axis=1), spread)
        place, threshold = self.decide
        return Answer(np.where(spread[:, place] >= threshold, place, 1 - place), spread)

    def _places(self, labels: Any) -> NDArray[np.int64]:
        return np.searchsorted(np.array(self.classes), np.asarray(labels)).astype(np.int64)


def fit(
    template: Any,
    table: pl.DataFrame,
    labels: NDArray[Any],
    task: Task,
    classes: Sequence[Class],
    decide: Decide = EVEN,
) -> Learner:
    """A learner on these rows; the template itself is not changed. Raises PipelineError."""
    # scikit-learn is heavy and needed only where a model is fitted.
    from sklearn.base import clone  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that did not converge shows in its loss
            made = clone(template).fit(table, labels)
    except Exception as error:  # a user's estimator may raise anything
        raise _failed("fitting", template, error) from error
    return Learner(made, task, classes, decide)


def seeded(template: Any, seed: int) -> Any:
    """An unfitted copy whose random states that were left open are `seed`."""
    # scikit-learn is heavy and needed only where a model is fitted.
    from sklearn.base import clone  # noqa: PLC0415

    made = clone(template)
    open_ones = {
        name: seed
        for name, value in made.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    return made.set_params(**open_ones)


def can_learn(estimator: Any) -> bool:
    """Whether it has `partial_fit`, a pipeline by its last step."""
    return hasattr(_parts(estimator)[1], "partial_fit")


def has_chances(estimator: Any) -> bool:
    """Whether it has `predict_proba`."""
    return hasattr(estimator, "predict_proba")


def name_of(estimator: Any) -> str:
    """The kind of estimator that decides, without its preparation."""
    return type(_parts(estimator)[1]).__name__


def _parts(estimator: Any) -> tuple[Any, Any]:
    """The preparation (or None) and the last step."""
    steps = getattr(estimator, "steps", None)
    if not steps:
        return None, estimator
    return (estimator[:-1] if len(steps) > 1 else None), steps[-1][1]


def _failed(doing: str, estimator: Any, error: Exception) -> PipelineError:
    return PipelineError(
        f"{doing} {name_of(estimator)} failed: {type(error).__name__}: {error}",
        hint="try it by itself: an estimator takes the table of features and the target",
    )
