import numpy as np
import pytest

from trimtab.model.decide import decide
from trimtab.model.parity import compare
from trimtab.model.signature import Signature

BINARY = Signature(
    task="binary", engine="onnx", inputs=(), classes=("no", "yes"), positive="yes", threshold=0.5
)


def test_a_tie_at_the_threshold_is_positive_in_both_precisions():
    exact = np.array([0.5, 0.4999])
    rounded = np.nextafter(np.float32(0.5), np.float32(0)).repeat(2)
    rounded[1] = 0.4999
    assert decide(BINARY, exact) == decide(BINARY, rounded) == ["yes", "no"]


def test_the_positive_class_may_come_first():
    flipped = Signature(
        task="binary", engine="onnx", inputs=(), classes=("bad", "good"), positive="bad"
    )
    assert decide(flipped, np.array([0.9, 0.1])) == ["bad", "good"]


def test_multiclass_takes_the_first_of_equals():
    signed = Signature(task="multiclass", engine="onnx", inputs=(), classes=(1, 2, 3))
    assert decide(signed, np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])) == [1, 3]


def test_figures_of_a_comparison():
    expected = np.array([0.1, 0.2, 0.3, 0.4])
    found = compare(
        expected, expected + np.array([0, 2e-4, 0, 5e-3]), (["a"] * 4, ["a", "b", "a", "a"])
    )
    assert (found.rows, found.above, found.far, found.flips) == (4, 0.5, 0.25, 1)
    assert found.max_difference == pytest.approx(5e-3)
    assert "1 of 4 decisions" in found.refusal


def test_a_thousandth_of_the_rows_may_be_off():
    expected = np.zeros(1000)
    one = expected.copy()
    one[0] = 0.5
    assert compare(expected, one).refusal == ""
    one[1] = 0.5
    assert "0.20%" in compare(expected, one).refusal


def test_nan_on_one_side_is_as_far_as_can_be():
    assert compare(np.array([np.nan]), np.array([np.nan])).refusal == ""
    assert compare(np.array([0.5]), np.array([np.nan])).refusal != ""


def test_regressions_are_judged_in_their_own_scale():
    assert compare(np.array([1e6]), np.array([1e6 + 10]), scale=1e5).refusal == ""
    assert compare(np.array([1e6]), np.array([1e6 + 10]), scale=1.0).refusal != ""


def test_a_slice_that_is_off_refuses_what_the_whole_would_allow():
    expected = np.zeros(10_000)
    got = expected.copy()
    got[:8] = 0.5
    groups = {"group": ["small"] * 40 + ["large"] * 9_960}
    assert compare(expected, got).refusal == ""
    found = compare(expected, got, groups=groups)
    small = next(one for one in found.slices if one.value == "small")
    assert (small.rows, small.far, small.max_difference) == (40, 0.2, 0.5)
    assert "20.00% of 40 rows where group is 'small'" in found.refusal


def test_flipped_decisions_are_counted_in_every_slice():
    expected = np.zeros(5_000)
    decisions = (["a"] * 5_000, ["b"] * 3 + ["a"] * 4_997)
    groups = {"kind": ["x"] * 100 + ["y"] * 4_900}
    found = compare(expected, expected, decisions, groups=groups)
    assert [(one.value, one.flips) for one in found.slices] == [("x", 3), ("y", 0)]
    assert found.refusal == "3 of 100 decisions where kind is 'x' differ from the estimator's"


def test_one_row_of_a_small_slice_may_be_off():
    expected = np.zeros(5_000)
    got = expected.copy()
    got[0] = 1.0
    assert compare(expected, got, groups={"g": ["x"] * 30 + ["y"] * 4_970}).refusal == ""


def test_slices_have_thirty_rows_and_a_known_value():
    groups = {"g": ["a"] * 29 + ["b"] * 30 + [None] * 41, "id": [str(i) for i in range(100)]}
    found = compare(np.zeros(100), np.zeros(100), groups=groups)
    assert [(one.column, one.value, one.rows) for one in found.slices] == [("g", "b", 30)]


def test_of_many_slices_the_largest_are_kept():
    values = [str(i) for i in range(120) for _ in range(30 + i)]
    rows = np.zeros(len(values))
    found = compare(rows, rows, groups={"g": values})
    assert len(found.slices) == 100
    assert min(one.rows for one in found.slices) == 50
