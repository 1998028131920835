import numpy as np
import polars as pl
import pytest

from trimtab.errors import MissingExtraError
from trimtab.model.brought import torch_model
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.model.signature import Column, Signature

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(Column(name="a", kind="number"), Column(name="b", kind="number")),
    target="y",
    classes=("no", "yes"),
    positive="yes",
)
ROWS = pl.DataFrame(
    {"a": np.linspace(-2, 2, 50), "b": np.linspace(1, -1, 50), "y": ["no", "yes"] * 25}
)


def test_a_module_of_torch_becomes_onnx(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is an extra and is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is of the extra torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Sigmoid())
    made = package(torch_model(module, SIGNED, ROWS), out=tmp_path / "m")
    assert made.signature.engine == "onnx"
    X = ROWS.select("a", "b").to_numpy()
    with torch.no_grad():
        expected = module(torch.from_numpy(X.astype(np.float32))).numpy()[:, 0]
    got = load(made.folder).predict({"a": X[:, 0], "b": X[:, 1]}).score
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match="needs torch"):
        torch_model(object(), SIGNED, ROWS)
