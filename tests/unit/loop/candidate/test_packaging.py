"""What a package says of a candidate's withheld rows, slice by slice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from trimtab import config as project_file
from trimtab.loop.candidate import packaging
from trimtab.model.signature import Column, Signature
from trimtab.tune.candidate import Candidate

SIGNED = Signature(
    task="binary", engine="onnx", inputs=(Column(name="x", kind="number"),), target="good",
    classes=("no", "yes"), positive="yes", threshold=0.5,
)  # fmt: skip


class Model:
    """Sure of everything: yes from 0 on."""

    signature = SIGNED

    def predict(self, columns):
        x = np.asarray(columns["x"], dtype=float)
        return SimpleNamespace(
            score=np.where(x >= 0, 0.9, 0.1), decision=np.where(x >= 0, "yes", "no").tolist()
        )


@pytest.fixture
def found():
    """400 rows; the north is always right, the south in half of its rows, one row is of nowhere."""
    x = np.tile([1.0, -1.0], 200)
    region = ["north"] * 200 + ["south"] * 199 + [None]
    right = np.array([True] * 200 + [True, True, False, False] * 50)
    good = np.where((x >= 0) == right, "yes", "no")
    table = pl.DataFrame({"x": x, "region": region, "sex": ["f", "m"] * 200, "good": good})
    candidate = Candidate(
        estimator=None, params={}, task="binary", target="good", fit_on="good",
        classes=("no", "yes"), positive="yes", threshold=0.5, features={"x": "number"},
        train=table, withheld=table, trials=(), baseline={"shares": {"no": 0.5, "yes": 0.5}},
    )  # fmt: skip
    config = project_file.parse(
        {
            "project": {"name": "goods"},
            "data": {"goods": {"source": "x.csv", "target": "good", "protected": ["sex"]}},
            "require": {"accuracy": {"min": 0.1, "by": "region"}},
            "serve": {"pii": {"sex": "drop"}},
        }
    )
    answer = Model().predict(table)
    return packaging._slices(config, candidate, Model(), table, answer)


def test_a_slice_has_its_own_value_interval_and_rows(found):
    accuracy = {one.slice: one for one in found if one.metric == "accuracy"}
    assert (accuracy["region=north"].value, accuracy["region=north"].rows) == (1.0, 200)
    assert (accuracy["region=south"].value, accuracy["region=south"].rows) == (100 / 199, 199)
    assert accuracy["region=south"].lo < 100 / 199 < accuracy["region=south"].hi < 0.7
    assert accuracy[""].rows == 400
    assert accuracy[""].value == pytest.approx(0.75, abs=0.01)


def test_personal_columns_and_what_no_number_says_are_left_out(found):
    assert {one.slice.partition("=")[0] for one in found} == {"", "region"}
    assert all(np.isfinite([one.value, one.lo, one.hi]).all() for one in found)
    assert not any(one.metric == "roc_auc" and one.slice == "region=null" for one in found)
