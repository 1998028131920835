"""Training rows through throwaway endpoints: a package as it should be, and one that mixes columns up."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import msgspec
import pytest

from trimtab.model import golden, signature
from trimtab.serve.measured.rehearsal import rehearse
from trimtab.serve.measured.skew import Training


@pytest.fixture
def package(tmp_path):
    path = Path(__file__).parents[1] / "unit" / "serve" / "conftest.py"
    spec = importlib.util.spec_from_file_location("packages_by_hand", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_package(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def training():
    rows = range(120)
    features = {
        "income": [i / 40 for i in rows],
        "debt": [(i % 50) / 10 - 2.5 for i in rows],
        "owner": [i % 2 == 0 for i in rows],
        "purpose": [["car", "home"][i % 2] for i in rows],
        "region": [["n", "s"][i % 2] for i in rows],
    }
    logits = [d + (p == "car") for d, p in zip(features["debt"], features["purpose"], strict=True)]
    scores = [1 / (1 + math.exp(-x)) for x in logits]
    decisions = ["yes" if x >= 0.5 else "no" for x in scores]
    return Training(sent=features, features=features, scores=scores, decisions=decisions)


def test_a_package_that_answers_as_training_did_has_no_skew(package, training):
    found = rehearse(package, training)
    assert (found.rows, found.off, found.refusal) == (120, 0, "")


def test_a_signature_in_another_order_is_refused_and_names_the_columns(package, training):
    """Its golden rows agree with it, so that nothing but training can tell."""
    signed = signature.read(package)
    income, debt, *rest = signed.inputs
    swapped = msgspec.structs.replace(signed, inputs=(debt, income, *rest))
    (package / signature.FILE).write_bytes(signature.encode(swapped))
    rows = golden.decode((package / golden.FILE).read_bytes())
    columns = {**rows.columns, "income": rows.columns["debt"], "debt": [0.0] * 4}
    rows = msgspec.structs.replace(rows, columns=columns)
    (package / golden.FILE).write_bytes(golden.encode(rows))
    found = rehearse(package, training)
    assert set(found.columns) == {"income", "debt"}
    assert "read in another column's place" in found.refusal
    assert found.predictions > 60
