from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.profile.coder import coder
from trimtab.profile.fit import fit

anything = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(width=64))
tame = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-5, 5))


def plain(cells, values):
    return np.searchsorted(np.array(cells.edges), values, side="right")


@given(st.one_of(anything, tame), st.one_of(anything, tame))
def test_codes_equal_a_binary_search(reference, values):
    cells = fit({"x": reference}).features[0]
    for column in (reference, values):
        assert np.array_equal(coder(cells)(column), plain(cells, column))


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


def test_nothing_is_unseen_where_the_tail_is_not_kept():
    cells = fit({"x": np.array([f"id{i}" for i in range(66_000)], dtype=object)}).features[0]
    (code,) = coder(cells)(np.array(["never"], dtype=object))
    assert cells.label(code) == "other levels"


def test_lone_surrogates_do_not_stop_counting():
    cells = fit({"x": np.array(["\ud800", "a"], dtype=object)}).features[0]
    codes = coder(cells)(np.array(["\ud800", "\udfff"], dtype=object))
    assert [cells.label(code) for code in codes] == ["'\\ud800'", "unseen levels"]
