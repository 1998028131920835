"""Estimators for a table that brings none of its own, with their preparation inside."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from trimtab.errors import NotFoundError
from trimtab.tune.candidate import Kind, Task

NAMES: Final = ("linear", "boosting", "bayes")
"""`linear` learns by stochastic gradient and `bayes` by counting: both can learn on, row by row."""
_MOST_WORDS: Final = 50


def make(name: str, features: Mapping[str, Kind], task: Task, seed: int = 0) -> Any:
    """An unfitted pipeline for these columns; raises NotFoundError for an unknown name."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise NotFoundError(
            f"there is no estimator {name!r}" + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"known: {', '.join(NAMES)}, or MODULE:FACTORY of your own",
        )
    # scikit-learn is heavy and needed only where a model is made.
    from sklearn.compose import make_column_transformer  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    numbers = [column for column, kind in features.items() if kind != "text"]
    words = [column for column, kind in features.items() if kind == "text"]
    # boosting takes gaps as they are, but no column that is one whole gap for a while
    kept = SimpleImputer(strategy="median", keep_empty_features=True)
    if name != "boosting":
        kept = make_pipeline(kept, StandardScaler())
    coded = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=_MOST_WORDS, sparse_output=False
    )
    parts = [one for one in ((kept, numbers), (coded, words)) if one[1]]
    return make_pipeline(make_column_transformer(*parts), _learner(name, task, seed))


def _learner(name: str, task: Task, seed: int) -> Any:
    # scikit-learn is heavy and needed only where a model is made.
    from sklearn.ensemble import (  # noqa: PLC0415
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    from sklearn.linear_model import SGDClassifier, SGDRegressor  # noqa: PLC0415
    from sklearn.naive_bayes import GaussianNB  # noqa: PLC0415

    if task == "regression":
        if name == "boosting":
            return HistGradientBoostingRegressor(random_state=seed)
        if name == "bayes":
            raise NotFoundError(
                "the estimator 'bayes' is for classes, and the target has numbers",
                hint="--estimator linear or boosting",
            )
        return SGDRegressor(learning_rate="constant", eta0=0.001, random_state=seed)
    if name == "boosting":
        return HistGradientBoostingClassifier(random_state=seed)
    if name == "bayes":
        return GaussianNB(var_smoothing=1e-6)
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=seed)
