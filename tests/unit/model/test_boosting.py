import subprocess
import sys
from dataclasses import replace

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from trimtab.errors import ModelError
from trimtab.model import boosting, native
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features as prepare

NUMBERS, WORDS = ["income", "debt", "years", "owner"], ["purpose", "region"]
PLAIN = dict.fromkeys(NUMBERS, "number")
SMALL = {"n_estimators": 15, "random_state": 0, "n_jobs": 1}
QUIET = SMALL | {"verbose": -1}


@pytest.fixture(scope="module")
def numbered(loans):
    """Classes as XGBoost wants them."""
    return loans.with_columns((loans["repaid"] == "yes").cast(int).alias("paid"))


def scaled(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        make_column_transformer(
            (numbers, NUMBERS),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        ),
        model,
    )


def candidate_of(fit, model, rows, **more):
    found = fit(model, rows=rows, target="paid", **more)
    return replace(found, positive=1)


MODELS = {
    "lightgbm": LGBMClassifier(**QUIET),
    "lightgbm dart": LGBMClassifier(boosting_type="dart", **QUIET),
    "xgboost": XGBClassifier(**SMALL),
}


def test_a_forest_whose_graph_no_runtime_takes_is_served_by_itself(fit, numbered, tmp_path):
    forest = XGBClassifier(
        num_parallel_tree=15, n_estimators=1, subsample=0.8, random_state=0, n_jobs=1
    )
    candidate = candidate_of(fit, forest, numbered, features=PLAIN)
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert "model.onnx cannot be loaded" in made.signature.reason
    assert not (tmp_path / "model" / "model.onnx").exists()
    assert made.parity.flips == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", ["alone", "scaled"])
def test_boosting_becomes_onnx(name, shape, fit, numbered, tmp_path):
    model = MODELS[name] if shape == "alone" else scaled(MODELS[name])
    more = {"features": PLAIN} if shape == "alone" else {}
    candidate = candidate_of(fit, model, numbered, **more)
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.flips == 0
    assert made.parity.max_difference < 1e-5
    rows = prepare(candidate.withheld, candidate.features)
    columns = {
        c.name: np.array(rows[c.name].to_list(), dtype=object if c.kind == "text" else float)
        for c in made.signature.inputs
    }
    got = load(made.folder).predict(columns).score
    np.testing.assert_allclose(got, candidate.estimator.predict_proba(rows)[:, 1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [LGBMRegressor(**QUIET), XGBRegressor(**SMALL)], ids=["lightgbm", "xgboost"]
)
def test_regressions_become_onnx(model, fit, tmp_path):
    made = package(fit(scaled(model), task="regression", target="loss"), out=tmp_path / "model")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.max_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [LGBMClassifier(**QUIET), XGBClassifier(**SMALL)], ids=["lightgbm", "xgboost"]
)
def test_several_classes_become_onnx(model, fit, tmp_path):
    made = package(fit(scaled(model), task="multiclass", target="grade"), out=tmp_path / "model")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.max_difference < 1e-4


