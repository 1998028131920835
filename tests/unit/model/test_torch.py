import numpy as np
import polars as pl
import pytest

from trimtab.errors import MissingExtraError
from trimtab.model.brought import torch_model
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


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match="needs torch"):
        torch_model(object(), SIGNED, ROWS)
