import msgspec
import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

import trimtab
from trimtab.errors import DataError, ModelError, RefusedError
from trimtab.model import codec
from trimtab.model.brought import onnx_model
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.model.signature import Column, Signature

NUMBERS = ("a", "b")
BINARY = Signature(
    task="binary",
    engine="onnx",
    inputs=(Column(name="a", kind="number"), Column(name="b", kind="number", nullable=True)),
    target="y",
    classes=("no", "yes"),
    positive="yes",
)
VALUE = Signature(
    task="regression",
    engine="onnx",
    inputs=(Column(name="a", kind="number"), Column(name="b", kind="number")),
    target="y",
)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300).round(3), rng.normal(size=300).round(3)
    return pl.DataFrame(
        {
            "a": a,
            "b": b,
            "kind": rng.choice(["x", "y"], 300),
            "group": rng.choice(["g", "h"], 300),
            "y": np.where(a + b > 0, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def values(rows):
    return rows.with_columns((pl.col("a") - pl.col("b")).alias("y"))


def model(nodes, inputs, outputs, weights=(), opset=21, domains=(), ir=10):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*x) for x in inputs],
        [helper.make_tensor_value_info(*x) for x in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(x, 1) for x in domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    return made.SerializeToString()


def difference(kind=TensorProto.FLOAT, **more):
    """a - b of two inputs called like their columns."""
    return model(
        [helper.make_node("Sub", ["a", "b"], ["out"])],
        [("a", kind, [None, 1]), ("b", kind, [None, 1])],
        [("out", kind, [None, 1])],
        **more,
    )


def scores(folder, table, signed):
    columns = {c.name: table[c.name].cast(pl.Float64).to_numpy() for c in signed.inputs}
    return load(folder).predict(columns)


def test_columns_by_name_become_one_packed_input(values, tmp_path):
    made = package(onnx_model(difference(), VALUE, values), out=tmp_path / "m")
    assert made.signature.engine == "onnx"
    assert made.parity.max_difference == 0.0
    assert made.parity.rows >= 300
    graph = onnx.load(tmp_path / "m" / "model.onnx").graph
    assert [x.name for x in graph.input] == ["numbers"]
    assert [x.name for x in graph.output] == ["value"]
    got = scores(made.folder, values, made.signature).score
    np.testing.assert_allclose(got, values["y"], atol=1e-6)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT])
def test_other_floats_are_cast(kind, values, tmp_path):
    made = package(onnx_model(difference(kind), VALUE, values), out=tmp_path / "m")
    assert made.parity.refusal == ""


def test_a_matrix_takes_the_numbers_in_the_order_of_the_signature(values, tmp_path):
    weights = [("w", np.array([[1.0], [-1.0]], dtype=np.float32))]
    data = model(
        [helper.make_node("MatMul", ["numbers", "w"], ["value"])],
        [("numbers", TensorProto.FLOAT, ["N", 2])],
        [("value", TensorProto.FLOAT, ["N", 1])],
        weights,
    )
    made = package(onnx_model(data, VALUE, values), out=tmp_path / "m")
    got = scores(made.folder, values, made.signature).score
    np.testing.assert_allclose(got, values["y"], atol=1e-6)


def test_an_image_is_a_row_of_columns(values, tmp_path):
    data = model(
        [helper.make_node("ReduceSum", ["image", "axes"], ["out"], keepdims=0)],
        [("image", TensorProto.FLOAT, [None, 1, 2, 1])],
        [("out", TensorProto.FLOAT, [None])],
        [("axes", np.array([1, 2, 3]))],
    )
    made = package(onnx_model(data, VALUE, values), out=tmp_path / "m")
    got = scores(made.folder, values, made.signature).score
    np.testing.assert_allclose(got, values["a"] + values["b"], atol=1e-6)


