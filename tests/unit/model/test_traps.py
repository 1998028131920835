"""What is known to change silently on the way to ONNX: each ends in a right answer or a named refusal."""

import contextlib
from dataclasses import replace

import google.protobuf
import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from xgboost import XGBClassifier

from trimtab.errors import ModelError
from trimtab.model import convert
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.tune.frames import features as prepare

NUMBERS, WORDS = ["income", "debt", "years", "owner"], ["purpose", "region"]
PLAIN = dict.fromkeys(NUMBERS, "number")
CATEGORIES = make_column_transformer(
    ("passthrough", NUMBERS),
    (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), WORDS),
)
TEXTS = make_pipeline(
    SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
)
REFUSED = {
    "categorical splits": (
        make_pipeline(
            CATEGORIES,
            HistGradientBoostingClassifier(
                max_iter=15, categorical_features=[4, 5], random_state=0
            ),
        ),
        "categorical_features",
    ),
    "tfidf": (
        make_column_transformer((TfidfVectorizer(), "purpose"), (SimpleImputer(), NUMBERS)),
        "TfidfVectorizer",
    ),
    "counts": (
        make_column_transformer((CountVectorizer(), "purpose"), (SimpleImputer(), NUMBERS)),
        "CountVectorizer",
    ),
    "imputed texts": (
        make_column_transformer((SimpleImputer(), NUMBERS), (TEXTS, WORDS)),
        "cannot be converted",
    ),
    "indicator": (
        make_column_transformer((SimpleImputer(add_indicator=True), NUMBERS)),
        "add_indicator",
    ),
    "infrequent": (
        make_column_transformer(
            (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), WORDS)
        ),
        "infrequent_if_exist",
    ),
}


def right(made, candidate):
    """The package's answers on withheld rows are the estimator's."""
    rows = prepare(candidate.withheld, candidate.features)
    columns = {
        c.name: np.array(rows[c.name].to_list(), dtype=object if c.kind == "text" else float)
        for c in made.signature.inputs
    }
    got = load(made.folder).predict(columns).score
    place = list(candidate.estimator.classes_).index(candidate.positive)
    expected = candidate.estimator.predict_proba(rows)[:, place]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_trap_is_refused_by_name_and_answered_right(name, fit, tmp_path):
    front, said = REFUSED[name]
    whole = front if hasattr(front, "predict_proba") else None
    model = whole or make_pipeline(front, LogisticRegression(max_iter=5000))
    candidate = fit(model)
    made = package(candidate, out=tmp_path / "m")
    assert made.signature.engine == "skops"
    assert said in made.signature.reason
    right(made, candidate)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(n_estimators=20, random_state=0, n_jobs=1),
        LGBMClassifier(n_estimators=20, random_state=0, n_jobs=1, verbose=-1),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
    ],
    ids=["xgboost", "lightgbm", "histogram"],
)
def test_a_scaler_before_boosting_answers_right(model, fit, loans, tmp_path):
    rows = loans.with_columns((loans["repaid"] == "yes").cast(int).alias("paid"))
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), model)
    candidate = fit(pipeline, rows=rows, target="paid", features=PLAIN)
    candidate = replace(candidate, positive=1)
    made = package(candidate, out=tmp_path / "m")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.above == 0.0
    right(made, candidate)


def test_protobuf_that_takes_no_boolean_for_an_integer_still_converts_boosting(
    fit, monkeypatch, tmp_path
):
    """Since protobuf 7 a boolean is no integer; histogram boosting has such attributes."""
    candidate = fit(HistGradientBoostingClassifier(max_iter=10, random_state=0), features=PLAIN)
    made = package(candidate, out=tmp_path / "m")
    assert made.signature.engine == "onnx"
    right(made, candidate)
    if int(google.protobuf.__version__.split(".")[0]) >= 7:
        monkeypatch.setattr(convert, "_plain_integers", contextlib.nullcontext)
        with pytest.raises(ModelError, match="cannot be converted to ONNX: .*Unable to create"):
            convert.convert(candidate.estimator, PLAIN, task="binary")
