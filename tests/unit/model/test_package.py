import numpy as np
import onnx
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from trimtab.errors import ModelError, RefusedError
from trimtab.model import describe, golden
from trimtab.model.digest import folder_digest
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.model.signature import Column, Signature
from trimtab.tune.frames import features as prepare

NUMBERS, WORDS = ["income", "debt", "years", "owner"], ["purpose", "region"]


def arrays(model, rows):
    """What serving would feed: prepared columns as arrays."""
    return {
        c.name: np.array(rows[c.name].to_list(), dtype=object if c.kind == "text" else float)
        for c in model.signature.inputs
    }


def with_unknown(rows):
    """The rows with a category that training never saw."""
    return rows.with_columns(pl.lit("boat").alias("purpose"))


BINARY = {
    "logistic regression": LogisticRegression(max_iter=5000),
    "random forest": RandomForestClassifier(20, max_depth=6, random_state=0),
    "extra trees": ExtraTreesClassifier(20, max_depth=6, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BINARY)
def test_an_onnx_package_answers_as_its_estimator(name, fit, prepared, tmp_path):
    candidate = fit(prepared(BINARY[name]))
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert made.parity.flips == 0
    assert made.parity.max_difference < 1e-6
    assert made.parity.rows > 300

    model = load(tmp_path / "model")
    rows = prepare(with_unknown(candidate.withheld), candidate.features)
    outputs = model.predict(arrays(model, rows))
    column = list(candidate.estimator.classes_).index("yes")
    expected = candidate.estimator.predict_proba(rows)[:, column]
    np.testing.assert_allclose(outputs.score, expected, atol=1e-6)
    assert outputs.decision == ["yes" if p >= 0.5 else "no" for p in expected]


def boosted(model=HistGradientBoostingClassifier, **settings):
    return make_pipeline(
        make_column_transformer(
            ("passthrough", NUMBERS),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        ),
        model(max_iter=15, random_state=0, **settings),
    )


def test_histogram_boosting_keeps_its_own_handling_of_missing_numbers(fit, tmp_path):
    candidate = fit(boosted())
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert made.parity.max_difference < 1e-6
    assert next(c for c in made.signature.inputs if c.name == "income").nullable


@pytest.mark.slow
def test_multiclass_scores_come_in_the_order_of_the_classes(fit, prepared, tmp_path):
    forest = RandomForestClassifier(15, max_depth=5, random_state=0)
    candidate = fit(prepared(forest), task="multiclass", target="grade")
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert made.signature.classes == (0, 1, 2)
    model = load(tmp_path / "model")
    rows = prepare(candidate.withheld, candidate.features)
    outputs = model.predict(arrays(model, rows))
    expected = candidate.estimator.predict_proba(rows)
    np.testing.assert_allclose(outputs.score, expected, atol=1e-6)
    assert outputs.decision == candidate.estimator.predict(rows).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [RandomForestRegressor(15, max_depth=5, random_state=0), Ridge()],
    ids=["random forest", "ridge"],
)
def test_a_regression_gives_values(model, fit, prepared, tmp_path):
    candidate = fit(prepared(model), task="regression", target="loss")
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert made.signature.classes == ()
    loaded = load(tmp_path / "model")
    rows = prepare(candidate.withheld, candidate.features)
    outputs = loaded.predict(arrays(loaded, rows))
    np.testing.assert_allclose(outputs.score, candidate.estimator.predict(rows), rtol=1e-4)
    assert outputs.decision == pytest.approx(outputs.score.tolist())
    # Golden rows far outside of the training data must not widen what counts as near.
    usual = candidate.estimator.predict(prepare(candidate.train, candidate.features)).std()
    assert made.parity.scale == pytest.approx(usual)


def test_histogram_boosting_regression_on_numbers_alone(fit, tmp_path):
    features = {"income": "number", "debt": "number"}
    model = HistGradientBoostingRegressor(max_iter=15, random_state=0)
    candidate = fit(model, task="regression", target="loss", features=features)
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert [c.name for c in made.signature.inputs] == ["income", "debt"]