def test_integers_and_texts_and_names_that_trimtab_uses_itself(values, tmp_path):
    """`flat_shape`, `as_float` and `words` are names of the graph's own."""
    signed = Signature(
        task="regression",
        engine="onnx",
        inputs=(
            Column(name="kind", kind="text"),
            Column(name="a", kind="number"),
            Column(name="n", kind="number"),
        ),
        target="y",
    )
    table = values.with_columns((pl.col("b") * 10).round().cast(pl.Int64).alias("n"))
    data = model(
        [
            helper.make_node(
                "LabelEncoder", ["kind"], ["as_float"], domain="ai.onnx.ml",
                keys_strings=["x", "y"], values_floats=[1.0, 2.0], default_float=9.0,
            ),
            helper.make_node("Cast", ["n"], ["words"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["as_float", "words"], ["flat_shape"]),
            helper.make_node("Add", ["flat_shape", "a"], ["score"]),
        ],
        [
            ("kind", TensorProto.STRING, [None]),
            ("n", TensorProto.INT64, [None]),
            ("a", TensorProto.FLOAT, [None]),
        ],
        [("score", TensorProto.FLOAT, [None])],
    )  # fmt: skip
    data_ml = onnx.load_from_string(data)
    data_ml.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    made = package(onnx_model(data_ml.SerializeToString(), signed, table), out=tmp_path / "m")
    assert made.parity.max_difference < 1e-6
    assert made.signature.numbers == ("a", "n")
    got = load(made.folder).predict(
        {
            "kind": np.array(["x", "z"], dtype=object),
            "a": np.array([0.5, 0.5]),
            "n": np.array([3.0, 3.0]),
        }
    )
    assert got.score.tolist() == [4.5, 12.5]


def test_labels_with_dictionaries_are_what_scikit_learn_exports(rows, tmp_path):
    X = rows.select(NUMBERS).to_numpy().astype(np.float32)
    fitted = LogisticRegression().fit(X, rows["y"].to_numpy())
    data = to_onnx(fitted, X[:1], target_opset=21).SerializeToString()
    assert b"ZipMap" in data
    signed = BINARY
    made = package(onnx_model(data, signed, rows), out=tmp_path / "m", context=("group",))
    got = scores(made.folder, rows, made.signature)
    np.testing.assert_allclose(got.score, fitted.predict_proba(X)[:, 1], atol=1e-6)
    assert got.decision == fitted.predict(X).tolist()
    assert {one.column for one in made.parity.slices} == {"group"}
    assert [c.name for c in made.signature.context] == ["group"]


def test_the_first_class_may_be_the_positive_one(rows, tmp_path):
    X = rows.select(NUMBERS).to_numpy().astype(np.float32)
    fitted = LogisticRegression().fit(X, rows["y"].to_numpy())
    data = to_onnx(fitted, X[:1], options={"zipmap": False}, target_opset=21).SerializeToString()
    signed = msgspec.structs.replace(BINARY, positive="no", threshold=0.7)
    made = package(onnx_model(data, signed, rows), out=tmp_path / "m")
    got = scores(made.folder, rows, made.signature)
    np.testing.assert_allclose(got.score, fitted.predict_proba(X)[:, 0], atol=1e-6)
    assert made.signature.threshold == 0.7


@pytest.mark.slow
def test_several_classes_keep_their_matrix(rows, tmp_path):
    table = rows.with_columns(
        pl.when(pl.col("a") > 0.5).then(2).when(pl.col("a") > -0.5).then(1).otherwise(0).alias("y")
    )
    X = table.select(NUMBERS).to_numpy().astype(np.float32)
    fitted = LogisticRegression().fit(X, table["y"].to_numpy())
    data = to_onnx(fitted, X[:1], target_opset=21).SerializeToString()
    signed = Signature(
        task="multiclass", engine="onnx", inputs=BINARY.inputs, target="y", classes=(0, 1, 2)
    )
    made = package(onnx_model(data, signed, table), out=tmp_path / "m")
    got = scores(made.folder, table, made.signature)
    np.testing.assert_allclose(got.score, fitted.predict_proba(X), atol=1e-6)
    assert got.decision == fitted.predict(X).tolist()


def test_a_file_and_the_codec_keep_the_model(values, tmp_path):
    (tmp_path / "model.onnx").write_bytes(difference())
    candidate = trimtab.onnx_model(tmp_path / "model.onnx", VALUE, values)
    (tmp_path / "stored").mkdir()
    assert codec.CANDIDATE.matches(candidate)
    codec.CANDIDATE.write(candidate, tmp_path / "stored")
    again = codec.CANDIDATE.read(tmp_path / "stored")
    assert again.estimator.data == candidate.estimator.data
    assert again.estimator.signature == candidate.estimator.signature
    assert again.baseline == candidate.baseline
    package(again, out=tmp_path / "m")
    with pytest.raises(DataError, match="no ONNX file"):
        trimtab.onnx_model(tmp_path / "none.onnx", VALUE, values)


def test_what_the_rows_show_completes_the_signature(values):
    signed = onnx_model(difference(), VALUE, values).estimator.signature
    assert signed.inputs[0].lo == values["a"].min()
    assert signed.inputs[0].hi == values["a"].max()


def test_whole_numbers_beyond_float32_are_refused_and_not_rounded(values, tmp_path):
    signed = Signature(
        task="regression", engine="onnx", inputs=(Column(name="id", kind="number"),), target="y"
    )
    data = model(
        [
            helper.make_node("Mod", ["id", "ten"], ["last"]),
            helper.make_node("Cast", ["last"], ["out"], to=TensorProto.FLOAT),
        ],
        [("id", TensorProto.INT64, [None])],
        [("out", TensorProto.FLOAT, [None])],
        [("ten", np.array(10))],
    )
    table = values.with_columns((pl.int_range(pl.len()) + 10_000_000_019).alias("id"))
    candidate = onnx_model(data, signed, table)
    with pytest.raises(ModelError, match="does not hold"):
        package(candidate, out=tmp_path / "m")


def test_operators_outside_of_the_standard_are_refused_by_name(values):
    data = model(
        [helper.make_node("Secret", ["a"], ["out"], domain="com.example")],
        [("a", TensorProto.FLOAT, [None, 1])],
        [("out", TensorProto.FLOAT, [None, 1])],
        domains=["com.example"],
    )
    with pytest.raises(RefusedError, match="com.example:Secret"):
        onnx_model(data, VALUE, values)


def test_an_operator_inside_of_a_branch_is_seen_too(values):
    inner = helper.make_graph(
        [helper.make_node("Secret", ["a"], ["x"], domain="com.example")],
        "then", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    data = model(
        [helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)],
        [("a", TensorProto.FLOAT, [None, 1])],
        [("out", TensorProto.FLOAT, [None, 1])],
        [("yes", np.array(True))],
        domains=["com.example"],
    )
    with pytest.raises(RefusedError, match="com.example:Secret"):
        onnx_model(data, VALUE, values)


def test_weights_in_another_file_are_refused(values, tmp_path):
    weights = [("w", np.ones((2, 1), dtype=np.float32))]
    data = model(
        [helper.make_node("MatMul", ["numbers", "w"], ["value"])],
        [("numbers", TensorProto.FLOAT, ["N", 2])],
        [("value", TensorProto.FLOAT, ["N", 1])],
        weights,
    )
    onnx.save(
        onnx.load_from_string(data), tmp_path / "m.onnx",
        save_as_external_data=True, location="w.bin", size_threshold=0,
    )  # fmt: skip
    with pytest.raises(RefusedError, match="another file") as caught:
        onnx_model(tmp_path / "m.onnx", VALUE, values)
    assert "save_as_external_data=False" in caught.value.hint


def fixed():
    return model(
        [helper.make_node("Sub", ["a", "b"], ["out"])],
        [("a", TensorProto.FLOAT, [1, 1]), ("b", TensorProto.FLOAT, [1, 1])],
        [("out", TensorProto.FLOAT, [1, 1])],
    )


def unread():
    return model(
        [helper.make_node("Identity", ["a"], ["out"])],
        [("a", TensorProto.FLOAT, [None, 1]), ("b", TensorProto.FLOAT, [None, 1])],
        [("out", TensorProto.FLOAT, [None, 1])],
    )


def two():
    return model(
        [helper.make_node("Sub", ["a", "b"], ["x"]), helper.make_node("Add", ["a", "b"], ["z"])],
        [("a", TensorProto.FLOAT, [None, 1]), ("b", TensorProto.FLOAT, [None, 1])],
        [("x", TensorProto.FLOAT, [None, 1]), ("z", TensorProto.FLOAT, [None, 1])],
    )


def alone(name):
    return model(
        [helper.make_node("Identity", [name], ["out"])],
        [(name, TensorProto.FLOAT, [None, 1])],
        [("out", TensorProto.FLOAT, [None, 1])],
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no graph", "no ONNX model"),
        (b"", "no ONNX model"),
        (difference(opset=6), "operator set 6"),
        (fixed(), "fixed batch of 1"),
        (unread(), "do not depend on the graph's input 'b'"),
        (two(), "2 outputs"),
        (alone("a"), "no input of the graph takes column 'b'"),
        (alone("other"), "gets 2 columns"),
        (difference(TensorProto.STRING), "is of type string"),
    ],
    ids=["bytes", "empty", "opset", "batch", "unread", "outputs", "column", "width", "type"],
)
def test_a_graph_that_does_not_fit_says_where(data, said, values):
    with pytest.raises(ModelError, match=said):
        onnx_model(data, VALUE, values)


