"""A small loans table and candidates fitted on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features as prepare

FEATURES = {
    "income": "number",
    "debt": "number",
    "years": "number",
    "owner": "boolean",
    "purpose": "text",
    "region": "text",
}
NUMBERS, WORDS = ["income", "debt", "years", "owner"], ["purpose", "region"]


@pytest.fixture(scope="session")
def loans() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    n = 420
    income = rng.lognormal(8, 0.5, n)
    debt = rng.gamma(2.0, 300.0, n)
    purpose = rng.choice(["car", "home", "study"], n)
    risk = (debt / 900) - (income / 4000) + (purpose == "car") + rng.normal(0, 0.5, n)
    return pl.DataFrame(
        {
            "id": [f"a{i}" for i in range(n)],
            "income": pl.Series([None if rng.random() < 0.1 else float(x) for x in income]),
            "debt": debt,
            "years": rng.integers(0, 30, n),
            "owner": rng.random(n) < 0.4,
            "purpose": purpose,
            "region": [None if x == "none" else str(x) for x in rng.choice(["n", "s", "none"], n)],
            "group": rng.choice(["g", "h"], n),
            "repaid": np.where(risk > 0, "no", "yes"),
            "grade": np.digitize(risk, [-0.5, 0.5]),
            "loss": risk * 100,
        }
    )


@pytest.fixture(scope="session")
def prepared() -> Callable[..., Any]:
    """Imputed numbers and one-hot texts in front of a model."""

    def build(model: Any, **encoder: Any) -> Any:
        return make_pipeline(
            make_column_transformer(
                (SimpleImputer(strategy="median"), NUMBERS),
                (OneHotEncoder(handle_unknown="ignore", **encoder), WORDS),
            ),
            model,
        )

    return build


@pytest.fixture(scope="session")
def fit(loans: pl.DataFrame) -> Callable[..., Candidate]:
    """Fit an estimator on the first 320 rows and hold back the others."""

    def build(
        estimator: Any,
        *,
        task: str = "binary",
        target: str = "repaid",
        features: dict[str, str] | None = None,
        rows: pl.DataFrame | None = None,
        threshold: float | None = 0.5,
    ) -> Candidate:
        table = loans if rows is None else rows
        train, withheld = table[:320], table[320:]
        chosen = FEATURES if features is None else features
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(prepare(train, chosen), train[target].to_numpy())
        classes = () if task == "regression" else tuple(np.asarray(estimator.classes_).tolist())
        return Candidate(
            estimator=estimator,
            params={"depth": 3},
            task=task,
            target=target,
            fit_on=target,
            classes=classes,
            positive="yes" if task == "binary" else None,
            threshold=threshold if task == "binary" else None,
            features=chosen,
            train=train,
            withheld=withheld,
            trials=(),
        )

    return build


@pytest.fixture(scope="session")
def logistic(fit: Callable[..., Candidate], prepared: Callable[..., Any]) -> Candidate:
    return fit(prepared(LogisticRegression(max_iter=5000)))
