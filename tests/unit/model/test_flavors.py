"""Models as MLflow lays them down: read by flavor, made candidates, packaged; and what is refused."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import pickle
import zipfile

import numpy as np
import onnx
import polars as pl
import pytest
import yaml
from onnx import TensorProto, helper
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from trimtab.errors import DataError, IntegrityError, ModelError, RefusedError
from trimtab.model import adopted, flavors, mlmodel, native
from trimtab.model.package import package
from trimtab.tune.roles import Roles

NUMBERS = ["debt", "years"]
ROLES = Roles(target="repaid", key="id", protected=("group",))


@pytest.fixture
def installed(need):
    """`installed(name)`: a library whose models are taken in."""

    def load(name):
        need(importlib.util.find_spec(name), f"{name} is not installed")
        return importlib.import_module(name)

    return load


@pytest.fixture
def logged(tmp_path):
    """A folder with `MLmodel` and one file."""

    def write(flavor, entry, file, data, columns=NUMBERS, kinds=None):
        told = {"flavors": {flavor: entry}, "mlflow_version": "3.17.2"}
        if columns:
            inputs = [
                {"type": (kinds or {}).get(name, "double"), "name": name, "required": True}
                for name in columns
            ]
            told["signature"] = {"inputs": json.dumps(inputs)}
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(told))
        (tmp_path / file).write_bytes(data)
        return tmp_path

    return write


@pytest.fixture
def skops(logged):
    def write(estimator, columns=NUMBERS, **more):
        entry = {"pickled_model": "model.skops", "serialization_format": "skops"}
        return logged("sklearn", entry, "model.skops", native.dumps(estimator), columns, **more)

    return write


@pytest.fixture
def pickled(logged):
    def write(thing, columns=NUMBERS):
        entry = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
        data = thing if isinstance(thing, bytes) else pickle.dumps(thing)
        return logged("sklearn", entry, "model.pkl", data, columns)

    return write


@pytest.fixture
def fitted(loans):
    return LogisticRegression(max_iter=5000).fit(loans[NUMBERS], loans["repaid"].to_list())


def brought(folder, loans, roles=ROLES, **more):
    described = mlmodel.read(folder)
    rows = adopted.rows("loans@v1", loans, roles)
    read = flavors.load(folder, described, rows.task, len(rows.classes), **more)
    return adopted.candidate(described, read, rows)


def answers(candidate, tmp_path):
    return package(candidate, out=tmp_path / "package").signature


def test_skops_is_packaged(skops, fitted, loans, tmp_path):
    candidate = brought(skops(fitted), loans)
    assert candidate.train.height + candidate.withheld.height == loans.height
    signed = answers(candidate, tmp_path)
    assert (signed.engine, signed.classes, signed.positive) == ("onnx", ("no", "yes"), "yes")
    assert [one.name for one in signed.inputs] == NUMBERS


def test_without_a_signature_the_model_names_its_columns(skops, loans, tmp_path):
    pandas_like = LogisticRegression(max_iter=5000).fit(loans[NUMBERS], loans["repaid"].to_list())
    candidate = brought(skops(pandas_like, columns=()), loans)
    assert list(candidate.features) == NUMBERS


def test_nobody_names_the_columns(skops, loans):
    bare = LogisticRegression().fit(loans[NUMBERS].to_numpy(), loans["repaid"].to_list())
    with pytest.raises(ModelError, match="which columns"):
        brought(skops(bare, columns=()), loans)


def test_the_order_is_the_models(skops, fitted, loans):
    assert list(brought(skops(fitted, columns=NUMBERS[::-1]), loans).features) == NUMBERS


def test_classes_that_are_places_mean_the_targets(skops, loans, tmp_path):
    places = (loans["repaid"] == "yes").cast(pl.Int64).to_list()
    signed = answers(
        brought(skops(LogisticRegression().fit(loans[NUMBERS], places)), loans), tmp_path
    )
    assert signed.classes == ("no", "yes")


def test_other_classes_are_refused(skops, loans):
    other = LogisticRegression().fit(loans[NUMBERS], ["a", "b"] * (loans.height // 2))
    with pytest.raises(ModelError, match=r"\['a', 'b'\]"):
        brought(skops(other), loans)


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        (["debt", "salary"], DataError, "'salary'"),
        (["debt", "repaid"], RefusedError, "'repaid'"),
        (["debt", "id"], RefusedError, "'id'"),
        (["debt", "group"], RefusedError, "'group'"),
        (["debt", "years", "income"], ModelError, "takes 2 columns"),
    ],
    ids=["not there", "target", "key", "protected", "one more"],
)
def test_columns_that_do_not_fit_are_refused(skops, loans, columns, error, said):
    bare = LogisticRegression().fit(loans[NUMBERS].to_numpy(), loans["repaid"].to_list())
    with pytest.raises(error, match=said):
        brought(skops(bare, columns=columns), loans)


def test_a_signature_that_lies_is_refused(skops, fitted, loans):
    with pytest.raises(ModelError, match="differ in the column"):
        brought(skops(fitted, columns=["debt", "income"]), loans)
    with pytest.raises(DataError, match="a text to the model"):
        brought(skops(fitted, kinds={"debt": "string"}), loans)


def test_a_pickle_is_not_read(pickled, fitted, loans, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    with pytest.raises(RefusedError, match="a program") as caught:
        brought(pickled(Trap()), loans)
    assert "--allow-pickle" in caught.value.hint
    with pytest.raises(RefusedError, match="mkdir"):
        brought(pickled(Trap()), loans, allow_pickle=True)
    assert not (tmp_path / "sprung").exists()


def test_an_allowed_pickle_is_packaged(pickled, fitted, loans, tmp_path):
    assert answers(brought(pickled(fitted), loans, allow_pickle=True), tmp_path).engine == "onnx"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("ensemble.RandomForestClassifier", {"n_estimators": 5, "random_state": 0}),
        ("ensemble.HistGradientBoostingClassifier", {"max_iter": 5}),
        ("ensemble.GradientBoostingClassifier", {"n_estimators": 5, "random_state": 0}),
        ("neighbors.KNeighborsClassifier", {"algorithm": "kd_tree"}),
        ("neural_network.MLPClassifier", {"max_iter": 1000, "early_stopping": True}),
        ("naive_bayes.GaussianNB", {}),
    ],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else "",
)
def test_pickles_of_ordinary_estimators_are_read(pickled, loans, kind, arguments):
    module, _, name = kind.rpartition(".")
    estimator = getattr(importlib.import_module(f"sklearn.{module}"), name)(**arguments)
    estimator.fit(loans[NUMBERS].to_numpy(), loans["repaid"].to_list())
    found = brought(pickled(estimator), loans, allow_pickle=True).estimator
    rows = loans[NUMBERS].to_numpy()
    assert np.array_equal(found.predict_proba(rows), estimator.predict_proba(rows))


@pytest.mark.parametrize(
    ("thing", "error", "said"),
    [
        (b"", ModelError, "EOFError"),
        (b"\x80\x05K\x01", ModelError, "cannot be read"),
        (pickle.dumps(1), ModelError, "no estimator"),
        (b"cos\nsystem\n(S'true'\ntR.", RefusedError, "os.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", RefusedError, "builtins.eval"),
        (b"\x80\x04\x8c\x07sklearn\x8c\x09os.system\x93.", RefusedError, "sklearn.os.system"),
        (b"cnumpy.testing\nrundocs\n.", RefusedError, "numpy.testing.rundocs"),
        (b"csklearn.metrics._scorer\n_check_response_method\n.", RefusedError, "_check_response"),
        (b"csklearn.datasets._covtype\nTemporaryDirectory\n.", RefusedError, "TemporaryDirectory"),
        (b"cnumpy\nmemmap\n(S'there'\ntR.", RefusedError, "numpy.memmap"),
    ],
    ids=[
        "empty",
        "torn",
        "a number",
        "a call",
        "eval",
        "through a module",
        "a function",
        "a way to any attribute",
        "another house's type",
        "a file",
    ],
)
def test_pickles_that_are_no_models_are_refused(pickled, loans, thing, error, said):
    with pytest.raises(error, match=said):
        brought(pickled(thing), loans, allow_pickle=True)


def test_code_of_ones_own_in_a_pickle_is_refused(pickled, loans):
    own = FunctionTransformer(np.loadtxt)
    with pytest.raises(RefusedError, match="numpy.loadtxt"):
        brought(pickled(own), loans, allow_pickle=True)


def graph():
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [-0.002, 0.05])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["score"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def test_an_onnx_graph_is_packaged(logged, loans, tmp_path):
    folder = logged("onnx", {"data": "model.onnx"}, "model.onnx", graph())
    candidate = brought(folder, loans)
    assert candidate.train.height > candidate.withheld.height
    assert answers(candidate, tmp_path).classes == ("no", "yes")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_lightgbm_text_is_packaged(installed, logged, loans, tmp_path, task):
    library = installed("lightgbm")
    target = {"binary": "repaid", "multiclass": "grade", "regression": "loss"}[task]
    labels = (loans[target] == "yes").cast(pl.Int64) if task == "binary" else loans[target]
    params = {"objective": task, "verbose": -1} | ({"num_class": 3} if task == "multiclass" else {})
    data = library.Dataset(loans[NUMBERS].to_numpy(), labels.to_numpy())
    booster = library.train(params, data, 5)
    entry = {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"}
    folder = logged("lightgbm", entry, "model.lgb", booster.model_to_string().encode())
    candidate = brought(folder, loans, Roles(target=target))
    assert list(candidate.features) == NUMBERS
    found = package(candidate, out=tmp_path / "package")
    assert found.signature.task == task
    assert found.signature.engine == "onnx"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("kind", ["ubj", "json"])
def test_xgboost_files_are_packaged(installed, logged, loans, tmp_path, task, kind):
    library = installed("xgboost")
    target = {"binary": "repaid", "multiclass": "grade", "regression": "loss"}[task]
    labels = (loans[target] == "yes").cast(pl.Int64) if task == "binary" else loans[target]
    objective = {
        "binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"
    }[task]  # fmt: skip
    params = {"objective": objective} | ({"num_class": 3} if task == "multiclass" else {})
    data = library.DMatrix(loans[NUMBERS].to_numpy(), labels.to_numpy())
    booster = library.train(params, data, 5)
    folder = logged(
        "xgboost", {"data": f"model.{kind}"}, f"model.{kind}", bytes(booster.save_raw(kind))
    )
    signed = answers(brought(folder, loans, Roles(target=target)), tmp_path)
    assert (signed.task, signed.engine) == (task, "onnx")


def test_a_booster_of_categories_is_refused(installed, logged, loans):
    library = installed("lightgbm")
    codes = loans["purpose"].cast(pl.Categorical).to_physical()
    rows = np.column_stack([loans["debt"].to_numpy(), codes.to_numpy()])
    truth = (loans["repaid"] == "yes").to_numpy().astype(int)
    data = library.Dataset(rows, truth, categorical_feature=[1], feature_name=["debt", "purpose"])
    booster = library.train({"objective": "binary", "verbose": -1}, data, 3)
    entry = {"data": "m", "model_class": "lightgbm.basic.Booster"}
    text = booster.model_to_string().encode()
    folder = logged("lightgbm", entry, "m", text, ["debt", "purpose"], kinds={"purpose": "string"})
    with pytest.raises(ModelError, match="a category of its own"):
        brought(folder, loans)


def test_an_objective_that_is_no_score_is_refused(installed, logged, loans):
    library = installed("xgboost")
    data = library.DMatrix(loans[NUMBERS].to_numpy(), loans["years"].to_numpy())
    booster = library.train({"objective": "reg:squarederror"}, data, 2)
    folder = logged("xgboost", {"data": "model.ubj"}, "model.ubj", bytes(booster.save_raw("ubj")))
    with pytest.raises(ModelError, match="reg:squarederror"):
        brought(folder, loans)


@pytest.mark.parametrize("flavor", ["onnx", "sklearn", "lightgbm", "xgboost"])
@pytest.mark.parametrize("data", [b"", b"x" * 100, graph()[:40], b"tree\nversion=v4\n"])
def test_damaged_files_are_refused(installed, logged, loans, flavor, data):
    installed("lightgbm")
    installed("xgboost")
    entry = {"data": "m", "pickled_model": "m", "serialization_format": "skops"}
    entry["model_class"] = "lightgbm.basic.Booster"
    with pytest.raises((ModelError, IntegrityError)):
        brought(logged(flavor, entry, "m", data), loans)


def test_a_flavor_that_is_another_is_refused(logged, fitted, loans):
    entry = {"data": "m", "model_format": "ubj"}
    with pytest.raises(ModelError, match="xgboost cannot read m") as caught:
        brought(logged("xgboost", entry, "m", native.dumps(fitted)), loans)
    assert "another flavor" in caught.value.hint
    entry = {"pickled_model": "m", "serialization_format": "skops"}
    with pytest.raises(IntegrityError, match="no skops file"):
        brought(logged("sklearn", entry, "m", pickle.dumps(fitted)), loans)


def test_an_unknown_flavor_or_format_is_refused(logged, loans):
    with pytest.raises(ModelError, match="it has spark"):
        brought(logged("spark", {"data": "m"}, "m", b"x"), loans)
    entry = {"pickled_model": "m", "serialization_format": "marshal"}
    with pytest.raises(ModelError, match="'marshal'"):
        brought(logged("sklearn", entry, "m", b"x"), loans)


def test_an_archive_that_claims_gigabytes_is_refused(logged, loans):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("schema.json", "{}")
    data = bytearray(out.getvalue())
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = (2 << 30).to_bytes(4, "little")
    entry = {"pickled_model": "m", "serialization_format": "skops"}
    with pytest.raises(ModelError, match="unpacks to 2,147,483,648 bytes"):
        brought(logged("sklearn", entry, "m", bytes(data)), loans)


def test_a_regression_does_not_take_a_classifier(skops, fitted, loans):
    with pytest.raises(ModelError, match="is a classifier"):
        brought(skops(fitted), loans, Roles(target="loss"))


def test_a_classifier_must_give_scores(skops, loans, tmp_path):
    line = LinearRegression().fit(loans[NUMBERS], loans["loss"])
    with pytest.raises(ModelError, match="no probabilities"):
        answers(brought(skops(line), loans), tmp_path)
    signed = answers(brought(skops(line), loans, Roles(target="loss")), tmp_path)
    assert signed.task == "regression"


def test_what_is_nested_without_end_is_no_text(logged, loans):
    endless = "x"
    for _ in range(30):
        endless = [endless] * 10
    assert not flavors._is_booster({"model_class": endless, "data": endless})
    folder = logged("sklearn", {"pickled_model": "m"}, "m", b"")
    described = mlmodel.read(folder)
    described.flavors["sklearn"]["serialization_format"] = endless
    with pytest.raises(RefusedError, match="a program"):
        flavors.load(folder, described, "regression", 0)
