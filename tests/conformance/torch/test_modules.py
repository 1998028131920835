"""Modules of a real PyTorch become graphs that answer as they do.

PyTorch writes a graph in the process that holds the module, so this part has trimtab's own modules
beside the client, unlike all others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from trimtab.errors import ModelError
from trimtab.model.brought import torch_model
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.model.signature import Column, Signature

COLUMNS = (Column(name="a", kind="number"), Column(name="b", kind="number"))
GRID = np.random.default_rng(0).normal(size=(60, 2))
CLASSES = {"binary": ("no", "yes"), "multiclass": ("x", "y", "z"), "regression": ()}


def network(task: str) -> torch.nn.Module:
    torch.manual_seed(0)
    ends = {
        "binary": (1, torch.nn.Sigmoid()),
        "multiclass": (3, torch.nn.Softmax(dim=1)),
        "regression": (1, torch.nn.Identity()),
    }
    width, end = ends[task]
    return torch.nn.Sequential(
        torch.nn.Linear(2, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, width),
        end,
    )


def signed(task: str) -> Signature:
    classes = CLASSES[task]
    positive = "yes" if task == "binary" else None
    return Signature(
        task=task, engine="onnx", inputs=COLUMNS, target="t", classes=classes, positive=positive
    )


def rows(task: str) -> pl.DataFrame:
    classes = CLASSES[task]
    truth = [classes[i % len(classes)] for i in range(60)] if classes else GRID[:, 0] - GRID[:, 1]
    return pl.DataFrame({"a": GRID[:, 0], "b": GRID[:, 1], "t": truth})


@pytest.mark.parametrize("task", sorted(CLASSES))
def test_a_module_answers_packaged_as_it_does_itself(tmp_path, task):
    module = network(task)
    module(torch.from_numpy(GRID.astype(np.float32)))  # the statistics of its batches move
    made = package(torch_model(module, signed(task), rows(task)), out=tmp_path / "m")
    assert made.signature.engine == "onnx"
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(GRID.astype(np.float32))).numpy()
    got = np.asarray(load(made.folder).predict({"a": GRID[:, 0], "b": GRID[:, 1]}).score)
    np.testing.assert_allclose(got.reshape(60, -1), expected, atol=1e-6)


def test_a_module_that_branches_on_a_row_is_refused_with_what_to_do():
    class Branching(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(given[:, :1]) if given.sum() > 0 else torch.sigmoid(given[:, 1:])

    with pytest.raises(ModelError, match="cannot export") as refused:
        torch_model(Branching(), signed("binary"), rows("binary"))
    assert "no branch may depend" in refused.value.hint


def test_a_module_of_another_width_is_refused():
    wide = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Sigmoid())
    with pytest.raises(ModelError, match="cannot export"):
        torch_model(wide, signed("binary"), rows("binary"))


def test_a_text_column_is_refused_by_name():
    words = Signature(
        task="binary",
        engine="onnx",
        inputs=(*COLUMNS, Column(name="w", kind="text")),
        target="t",
        classes=("no", "yes"),
        positive="yes",
    )
    named = rows("binary").with_columns(pl.lit("k").alias("w"))
    with pytest.raises(ModelError, match="'w' is a text"):
        torch_model(network("binary"), words, named)
