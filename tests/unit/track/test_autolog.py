"""Fits become runs by themselves, once each, and never break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab.store import metrics, runs
from trimtab.store.workspace import open_workspace
from trimtab.track.autolog import fits
from trimtab.track.autolog.switch import autolog
from trimtab.track.run import start_run

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fits.__file__).parents[3])}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch):
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "demo"\n')
    monkeypatch.chdir(tmp_path)
    found = open_workspace(tmp_path, "demo")
    fits._told.clear()
    yield found
    autolog(disable=True)
    found.close()


@pytest.mark.slow
def test_a_fit_is_a_run_and_inner_fits_are_none(ws) -> None:
    before = LogisticRegression.fit
    autolog(models=True)
    LogisticRegression(C=0.5).fit(X, Y)
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                          {"logisticregression__C": [0.1, 1.0]}, cv=3)  # fmt: skip
    search.fit(X, Y)
    autolog(disable=True)
    assert LogisticRegression.fit is before
    LogisticRegression().fit(X, Y)
    second, first = runs.find(ws, kind="fit")
    assert (first.name, first.params["C"], first.status) == ("LogisticRegression", 0.5, "done")
    assert metrics.latest(ws, first.id)["training_score"] > 0.9
    assert [link.name for link in runs.links(ws, first.id)] == ["model"]
    assert second.name == "GridSearchCV"
    assert "best_logisticregression__C" in second.params
    assert metrics.latest(ws, second.id)["best_cv_score"] > 0.8
    assert {link.name for link in runs.links(ws, second.id)} == {"cv_results.json", "model"}


def test_iterations_of_boosting_are_points(ws) -> None:
    autolog()
    lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5).fit(
        X, Y, eval_X=X, eval_y=Y
    )
    xgboost.XGBClassifier(n_estimators=4).fit(X, Y, eval_set=[(X, Y)], verbose=False)
    rows = lightgbm.Dataset(X, Y)
    lightgbm.train({"objective": "binary", "verbose": -1}, rows, 3, valid_sets=[rows])
    matrix = xgboost.DMatrix(X, Y)
    xgboost.train({"max_depth": 2}, matrix, num_boost_round=6, evals=[(matrix, "rows")],
                  verbose_eval=False)  # fmt: skip
    plain, trained, boosted, light = runs.find(ws, kind="fit")
    assert (light.name, boosted.name) == ("LGBMClassifier", "XGBClassifier")
    assert len(metrics.read(ws, light.id, "valid_0/binary_logloss")) == 5
    assert len(metrics.read(ws, boosted.id, "validation_0/logloss")) == 4
    assert trained.params["objective"] == "binary"
    assert len(metrics.read(ws, trained.id, "training/binary_logloss")) == 3
    assert [p.step for p in metrics.read(ws, plain.id, "rows/rmse")] == list(range(6))


def test_a_cross_validation_of_boosting_is_a_run(ws, capsys) -> None:
    autolog(models=True)
    params = {"objective": "binary", "verbose": -1, "min_child_samples": 5}
    means = lightgbm.cv(params, lightgbm.Dataset(X, Y), num_boost_round=4, nfold=3)
    matrix = xgboost.DMatrix(X, Y)
    xgboost.cv({"max_depth": 2, "eval_metric": "logloss"}, matrix, 5, nfold=3, as_pandas=False)
    boosted, light = runs.find(ws, kind="fit")
    assert (light.name, boosted.name) == ("cv", "cv")
    assert (light.params["num_boost_round"], boosted.params["num_boost_round"]) == (4, 5)
    found = [p.value for p in metrics.read(ws, light.id, "valid/binary_logloss")]
    assert found == means["valid binary_logloss-mean"]
    assert [p.step for p in metrics.read(ws, boosted.id, "test/logloss")] == list(range(5))
    assert capsys.readouterr().err == ""


def test_a_class_that_comes_later_and_one_that_fails(ws, capsys) -> None:
    autolog()

    class Mine(BaseEstimator):
        def __init__(self, wrong=False) -> None:
            self.wrong = wrong

        def fit(self, X, y=None):
            if self.wrong:
                raise ValueError("no")
            return self

        def predict(self, X):
            return X

        def score(self, X, y):
            raise RuntimeError("odd score")

    with start_run("outer", ws=ws, capture=False) as outer:
        assert Mine().fit(X, Y) is not None
        with pytest.raises(ValueError, match="no"):
            Mine(wrong=True).fit(X, Y)
    bad, good = runs.find(ws, kind="fit")
    assert good.parent == bad.parent == outer.id
    assert (good.status, bad.status) == ("done", "failed")
    assert capsys.readouterr().err.count("odd score") == 1


def test_without_a_project_fits_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    fits._told.clear()
    autolog()
    try:
        LogisticRegression().fit(X, Y)
        LogisticRegression().fit(X, Y)
    finally:
        autolog(disable=True)
    assert capsys.readouterr().err.count("no trimtab.toml") == 1


@pytest.mark.slow
def test_nothing_is_imported_and_later_imports_are_seen(ws) -> None:
    code = """
import sys, trimtab
trimtab.autolog()
assert not {"sklearn", "lightgbm", "xgboost", "pandas", "matplotlib"} & set(sys.modules)
import lightgbm, sklearn.linear_model as linear, lightgbm.sklearn as inner
linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
replaced = inner.train
trimtab.autolog(disable=True)
assert inner.train is lightgbm.train is lightgbm.engine.train is not replaced
linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    (run,) = runs.find(ws, kind="fit")
    assert metrics.latest(ws, run.id) == {"training_score": 1.0}
