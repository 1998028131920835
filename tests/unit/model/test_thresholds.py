from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab.model import convert, thresholds
from trimtab.model.package import package
from trimtab.tune.frames import features as prepare

NAMES = ["income", "debt", "years"]
FEATURES = dict.fromkeys(NAMES, "number")


def tree(mode, value):
    """One node: 1 where its condition holds, else 0."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=[mode, "LEAF", "LEAF"],
        nodes_values=[value, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 0.0],
        n_targets=1,
    )
    graph = helper.make_graph(
        [node],
        "tree",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def values(data):
    node = onnx.load_from_string(data).graph.node[0]
    return next(a for a in node.attribute if a.name == "nodes_values").floats


@pytest.mark.parametrize(
    ("mode", "way"),
    [("BRANCH_LEQ", 1), ("BRANCH_GT", 1), ("BRANCH_LT", -1), ("BRANCH_GTE", -1), ("BRANCH_EQ", 0)],
)
def test_a_threshold_moves_away_from_the_value_on_it(mode, way):
    moved = values(thresholds.settle(tree(mode, 2.0)))
    assert np.sign(moved[0] - 2.0) == way
    assert abs(moved[0] - 2.0) <= 8 * 2.0**-23
    assert list(moved[1:]) == [0.0, 0.0]


def test_an_infinite_threshold_stays():
    assert values(thresholds.settle(tree("BRANCH_LEQ", float("inf"))))[0] == float("inf")


@pytest.mark.slow
def test_a_graph_without_trees_has_nothing_to_settle(fit, prepared):
    candidate = fit(prepared(LogisticRegression(max_iter=5000)))
    graph = convert.convert(candidate.estimator, candidate.features, task="binary")
    assert thresholds.settle(graph.data) is None


def test_with_rows_a_threshold_lies_between_what_the_graph_computes():
    """7e-18 is right of 1e-35 in float64; the graph computes 0, which the blind move sends left."""
    data = tree("BRANCH_LEQ", 1e-35)
    exact = np.array([[-1.0], [7e-18], [2.0]])
    seen = exact.astype(np.float32)
    seen[1] = 0.0
    moved = values(thresholds.settle(data, {"x": seen}, exact))[0]
    assert -1.0 < moved < 0.0
    assert values(thresholds.settle(data))[0] > 0.0


def test_values_that_cannot_be_told_apart_leave_the_blind_move():
    data = tree("BRANCH_LEQ", 1.0)
    exact = np.array([[1.0], [1.0 + 1e-12]])
    moved = values(thresholds.settle(data, {"x": exact.astype(np.float32)}, exact))[0]
    assert moved > 1.0


def test_rows_of_other_features_are_not_used():
    data = tree("BRANCH_LEQ", 1.0)
    exact = np.array([[5.0], [6.0]])
    other = np.array([[0.5], [1.5]], dtype=np.float32)
    assert values(thresholds.settle(data, {"x": other}, exact)) == values(thresholds.settle(data))


def test_what_the_last_step_is_given_is_known_of_pipelines_alone(fit):
    inner = make_pipeline(SimpleImputer(), StandardScaler(), HistGradientBoostingClassifier())
    candidate = fit(make_pipeline(inner), features=FEATURES)
    rows = prepare(candidate.train, FEATURES)
    found = thresholds.exact(candidate.estimator, rows)
    np.testing.assert_array_equal(found, inner[:-1].transform(rows))
    texts = pl.DataFrame({"purpose": ["car"]})
    assert thresholds.exact(HistGradientBoostingClassifier(), texts) is None


@pytest.fixture(scope="module")
def coarse():
    """Rows of few digits: many are equal, and thresholds come to lie on them."""
    rng = np.random.default_rng(0)
    n = 3000
    table = {name: rng.normal(50, 20, n).round(1) for name in NAMES}
    table["income"] = np.where(rng.random(n) < 0.1, np.nan, table["income"])
    signal = np.nan_to_num(table["income"], nan=50) - table["debt"]
    table["repaid"] = np.where(signal + rng.normal(0, 10, n) > 0, "yes", "no")
    return pl.DataFrame(table).with_columns(pl.col("income").fill_nan(None))


def whole(fit, pipeline, rows):
    """A candidate fitted on all rows, each of its values seen."""
    candidate = fit(pipeline, rows=rows, features=FEATURES)
    pipeline.fit(prepare(rows, FEATURES), rows["repaid"].to_numpy())
    return replace(candidate, train=rows, withheld=rows[:300])


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=40, random_state=0),
        GradientBoostingClassifier(n_estimators=40, random_state=0),
    ],
    ids=["histogram", "gradient"],
)
def test_a_scaler_before_boosting_moves_no_row_across_a_threshold(model, coarse, fit, tmp_path):
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    pipeline = make_pipeline(make_column_transformer((scaled, NAMES)), model)
    made = package(whole(fit, pipeline, coarse), out=tmp_path / "model")
    assert made.signature.engine == "onnx", made.signature.reason
    assert made.parity.above == 0.0
    assert made.parity.flips == 0


@pytest.mark.slow
def test_without_settling_rows_are_off(coarse, fit):
    """What the test above would miss if no threshold lay on a value."""
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    train = prepare(coarse, FEATURES)
    model = make_pipeline(make_column_transformer((scaled, NAMES)), model)
    model.fit(train, coarse["repaid"].to_numpy())
    graph = convert.convert(model, FEATURES, task="binary", positive_index=1)
    feed = {"numbers": train.to_numpy().astype(np.float32)}
    expected = model.predict_proba(train)[:, 1]

    def off(data):
        got = onnxruntime.InferenceSession(data).run(None, feed)[0]
        return int((abs(got - expected) > 1e-4).sum())

    assert off(graph.data) > 0
    settled = thresholds.settle(graph.data, feed, thresholds.exact(model, train))
    assert off(settled) == 0
