"""The border of the layer: what a scored table accepts, and how it refuses the rest."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import DataError
from trimtab.evaluate.scored import Scored

YES = np.array([True, False, True])
HALF = np.array([0.5, 0.2, 0.9])


def test_labels_become_flags_and_codes() -> None:
    words = np.array(["yes", "no", "yes"], dtype=object)
    named = Scored("binary", words, HALF, HALF > 0.4, ("no", "yes"))
    assert named.truth is not None
    assert named.truth.tolist() == [True, False, True]
    numbers = Scored("binary", np.array([1, 0, 1]), HALF, np.array([1.0, 0.0, 1.0]))
    assert numbers.truth is not None
    assert numbers.truth.dtype == numbers.decision.dtype == np.bool_
    trees = Scored("multiclass", np.array(["b", "a"]), None, np.array([1, 1]), ("a", "b", "c"))
    assert trees.truth is not None
    assert trees.truth.tolist() == [1, 0]


def test_regression_scores_with_its_decision() -> None:
    table = Scored("regression", None, None, np.array([1, 2]))
    assert table.score is not None
    assert table.score.tolist() == [1.0, 2.0]


def test_an_empty_table_is_a_table() -> None:
    none = np.array([], dtype=bool)
    assert Scored("binary", none, np.array([]), none).rows == 0
    assert (
        Scored("multiclass", None, np.empty((0, 2)), np.array([], dtype=int), ("a", "b")).rows == 0
    )


def test_take_takes_from_everything(binary) -> None:
    table = binary(50, groups={"A": 1, "B": 1}, baseline=True)
    part = table.take(table.slices["group"] == "A")
    assert part.rows == len(part.slices["group"]) == part.baseline.rows
    assert set(part.slices["group"]) == {"A"}
    assert np.array_equal(part.score, table.score[table.slices["group"] == "A"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"score": np.array([0.5, np.nan, 0.9])}, "row 1 has score nan"),
        (
            {"score": np.array([0.5, 1.2, 0.9])},
            r"row 1 has score 1.2, a probability lies in \[0, 1\]",
        ),
        ({"score": np.array([0.5, 0.2])}, "score has 2 rows, the decision has 3"),
        ({"score": np.full((3, 2), 0.5)}, r"shape \(3,\)"),
        ({"score": np.array(["a", "b", "c"])}, "score must hold numbers"),
        ({"truth": np.array([True, None, False], dtype=object)}, "row 1 has no truth"),
        ({"truth": np.array([1.0, 0.0, np.nan])}, "row 2 has no truth"),
        ({"truth": np.array([0, 2, 1])}, "neither true nor false"),
        ({"truth": np.array(["yes", "no", "no"])}, "neither true nor false"),
        ({"truth": YES[:2]}, "truth has 2 rows, the decision has 3"),
        ({"truth": YES[:, None]}, "one value per row"),
        ({"slices": {"group": np.array(["A"], dtype=object)}}, "group has 1 rows"),
        (
            {"classes": ("a", "b", "c"), "truth": np.array([1, 0, 1])},
            "binary table has two classes",
        ),
        ({"task": "ranking"}, "unknown task 'ranking'"),
    ],
)
def test_bad_binary_input_is_refused(fields, said) -> None:
    good = {"task": "binary", "truth": YES, "score": HALF, "decision": YES}
    with pytest.raises(DataError, match=said):
        Scored(**{**good, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": ()}, "names of its classes"),
        ({"truth": np.array(["a", "x"])}, "truth 'x', which is no class"),
        ({"truth": np.array([0, 3])}, "row 1 has truth 3, there are 3 classes"),
        ({"truth": np.array([0.0, 1.0])}, "class codes or class names"),
        ({"classes": ("1", "2", "3")}, "named by other integers"),
        ({"score": np.full((2, 3), 0.5)}, "sum to 1.5"),
        ({"score": np.full((2, 2), 0.5)}, r"shape \(2, 3\)"),
    ],
)
def test_bad_multiclass_input_is_refused(fields, said) -> None:
    good = {
        "truth": np.array([0, 1]),
        "score": np.full((2, 3), 1 / 3),
        "decision": np.array([0, 1]),
        "classes": ("a", "b", "c"),
    }
    with pytest.raises(DataError, match=said):
        Scored("multiclass", **{**good, **fields})


def test_a_baseline_scores_the_same_rows() -> None:
    with pytest.raises(DataError, match="same rows: 2 of 3"):
        Scored("binary", YES, HALF, YES, baseline=Scored("binary", YES[:2], None, YES[:2]))
    with pytest.raises(DataError, match="another truth"):
        Scored("binary", YES, HALF, YES, champion=Scored("binary", ~YES, None, YES))


def test_what_is_not_known_is_not_read() -> None:
    bare = Scored("binary", None, None, YES)
    with pytest.raises(DataError, match="no truth"):
        _ = bare.known_truth
    with pytest.raises(DataError, match="no scores"):
        _ = bare.known_score