def test_categorical_splits_are_not_trusted_to_onnx(fit, tmp_path):
    ordinal = make_column_transformer(
        ("passthrough", NUMBERS),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), WORDS),
    )
    trap = HistGradientBoostingClassifier(max_iter=15, categorical_features=[4, 5], random_state=0)
    made = package(fit(make_pipeline(ordinal, trap)), out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert "categorical_features" in made.signature.reason
    assert made.parity.flips == 0


@pytest.mark.slow
def test_an_imputer_of_texts_that_cannot_convert_is_served_by_skops(fit, tmp_path):
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    estimator = make_pipeline(
        make_column_transformer((SimpleImputer(), NUMBERS), (texts, WORDS)),
        LogisticRegression(max_iter=5000),
    )
    candidate = fit(estimator)
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert "cannot be converted" in made.signature.reason
    model = load(tmp_path / "model")
    rows = prepare(candidate.withheld, candidate.features)
    outputs = model.predict(arrays(model, rows))
    np.testing.assert_allclose(
        outputs.score, candidate.estimator.predict_proba(rows)[:, 1], atol=1e-6
    )


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (SimpleImputer(add_indicator=True), "add_indicator"),
        (FunctionTransformer(np.abs), "FunctionTransformer"),
    ],
    ids=["indicator", "function"],
)
def test_other_traps_say_why_they_are_not_onnx(step, said, fit, tmp_path):
    numbers = make_pipeline(SimpleImputer(), step) if said == "FunctionTransformer" else step
    estimator = make_pipeline(
        make_column_transformer((numbers, NUMBERS)), LogisticRegression(max_iter=5000)
    )
    made = package(fit(estimator), out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert said in made.signature.reason


@pytest.mark.slow
def test_text_vectorisers_are_not_trusted_to_onnx(fit, tmp_path):
    estimator = make_pipeline(
        make_column_transformer((TfidfVectorizer(), "purpose"), (SimpleImputer(), NUMBERS)),
        LogisticRegression(max_iter=5000),
    )
    made = package(fit(estimator), out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert "TfidfVectorizer" in made.signature.reason


def test_rows_beyond_float32_fall_back_to_skops(fit, loans, tmp_path):
    """Times in microseconds differ only beyond the 24 bits of a float32."""
    start = 1_700_000_000_000_000
    rows = loans.with_columns(
        (pl.int_range(pl.len()) + start).alias("income"),
        pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(pl.lit("yes"))
        .otherwise(pl.lit("no"))
        .alias("repaid"),
    )
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0)
    candidate = fit(model, rows=rows, features={"income": "number", "debt": "number"})
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert "does not hold" in made.signature.reason
    assert not (tmp_path / "model" / "model.onnx").exists()


def test_a_model_without_probabilities_is_refused_with_a_remedy(fit, prepared, tmp_path):
    with pytest.raises(ModelError, match="gives no probabilities") as caught:
        package(fit(prepared(RidgeClassifier())), out=tmp_path / "model")
    assert "CalibratedClassifierCV" in caught.value.hint


@pytest.mark.slow
def test_a_calibrated_pipeline_is_served(fit, prepared, tmp_path):
    forest = prepared(RandomForestClassifier(5, random_state=0))
    made = package(fit(CalibratedClassifierCV(forest, cv=2)), out=tmp_path / "model")
    assert made.parity.flips == 0


def halve(frame):
    return frame


def test_code_of_the_project_inside_an_estimator_is_refused_by_name(fit, prepared, tmp_path):
    estimator = make_pipeline(FunctionTransformer(halve), prepared(LogisticRegression()))
    with pytest.raises(RefusedError, match="halve"):
        package(fit(estimator), out=tmp_path / "model")


def test_columns_the_estimator_never_reads_are_not_inputs(fit, tmp_path):
    estimator = make_pipeline(
        make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), ["debt"])),
        LogisticRegression(),
    )
    made = package(fit(estimator), out=tmp_path / "model", context=("group", "id"))
    assert [c.name for c in made.signature.inputs] == ["debt"]
    named = {c.name for c in made.signature.context}
    assert named == {"group", "id", "income", "years", "owner", "purpose", "region"}
    assert all(c.nullable for c in made.signature.context)


