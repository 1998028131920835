"""`MLmodel` is a stranger's text: what it says is read, what it must not say is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.errors import DataError, ModelError
from trimtab.model import mlmodel


@pytest.fixture
def folder(tmp_path):
    def write(signature=None, **fields):
        told = {"flavors": {"sklearn": {"pickled_model": "model.skops"}}, **fields}
        if signature is not None:
            told["signature"] = {"inputs": json.dumps(signature), "params": None}
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(told))
        return tmp_path

    return write


def column(name, kind="double", **more):
    return {"type": kind, "name": name, "required": True, **more}


def test_flavors_columns_and_the_client_are_read(folder):
    given_columns = [
        column("a"), column("b", "long"), column("c", "string"), column("d", "boolean")
    ]  # fmt: skip
    found = mlmodel.read(folder(given_columns, mlflow_version="3.17.2"))
    assert found.client == "3.17.2"
    assert list(found.flavors) == ["sklearn"]
    assert [(one.name, one.kind) for one in found.columns] == [
        ("a", "number"), ("b", "number"), ("c", "text"), ("d", "boolean"),
    ]  # fmt: skip


def test_a_model_may_say_nothing_of_its_columns(folder):
    assert mlmodel.read(folder()).columns == ()
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]
    assert mlmodel.read(folder(tensor)).columns == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([column("a", "datetime")], "'datetime'"),
        ([column("a", "binary")], "'binary'"),
        ([column("a"), column("", "double")], "without a name"),
        ([column("a"), {"type": "array", "name": "b"}], "'array'"),
        ([column(f"c{index}") for index in range(10_001)], "more than 10,000 columns"),
    ],
    ids=["a time", "bytes", "no name", "a list", "too many"],
)
def test_columns_that_are_not_served_are_refused(folder, columns, said):
    with pytest.raises(ModelError, match=said):
        mlmodel.read(folder(columns))


def test_a_column_that_is_named_twice_is_refused(folder):
    with pytest.raises(DataError, match="twice"):
        mlmodel.read(folder([column("a"), column("a")]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "names no flavors"),
        (b"flavors: []", "names no flavors"),
        (b"{", "cannot be read"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"flavors: {a: {}}\nx: !!python/object/apply:os.system ['true']", "cannot be read"),
        (b"[" * 20_000, "cannot be read"),
        (b"#" * (1 << 20) + b"#", "longer than"),
        (b"flavors: {a: {}}\nsignature: {inputs: '{'}", "signature in MLmodel cannot be read"),
        (b"flavors: {a: {}}\nsignature: {inputs: '[1]'}", "signature in MLmodel cannot be read"),
    ],
    ids=["empty", "a list", "no end", "no text", "a program", "deep", "long", "torn", "numbers"],
)
def test_a_text_that_is_none_is_refused(tmp_path, text, said):
    (tmp_path / "MLmodel").write_bytes(text)
    with pytest.raises(ModelError, match=said):
        mlmodel.read(tmp_path)


def test_a_folder_without_it_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no MLmodel"):
        mlmodel.read(tmp_path)


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    (folder / "MLmodel").write_bytes(text)
    with contextlib.suppress(ModelError, DataError):
        assert mlmodel.read(folder).flavors


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "a/../../secret", "", None, 7, "a\0b", "..\\secret", ".", "inner"],
)
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    inner = tmp_path / "model"
    (inner / "inner").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ModelError, match="no file of the model|no such file"):
        mlmodel.inside(inner, path)


def test_a_link_that_leads_out_is_refused(tmp_path):
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "secret").write_text("x")
    (inner / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="no file of the model"):
        mlmodel.inside(inner, "link")


def test_a_file_of_the_model_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.onnx").write_bytes(b"x")
    assert mlmodel.inside(tmp_path, "data/model.onnx").read_bytes() == b"x"
