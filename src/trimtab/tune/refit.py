"""A champion's estimator fitted anew, with its own parameters and without a search.

Chances are those of the classes asked for, in their order; a class that the fitted rows lack has 0.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import PipelineError, UndecidedError
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features
from trimtab.tune.study import outcomes

Floats = NDArray[np.float64]
FOLDS: Final = 3


class Refit:
    """How to fit a champion's estimator again; raises UndecidedError where that cannot be done."""

    def __init__(self, champion: Candidate, classes: tuple[Any, ...] | None = None) -> None:
        self.champion = champion
        self.task = champion.task
        self.classes = list(champion.classes if classes is None else classes)
        _check(champion.estimator)

    def given(self, rows: pl.DataFrame) -> NDArray[Any]:
        """The labels of rows (n,): places in `classes`, or numbers."""
        known = outcomes(rows[self.champion.fit_on], self.task)
        if self.task == "regression":
            return known
        places = {value: place for place, value in enumerate(self.classes)}
        return np.array([places[value] for value in known.tolist()], dtype=np.int64)

    def fit(self, rows: pl.DataFrame) -> Any:
        """A new estimator fitted on rows; raises PipelineError."""
        from sklearn.base import clone  # noqa: PLC0415 - heavy

        made = clone(self.champion.estimator)
        truth = outcomes(rows[self.champion.fit_on], self.task)
        try:
            return made.fit(features(rows, self.champion.features), truth)
        except Exception as error:  # a user's estimator may raise anything
            raise PipelineError(
                f"fitting the champion's estimator anew failed: {type(error).__name__}: {error}"
            ) from error

    def predict(self, model: Any, rows: pl.DataFrame) -> Floats:
        """Chances (n, classes), or predictions (n, 1) of a regression; raises PipelineError."""
        table = features(rows, self.champion.features)
        try:
            if self.task == "regression":
                return np.asarray(model.predict(table), dtype=np.float64).reshape(-1, 1)
            raw = np.asarray(model.predict_proba(table), dtype=np.float64)
            known = np.asarray(model.classes_).tolist()
        except Exception as error:  # a user's estimator may raise anything
            raise PipelineError(
                f"the champion's estimator cannot answer the batch: {type(error).__name__}: {error}"
            ) from error
        found = np.zeros((rows.height, len(self.classes)))
        for column, value in enumerate(known):
            found[:, self.classes.index(value)] = raw[:, column]
        return found

    def crossed(
        self, rows: pl.DataFrame, fold: NDArray[np.int64], beside: pl.DataFrame | None = None
    ) -> Floats:
        """Answers to rows by models that have not seen their fold, but all of `beside`."""
        found = np.zeros((rows.height, max(len(self.classes), 1)))
        for number in range(FOLDS):
            out = fold == number
            rest = rows.filter(pl.Series(~out))
            model = self.fit(rest if beside is None else pl.concat([beside, rest]))
            found[out] = self.predict(model, rows.filter(pl.Series(out)))
        return found

    def folds(self, rows: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """A fold for each row (n,), stratified by class."""
        draw = np.random.default_rng(seed)
        given = self.given(rows) if self.task != "regression" else np.zeros(rows.height)
        order = np.lexsort((draw.random(rows.height), given))
        fold = np.empty(rows.height, dtype=np.int64)
        fold[order] = np.arange(rows.height) % FOLDS
        return fold

    def ordered(self, answers: Floats, given: NDArray[Any], fold: NDArray[np.int64]) -> Floats:
        """Chances (n, classes) moved to fit labels of other folds, in the order that they have."""
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - heavy

        found = np.zeros_like(answers)
        for number in range(FOLDS):
            out = fold == number
            for place in range(answers.shape[1]):
                made = IsotonicRegression(out_of_bounds="clip")
                made.fit(answers[~out, place], (given[~out] == place).astype(np.float64))
                found[out, place] = made.predict(answers[out, place])
        total = found.sum(axis=1, keepdims=True)
        return np.where(total > 0, found / np.maximum(total, 1e-12), answers)

    def loss(self, answers: Floats, given: NDArray[Any]) -> Floats:
        """The loss of each row (n,): Brier's of the chances, or the squared error."""
        if self.task == "regression":
            return (answers[:, 0] - given) ** 2
        truth = np.zeros_like(answers)
        truth[np.arange(len(given)), given] = 1.0
        return ((answers - truth) ** 2).sum(axis=1)


def _check(estimator: Any) -> None:
    from sklearn.base import is_regressor  # noqa: PLC0415 - heavy

    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        raise UndecidedError(
            f"the champion is a {type(estimator).__name__}, which cannot be fitted anew",
            hint="return search(...) from the flow to have batches measured by effect",
        )
    if not hasattr(estimator, "predict_proba") and not is_regressor(estimator):
        raise UndecidedError(f"{type(estimator).__name__} gives no chances to compare")
