"""What is folded into trees gives the same float32 answers, bit by bit."""

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab.model import convert, fold, graph

NUMBERS, WORDS = ["a", "b", "c"], ["u", "v"]
KINDS = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(WORDS, "text")


def table(rows=400):
    rng = np.random.default_rng(7)
    numbers = {x: rng.normal(50, 20, rows).round(2) for x in NUMBERS}
    numbers["b"][::9] = np.nan
    words = {"u": rng.choice(["x", "y", "z"], rows), "v": rng.choice(["y", "w"], rows)}
    y = np.nan_to_num(numbers["a"] + numbers["b"]) + 20 * (words["u"] == "y") > 110
    return pl.DataFrame(numbers | words), y.astype(int)


def converted(model, *steps, task="binary"):
    frame, y = table()
    prepare = make_column_transformer(
        (make_pipeline(*steps), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), WORDS),
        sparse_threshold=0,
    )  # fmt: skip
    fitted = make_pipeline(prepare, model).fit(frame, y)
    return convert.convert(fitted, KINDS, task=task).data


def operators(data):
    return [node.op_type for node in onnx.load_from_string(data).graph.node]


def session(data):
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def asked(data):
    """Every threshold that a graph asks the first three columns about."""
    node = next(x for x in onnx.load_from_string(data).graph.node if "Tree" in x.op_type)
    found = {x.name: helper.get_attribute_value(x) for x in node.attribute}
    parts = zip(found["nodes_values"], found["nodes_featureids"], found["nodes_modes"], strict=True)
    return [value for value, feature, mode in parts if mode != b"LEAF" and feature < 3]


BOOSTED = HistGradientBoostingClassifier(max_iter=8, random_state=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "steps", "task"),
    [
        (BOOSTED, (SimpleImputer(), StandardScaler()), "binary"),
        (BOOSTED, (StandardScaler(),), "binary"),
        (BOOSTED, (SimpleImputer(strategy="median"),), "binary"),
        (
            RandomForestRegressor(5, random_state=0),
            (SimpleImputer(), StandardScaler()),
            "regression",
        ),
    ],
    ids=["imputed and scaled", "scaled", "imputed", "forest"],
)
def test_folded_trees_answer_the_same_at_and_beside_every_threshold(model, steps, task):
    before = converted(model, *steps, task=task)
    after = fold.folded(before)
    assert operators(after)[:4] == ["OneHotEncoder", "Reshape", "Concat", operators(after)[3]]
    assert len(operators(after)) < len(operators(before))
    rng = np.random.default_rng(0)
    points = np.array([*asked(before), *asked(after)], dtype=np.float32)
    steps_aside = [points, *(np.nextafter(points, np.float32(x)) for x in (-np.inf, np.inf))]
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3.4e38, -3.4e38, 1e-45], dtype=np.float32)
    pool = np.concatenate([*steps_aside, special])
    feed = {
        "numbers": rng.choice(pool, (6_000, 3)),
        "words": rng.choice(["x", "y", "z", "w", "", "unseen"], (6_000, 2)).astype(object),
    }
    one, other = (session(data).run(None, feed)[0] for data in (before, after))
    assert np.array_equal(one, other, equal_nan=True)


def test_a_package_takes_other_columns_only_where_they_fold():
    linear = converted(LogisticRegression(), SimpleImputer(), StandardScaler())
    assert fold.folded(linear) == linear


def test_too_many_categories_stay_as_they_are(monkeypatch):
    data = converted(BOOSTED, SimpleImputer())
    monkeypatch.setattr(fold, "MAX_SLOTS", 7)  # two columns of four categories take eight
    assert fold.folded(data) == data


def scaled_stump(mode, offset, scale, threshold, fill=None):
    """A tree of one split behind a scaler: 1 where the way is taken, else 0.

    With `fill` nulls are filled by it before, and what is null nonetheless takes the way.
    """
    tree = helper.make_node(
        "TreeEnsembleRegressor", ["scaled"], ["out"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=[mode, "LEAF", "LEAF"], nodes_values=[threshold, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 0.0],
        nodes_missing_value_tracks_true=[int(fill is not None), 0, 0],
    )  # fmt: skip
    before = [] if fill is None else [
        helper.make_node(
            "Imputer", ["numbers"], ["filled"], domain="ai.onnx.ml",
            imputed_value_floats=[fill], replaced_value_float=np.nan,
        )
    ]  # fmt: skip
    scaler = helper.make_node(
        "Scaler", [before[0].output[0] if before else "numbers"], ["scaled"], domain="ai.onnx.ml",
        offset=[offset], scale=[scale],
    )  # fmt: skip
    body = helper.make_graph(
        [*before, scaler, tree], "stump",
        [helper.make_tensor_value_info(graph.NUMBERS, TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return graph.finish(helper.make_model(body, opset_imports=opsets))


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.slow
@example("BRANCH_LEQ", 0.0, 1.0, 3.4028234663852886e38, [0.0])
@given(
    mode=st.sampled_from(["BRANCH_LEQ", "BRANCH_LT"]),
    offset=FLOATS,
    scale=st.floats(width=32, min_value=2.0**-60, max_value=2.0**60),
    threshold=FLOATS,
    values=st.lists(FLOATS, min_size=1, max_size=8),
)
def test_any_scaled_threshold_has_one_counterpart(mode, offset, scale, threshold, values):
    before = scaled_stump(mode, offset, scale, threshold)
    after = fold.folded(before)
    assert operators(after) == ["TreeEnsembleRegressor"]
    (point,) = asked(after)
    with np.errstate(over="ignore"):  # beside the greatest lies infinity
        beside = [np.nextafter(np.float32(point), np.float32(x)) for x in (-np.inf, np.inf)]
    feed = {"numbers": np.array([*values, point, *beside], dtype=np.float32).reshape(-1, 1)}
    one, other = (session(data).run(None, feed)[0] for data in (before, after))
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("fill", [None, 0.0, np.nan, np.inf], ids=str)
@pytest.mark.parametrize("threshold", [0.0, 3.4028235e38, np.inf, -np.inf, np.nan], ids=str)
@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT"])
def test_thresholds_and_fills_that_are_no_finite_number_keep_their_answers(mode, threshold, fill):
    before = scaled_stump(mode, -1e38, 2.0, threshold, fill)
    after = fold.folded(before)
    assert operators(after) == ["TreeEnsembleRegressor"]
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e38, 3.4028235e38, -3.4028235e38]
    feed = {"numbers": np.array(values, dtype=np.float32).reshape(-1, 1)}
    one, other = (session(data).run(None, feed)[0] for data in (before, after))
    assert one.tolist() == other.tolist()