def test_an_output_may_be_named(values, tmp_path):
    candidate = onnx_model(two(), VALUE, values, output="z")
    made = package(candidate, out=tmp_path / "m")
    got = scores(made.folder, values, made.signature).score
    np.testing.assert_allclose(got, values["a"] + values["b"], atol=1e-6)
    with pytest.raises(ModelError, match="no output 'w'"):
        onnx_model(two(), VALUE, values, output="w")


def test_scores_that_are_no_probabilities_are_refused(rows):
    with pytest.raises(ModelError, match="no probabilities") as caught:
        onnx_model(difference(), BINARY, rows)
    assert "sigmoid" in caught.value.hint


@pytest.mark.parametrize("nullable", [True, False])
def test_integers_have_no_null(nullable, values):
    signed = Signature(
        task="regression",
        engine="onnx",
        inputs=(Column(name="n", kind="number", nullable=nullable),),
        target="y",
    )
    data = model(
        [helper.make_node("Cast", ["n"], ["out"], to=TensorProto.FLOAT)],
        [("n", TensorProto.INT64, [None])],
        [("out", TensorProto.FLOAT, [None])],
    )
    table = values.with_columns(pl.int_range(pl.len()).alias("n"))
    if nullable:
        with pytest.raises(ModelError, match="no null"):
            onnx_model(data, signed, table)
    else:
        onnx_model(data, signed, table)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"inputs": ()}, ModelError, "no inputs"),
        ({"target": "truth"}, DataError, "no column 'truth'"),
        ({"classes": ("yes",)}, ModelError, "1 classes"),
        ({"positive": "maybe"}, ModelError, "positive class 'maybe'"),
    ],
    ids=["inputs", "target", "classes", "positive"],
)
def test_a_signature_that_is_not_whole_says_what_is_missing(change, error, said, rows):
    with pytest.raises(error, match=said):
        onnx_model(difference(), msgspec.structs.replace(BINARY, **change), rows)


def test_a_newer_format_of_the_file_is_written_as_one_that_serving_knows(values, tmp_path):
    data = difference(ir=onnx.IR_VERSION, opset=onnx.defs.onnx_opset_version())
    try:
        onnxruntime.InferenceSession(data)
    except Exception:
        with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
            onnx_model(data, VALUE, values)
        return
    made = package(onnx_model(data, VALUE, values), out=tmp_path / "m")
    assert onnx.load(made.folder / "model.onnx").ir_version == 10
