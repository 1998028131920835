from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.profile.cells import CategoryCells
from trimtab.profile.coder import coder, coding
from trimtab.profile.columns import Coded
from trimtab.profile.fit import fit
from trimtab.profile.steps import table

anything = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(width=64))
tame = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-5, 5))


def plain(cells, values):
    return np.searchsorted(np.array(cells.edges), values, side="right")


@given(st.one_of(anything, tame), st.one_of(anything, tame))
def test_codes_equal_a_binary_search(reference, values):
    cells = fit({"x": reference}).features[0]
    edges = np.array(cells.edges)
    with np.errstate(over="ignore"):
        beside = np.nextafter(edges, -np.inf)
    for column in (reference, values, edges, beside):
        assert np.array_equal(coder(cells)(column), plain(cells, column))
        assert np.array_equal(table(edges)(column), plain(cells, column))


positive = hnp.arrays(
    np.float64, st.integers(1, 300), elements=st.floats(1e-300, 1e300, allow_subnormal=False)
)


def test_infinity_beside_magnitudes_that_reach_it():
    few = [1.1, 4.7e299, 3.3e299, 7.1e299, 3.5e108, 6.5e16, 3.4e16, 3e16, 5.7e206]
    reference = np.concatenate([np.full(112, 3e-102), np.ones(3), np.full(4, 5.6e206), few])
    edges = np.array(fit({"x": reference}).features[0].edges)
    column = np.array([np.inf, 1.7976931348623157e308, 7e299, np.nan, -np.inf])
    assert np.array_equal(table(edges)(column), np.searchsorted(edges, column, side="right"))


@pytest.mark.slow
@settings(max_examples=300)
@given(positive, st.one_of(positive, anything))
def test_codes_of_magnitudes_equal_a_binary_search(reference, values):
    edges = np.array(fit({"x": reference}).features[0].edges)
    for column in (reference, values):
        assert np.array_equal(table(edges)(column), np.searchsorted(edges, column, side="right"))


def test_the_table_agrees_on_smooth_skewed_and_tied_columns():
    random = np.random.default_rng(0)
    n = 40_000
    columns = (
        random.normal(size=n),
        random.lognormal(0, 3, size=n),
        np.floor(random.exponential(20, size=n)),
        np.concatenate([random.normal(size=n), [1e9, -1e300]]),
        2020 + random.integers(0, 5, n) / 12,
    )
    for column in columns:
        cells = fit({"x": column}).features[0]
        values = np.concatenate([column * 1.1, np.array(cells.bounds), [np.nan, np.inf, -np.inf]])
        assert np.array_equal(coder(cells)(values), plain(cells, values))


def test_every_place_on_the_line_has_its_cell():
    cells = fit({"x": np.arange(10.0, 21.0)}).features[0]
    values = [-np.inf, -1e308, -0.01, 0.0, 9.9, 10, 20, 20.1, 30, 30.1, np.inf, np.nan]
    labels = [cells.label(code) for code in coder(cells)(np.array(values))]
    assert labels[:5] == ["-infinity", *["far below 10"] * 2, *["below 10"] * 2]
    assert labels[7:] == ["above 20", "above 20", "far above 20", "+infinity", "missing"]
    odd = coder(cells)(np.array([None, float("nan"), "x", 12], dtype=object))
    assert [cells.label(code) for code in odd][:3] == ["missing", "NaN", "mistyped"]


def test_levels_other_unseen_missing_and_mistyped():
    values = ["a"] * 9 + ["b"] * 5 + [f"rare{i}" for i in range(2_000)]
    cells = fit({"x": np.array(values, dtype=object)}).features[0]
    column = ["a", "b", "rare7", "new", None, float("nan"), 3, ["list"], "new"]
    array = np.empty(len(column), dtype=object)
    array[:] = column
    labels = [cells.label(code) for code in coder(cells)(array)]
    assert labels == [
        "'a'",
        "'b'",
        "other levels",
        "unseen levels",
        "missing",
        "missing",
        "mistyped",
        "mistyped",
        "unseen levels",
    ]


@pytest.mark.slow
def test_nothing_is_unseen_where_the_tail_is_not_kept():
    cells = fit({"x": np.array([f"id{i}" for i in range(66_000)], dtype=object)}).features[0]
    (code,) = coder(cells)(np.array(["never"], dtype=object))
    assert cells.label(code) == "other levels"


def test_lone_surrogates_do_not_stop_counting():
    cells = fit({"x": np.array(["\ud800", "a"], dtype=object)}).features[0]
    codes = coder(cells)(np.array(["\ud800", "\udfff"], dtype=object))
    assert [cells.label(code) for code in codes] == ["other levels", "unseen levels"]


@pytest.mark.slow
def test_tables_agree_at_every_edge_and_beside_it():
    """Columns over any magnitudes; every edge, its neighbours, both zeros, infinities and NaN."""
    random = np.random.default_rng(123)
    for _ in range(150):
        n = int(random.integers(1, 400))
        for reference in (
            10.0 ** random.uniform(-307, 308, n),
            random.normal(size=n) * 10.0 ** random.uniform(-300, 300),
            random.choice(10.0 ** random.uniform(-307, 308.2, 8), n),
            np.round(random.exponential(5, n), 1),
        ):
            edges = np.array(fit({"x": reference}).features[0].edges)
            with np.errstate(over="ignore"):
                beside = [np.nextafter(edges, end) for end in (np.inf, -np.inf)]
            odd = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1.797e308]
            values = np.concatenate([edges, *beside, reference, -reference, odd])
            found = np.searchsorted(edges, values, side="right")
            assert np.array_equal(table(edges)(values), found)


odd = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["a", "b", "\ud800", "\udfff", "", "nan"]),
    st.none(),
    st.floats(),
    st.integers(-3, 3),
    st.just([1]),
    st.booleans(),
)


def one_by_one(cells, value):
    if value in cells.levels:
        return cells.levels.index(value)
    if isinstance(value, str):
        return len(cells.levels) + 1
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return len(cells.levels) + (2 if missing else 3)


@given(st.lists(st.text(max_size=2), max_size=40, unique=True), st.lists(odd, max_size=60))
def test_levels_are_coded_as_one_by_one(levels, values):
    cells = CategoryCells(
        name="x", levels=tuple(levels), tail=b"", complete=True, once=0, twice=0,
        scores=(0,) * (len(levels) + 4),
    )  # fmt: skip
    column = np.empty(len(values), dtype=object)
    column[:] = values
    strange = set()
    codes = coding(cells)(strange)(column)
    assert codes.dtype == np.int64
    assert codes.tolist() == [one_by_one(cells, value) for value in values]
    assert len(strange) == len({one for one in values if isinstance(one, str)} - set(levels))


def test_more_levels_than_the_plane_of_letters_has_room_before_its_surrogates():
    levels = tuple(f"level {k}" for k in range(70_000))
    cells = CategoryCells(
        name="x", levels=levels, tail=b"", complete=True, once=0, twice=0,
        scores=(0,) * (len(levels) + 4),
    )  # fmt: skip
    picked = np.arange(0, 70_000, 7)
    column = np.array([levels[k] for k in picked] + [None, "other"], dtype=object)
    expected = [*picked.tolist(), 70_002, 70_001]
    assert coder(cells)(column).tolist() == expected
    coded = Coded((*levels, "other"), np.array([*picked, -1, 70_000]))
    assert coder(cells)(coded).tolist() == expected
