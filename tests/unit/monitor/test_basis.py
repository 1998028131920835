from __future__ import annotations

import numpy as np
import pytest

from trimtab.model.signature import Signature
from trimtab.monitor import basis
from trimtab.monitor.log import traffic
from trimtab.profile.reference import fit_reference

BINARY = Signature(
    task="binary", engine="onnx", inputs=(), classes=(False, True), positive=True, threshold=0.3
)
MANY = Signature(task="multiclass", engine="onnx", inputs=(), classes=("a", "b", "c"))
VALUE = Signature(task="regression", engine="onnx", inputs=())


def fitted(signed, score, decision, truth):
    noise = np.random.default_rng(0)
    table = {"x": noise.normal(size=len(truth))} | traffic.outputs(score, decision, signed)
    known = fit_reference(table, kinds=None)
    return basis.fit(signed, known, table, score, decision, truth)


def binary():
    noise = np.random.default_rng(1)
    score = noise.random(2_000)
    return fitted(BINARY, score, (score >= 0.3).tolist(), (noise.random(2_000) < score).tolist())


def test_a_binary_basis_watches_errors_at_the_models_own_threshold():
    found = binary()
    assert found.streams == ("errors", "more", "fewer")
    assert found.threshold == 0.3
    assert abs(found.calibration.rate - 0.5) < 0.05
    assert [one.feature for one in found.strata.features] == ["x", "__score__", "__decision__"]


def test_the_error_of_a_regression_is_large_beyond_four_fifths_of_the_withheld():
    noise = np.random.default_rng(2)
    score, truth = np.zeros(1_000), noise.normal(size=1_000)
    found = fitted(VALUE, score, score.tolist(), truth.tolist())
    assert found.streams == ("more",)
    assert np.isclose(found.limit, 1.28, atol=0.1)
    happened = basis.events(VALUE, found.limit, score, score.tolist(), truth.tolist())
    assert abs(happened.mean() - 0.2) < 0.01


def test_the_event_of_a_multiclass_model_is_a_right_answer():
    score = np.full((4, 3), 1 / 3)
    happened = basis.events(MANY, 0.0, score, ["a", "b", "c", "a"], ["a", "c", "c", "b"])
    assert happened.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_labels_compare_as_text():
    known = Signature(task="binary", engine="onnx", inputs=(), classes=(0, 1), positive=1)
    happened = basis.events(known, 0.0, np.zeros(4), [0, 0, 0, 0], [1, 1.0, "1", 0])
    assert happened.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_flip_turns_events_into_what_a_stream_counts():
    found, score = binary(), np.array([0.1, 0.3, 0.9])
    assert basis.flip(found, "errors", score).tolist() == [False, True, True]
    assert basis.flip(found, "more", score).tolist() == [False] * 3
    assert basis.flip(found, "fewer", score).tolist() == [True] * 3


@pytest.mark.parametrize("stream", ["errors", "more", "fewer"])
def test_as_many_outcomes_are_expected_as_a_calibrated_model_has(stream):
    found, noise = binary(), np.random.default_rng(3)
    score = noise.random(4_000)
    event = (noise.random(4_000) < score).astype(float)
    seen, expected = basis.expected(found, stream, score, event)
    assert abs(seen - expected) < 150
    wrong, _ = basis.expected(found, stream, score, 1 - event)
    assert stream != "errors" or wrong > 1.5 * expected


def test_a_basis_survives_its_encoding():
    found = binary()
    assert basis.decode(basis.encode(found)) == found
