from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import DataError
from trimtab.profile import columns


def test_rows_of_all_columns_must_agree():
    ragged = {"a": np.zeros(3), "b": np.zeros(4)}
    with pytest.raises(DataError, match="'b' has 4 rows and 'a' has 3"):
        columns.row_count(ragged)
    with pytest.raises(DataError, match="no column"):
        columns.row_count({})
    with pytest.raises(DataError, match="2 dimensions"):
        columns.row_count({"a": np.zeros((2, 2))})


def test_kind_follows_dtype_and_in_object_arrays_the_majority():
    assert columns.kind_of("x", np.zeros(2)) == "number"
    assert columns.kind_of("x", np.array([True, False])) == "number"
    assert columns.kind_of("x", np.array(["a", "b"])) == "category"
    assert columns.kind_of("x", np.array([None, 1, 2.5, "a"], dtype=object)) == "number"
    assert columns.kind_of("x", np.array([None, "b", 2.5, "a"], dtype=object)) == "category"
    assert columns.kind_of("x", np.array([None, None], dtype=object)) == "category"


@pytest.mark.parametrize(
    ("values", "free"),
    [
        ([f"please call me back about {i}" for i in range(60)], True),
        ([f"{i:032x}" for i in range(60)], True),
        ([f"c{i}" for i in range(60)], False),  # codes, however many
        (["please call me back", "no thank you"] * 30, False),  # answers to choose from
        ([f"please call me back about {i}" for i in range(49)], False),
        ([None] * 60, False),
    ],
)
def test_free_text_is_what_hardly_recurs_and_is_long_or_several_words(values, free):
    assert columns.is_free_text(np.array(values, dtype=object)) is free


def test_times_are_refused_with_a_way_out():
    with pytest.raises(DataError, match=r"datetime64") as caught:
        columns.kind_of("when", np.array(["2024-01-01"], dtype="datetime64[D]"))
    assert "float64" in caught.value.hint


def test_mixed_objects_as_numbers():
    found = columns.numbers(
        np.array([1, None, float("nan"), "12", 10**400, [1], True], dtype=object)
    )
    assert found.values.tolist()[:1] == [1.0]
    assert found.values[4] == np.inf
    assert found.values[6] == 1.0
    assert found.nan is not None
    assert np.flatnonzero(found.nan).tolist() == [2]
    assert found.odd is not None
    assert np.flatnonzero(found.odd).tolist() == [3, 5]


def test_numbers_as_texts():
    assert columns.texts(np.array([3.0, np.nan, 0.5])) == ["3", None, "0.5"]
    assert columns.texts(np.array([3, 4])) == ["3", "4"]


def test_an_absent_column_is_named():
    with pytest.raises(DataError, match="'b' is in the reference"):
        columns.wanted({"a": np.zeros(1)}, ("a", "b"))