@pytest.mark.slow
def test_an_imputed_mean_stays_on_its_side_of_zero(fit, tmp_path):
    """A scaled mean is 7e-18 in float64 and 0 in float32; LightGBM splits at 1e-35 between them."""
    rng = np.random.default_rng(3)
    n = 2500
    table = {name: rng.normal(0.3, 1.0, n).round(4) for name in NUMBERS}
    gone = rng.random((4, n)) < 0.1
    signal = sum(np.where(gone[i], 2.0, table[name]) for i, name in enumerate(NUMBERS))
    rows = pl.DataFrame(
        {name: np.where(gone[i], np.nan, table[name]) for i, name in enumerate(NUMBERS)}
        | {"paid": (signal + rng.normal(0, 0.5, n) > 2).astype(int)}
    )
    model = make_pipeline(SimpleImputer(), StandardScaler(), LGBMClassifier(**QUIET))
    train = rows[:2200]
    model.fit(prepare(train, PLAIN), train["paid"].to_numpy())
    candidate = Candidate(
        estimator=model, params={}, task="binary", target="paid", fit_on="paid", classes=(0, 1),
        positive=1, threshold=0.5, features=PLAIN, train=train, withheld=rows[2200:],
    )  # fmt: skip
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.above == 0.0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LGBMClassifier(boosting_type="rf", bagging_fraction=0.6, bagging_freq=1, **QUIET), "rf"),
        (LGBMClassifier(zero_as_missing=True, **QUIET), "zero_as_missing"),
        (XGBClassifier(missing=0.0, **SMALL), "missing values are not nan"),
        (XGBClassifier(booster="gblinear", n_estimators=10), "cannot be converted"),
    ],
    ids=["lightgbm forest", "zero as missing", "other missing", "linear"],
)
def test_what_onnx_would_get_wrong_is_served_by_the_library_itself(
    model, said, fit, numbered, tmp_path
):
    full = dict.fromkeys(["debt", "years", "owner"], "number")
    candidate = candidate_of(fit, model, numbered, features=full)
    made = package(candidate, out=tmp_path / "model")
    assert made.signature.engine == "skops"
    assert said in made.signature.reason
    assert made.parity.max_difference < 1e-6
    load(made.folder)


def test_a_categorical_split_of_lightgbm_answers_right(fit, numbered, tmp_path):
    rows = numbered.with_columns(numbered["years"] % 7)

    model = LGBMClassifier(**QUIET, min_child_samples=5, min_data_per_group=5, cat_smooth=0.1)
    train = rows[:320]
    features = {"years": "number", "debt": "number"}
    model.fit(
        prepare(train, features).to_numpy(), train["paid"].to_numpy(), categorical_feature=[0]
    )
    assert '"=="' in str(model.booster_.dump_model()).replace("'", '"')
    candidate = Candidate(
        estimator=model, params={}, task="binary", target="paid", fit_on="paid", classes=(0, 1),
        positive=1, threshold=0.5, features=features, train=train, withheld=rows[320:],
    )  # fmt: skip
    made = package(candidate, out=tmp_path / "model")
    assert made.parity.flips == 0
    assert made.parity.far == 0.0
    assert made.signature.engine == "onnx" or made.signature.reason


def test_the_names_of_features_are_given_back(fit, numbered, tmp_path):
    candidate = candidate_of(fit, XGBClassifier(**SMALL), numbered, features=PLAIN)
    package(candidate, out=tmp_path / "model")
    assert candidate.estimator.get_booster().feature_names == NUMBERS


@pytest.mark.parametrize(
    "model", [LGBMClassifier(**QUIET), XGBClassifier(**SMALL)], ids=["lightgbm", "xgboost"]
)
def test_boosting_survives_its_bytes(model):
    X, y = np.arange(200.0).reshape(100, 2), np.arange(100) % 2
    fitted = model.fit(X, y)
    again = native.loads(native.dumps(fitted))
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()


def test_without_onnxmltools_the_reason_says_so(monkeypatch):
    monkeypatch.setattr(boosting, "_known", set())
    monkeypatch.setitem(
        sys.modules, "onnxmltools.convert.lightgbm.operator_converters.LightGbm", None
    )
    with pytest.raises(ModelError, match="needs onnxmltools"):
        boosting.register([LGBMClassifier()])


@pytest.mark.slow
def test_neither_library_is_loaded_for_other_models(logistic):
    code = (
        "import sys, trimtab.model.package;"
        "print(*{'lightgbm', 'xgboost', 'onnxmltools', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert boosting.home(logistic.estimator) == ""
    assert boosting.home(lightgbm.LGBMClassifier()) == "lightgbm"
    assert boosting.home(xgboost.XGBClassifier()) == "xgboost"