def test_the_graph_has_packed_inputs_and_one_output(logistic, tmp_path):
    package(logistic, out=tmp_path / "model")
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    assert [x.name for x in graph.input] == ["numbers", "words"]
    assert [x.name for x in graph.output] == ["score"]


def test_columns_may_be_called_like_the_tensors(fit, loans, tmp_path):
    names = {"income": "numbers", "debt": "score", "purpose": "words", "region": "label"}
    rows = loans.rename(names)
    estimator = make_pipeline(
        make_column_transformer(
            (SimpleImputer(), ["score", "numbers"]),
            (OneHotEncoder(handle_unknown="ignore"), ["words", "label"]),
        ),
        LogisticRegression(max_iter=5000),
    )
    features = {"numbers": "number", "score": "number", "words": "text", "label": "text"}
    made = package(fit(estimator, rows=rows, features=features), out=tmp_path / "model")
    assert made.signature.engine == "onnx"
    assert made.parity.max_difference < 1e-6


@pytest.mark.slow
def test_the_same_candidate_gives_the_same_digest(logistic, tmp_path):
    for name in ("one", "two"):
        package(logistic, out=tmp_path / name, profile=b"profile")
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "two")
    package(logistic, out=tmp_path / "three", profile=b"another")
    assert folder_digest(tmp_path / "one") != folder_digest(tmp_path / "three")


def test_a_profile_may_be_made_from_the_packaged_model(logistic, tmp_path):
    package(logistic, out=tmp_path / "m", profile=lambda model: model.signature.task.encode())
    assert (tmp_path / "m" / "reference.profile").read_bytes() == b"binary"


def test_golden_rows_hold_nulls_unknown_categories_and_extremes(logistic, tmp_path):
    package(logistic, out=tmp_path / "model")
    rows = golden.decode((tmp_path / "model" / "golden.json").read_bytes())
    assert len(rows.scores) >= 200
    assert None in rows.columns["income"]
    assert None not in rows.columns["debt"]
    assert any("never seen" in text for text in rows.columns["purpose"])
    assert min(rows.columns["debt"]) < logistic.train["debt"].min()
    assert max(rows.columns["debt"]) > logistic.train["debt"].max()


@pytest.mark.parametrize("height", [1, 30, 199])
def test_a_small_table_has_as_many_golden_rows(height):
    rows = pl.DataFrame({"a": [float(i) for i in range(height)], "w": ["x"] * height})
    signed = Signature(
        task="regression",
        engine="onnx",
        inputs=(Column(name="a", kind="number", lo=0, hi=9), Column(name="w", kind="text")),
    )
    found = describe.golden_rows(signed, rows, rows.clear())
    assert found.height >= (200 if height > 1 else 8)
    assert found[:height].sort("a").equals(rows)
    changed = found[height:].filter(pl.col("w") == describe.UNSEEN)
    assert changed["a"].n_unique() == changed.height


@pytest.mark.slow
def test_an_encoder_that_refuses_unknown_categories_closes_its_columns(fit, tmp_path):
    estimator = make_pipeline(
        make_column_transformer((SimpleImputer(), NUMBERS), (OneHotEncoder(), WORDS)),
        LogisticRegression(max_iter=5000),
    )
    made = package(fit(estimator), out=tmp_path / "model")
    closed = {c.name: c.categories for c in made.signature.inputs if c.closed}
    assert closed == {"purpose": ("car", "home", "study"), "region": ("n", "s")}


def test_a_package_is_not_written_over_another(logistic, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match="not empty"):
        package(logistic, out=tmp_path)
