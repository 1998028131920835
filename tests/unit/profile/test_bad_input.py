"""Tables as they really come: each has a clear outcome, and none takes anything else down."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import ConflictError, DataError
from trimtab.monitor.judge import judge
from trimtab.profile.columns import Coded
from trimtab.profile.fit import fit
from trimtab.profile.profile import count, distinct, empty, encode, mean, merge
from trimtab.profile.reference import Reference, decode, fit_dated, fit_reference
from trimtab.profile.reference import encode as encode_reference

ROWS = 1_000


def calm(seed: int = 0, rows: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=rows),
        "c": np.array(["a", "b", "c"], dtype=object)[random.integers(0, 3, rows)],
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(calm(0, 10_000))


def kinds(reference: Reference, columns: dict[str, np.ndarray]) -> dict[str, set[str]]:
    """Finding kind -> features, of one window."""
    window = count(reference.bins, columns)
    assert encode(window)
    found = judge(reference, [window]).findings
    return {one.kind: {each.feature for each in one.features} for one in found}


def test_an_empty_window_is_too_little_to_judge(reference):
    window = count(reference.bins, calm(1, 0))
    assert window.rows == 0
    assert encode(window) == encode(empty(reference.bins))
    assert judge(reference, [window]).reason.startswith("0 rows are too few")


def test_an_empty_or_shapeless_table_makes_no_reference():
    with pytest.raises(DataError, match="needs rows and this table has none"):
        fit_reference(calm(0, 0))
    with pytest.raises(DataError, match="no column"):
        fit_reference({})
    with pytest.raises(DataError, match="has 2 dimensions"):
        fit_reference({"x": np.zeros((3, 2))})
    with pytest.raises(DataError, match="2 rows and"):
        fit_reference({"x": np.zeros(3), "y": np.zeros(2)})
    with pytest.raises(DataError, match="complex128"):
        fit_reference({"x": np.zeros(3, dtype=complex)})


def test_one_row(reference):
    alone = fit_reference(calm(2, 1))
    assert alone.profile.rows == 1
    assert judge(alone, [count(alone.bins, calm(3))]).measures
    assert judge(reference, [count(reference.bins, calm(2, 1))]).reason
    assert decode(encode_reference(alone)).profile.rows == 1


@pytest.mark.parametrize("value", [0.0, 7.5, -1e308, 5e-324])
def test_a_constant_column_is_calm_until_another_value_comes(value):
    reference = fit_reference({"x": np.full(5_000, value)})
    same = np.full(ROWS, value)
    assert kinds(reference, {"x": same}) == {}
    other = same.copy()
    other[:20] = value + 1 if abs(value) < 1e300 else 0.0
    assert set(kinds(reference, {"x": other})) & {"broken input", "data drift", "skew"}


def test_a_column_that_turns_constant(reference):
    assert kinds(reference, calm(4) | {"x": np.zeros(ROWS)}) == {"broken input": {"x"}}
    assert "data drift" in kinds(reference, calm(4) | {"c": np.full(ROWS, "a", dtype=object)})


def test_all_missing(reference):
    gone = calm(5) | {"x": np.full(ROWS, np.nan), "c": np.full(ROWS, None, dtype=object)}
    assert kinds(reference, gone) == {"broken input": {"x", "c"}}
    never = fit_reference(gone)
    assert kinds(never, gone) == {}
    assert kinds(never, calm(6)) != {}
    assert np.isnan(mean(never.bins, never.profile, "x"))


@pytest.mark.parametrize("value", [1e308, -1e308, 1.7976931348623157e308])
def test_one_value_at_the_end_of_the_float_range(reference, value):
    rows = calm(7)
    rows["x"][3] = value
    assert kinds(reference, rows) == {}
    window = count(reference.bins, rows)
    assert max(abs(window.low[0]), abs(window.high[0])) == abs(value)
    rest = np.delete(rows["x"], 3)
    exact = mean(reference.bins, window, "x") * ROWS
    assert exact == pytest.approx(value, rel=1e-12)
    assert np.isfinite(rest).all()
    base = calm(0, 10_000)
    base["x"][3] = value
    blind = fit_reference(base)
    assert kinds(blind, calm(8) | {"x": calm(8)["x"] + 1}) == {"data drift": {"x"}}


def test_infinity_is_broken_input(reference):
    rows = calm(9)
    rows["x"][:50] = np.inf
    rows["x"][50:80] = -np.inf
    assert kinds(reference, rows) == {"broken input": {"x"}}
    window = count(reference.bins, rows)
    assert np.isfinite(window.high[0])
    assert np.isfinite(mean(reference.bins, window, "x"))


def test_mixed_types_are_counted_and_named(reference):
    mixed = np.array(
        ["1.5", 2, None, [3], {"a": 1}, b"x", float("nan"), 1 + 2j] * 125, dtype=object
    )
    found = kinds(reference, {"x": mixed, "c": mixed})
    assert found["broken input"] == {"x", "c"}
    reference = fit_reference({"m": mixed})
    assert kinds(reference, {"m": mixed}) == {}


def test_numbers_where_text_was_and_text_where_numbers_were(reference):
    turned = {"x": calm(10)["c"], "c": calm(10)["x"]}
    assert set().union(*kinds(reference, turned).values()) == {"x", "c"}


def test_huge_integers_bools_and_numpy_scalars():
    column = np.array([10**400, -(10**400), True, np.float32(1.5), np.int8(3)] * 20, dtype=object)
    reference = fit_reference({"x": column})
    assert kinds(reference, {"x": column}) == {}


@pytest.mark.slow
def test_a_hundred_thousand_levels():
    names = np.array([f"user {i}" for i in range(100_000)], dtype=object)
    reference = fit_reference({"user": names})
    (cells,) = reference.bins.features
    assert cells.levels == ()
    assert not cells.complete
    assert distinct(reference.bins, reference.profile, "user") == pytest.approx(100_000, rel=0.1)
    assert len(encode_reference(reference)) < 10_000
    assert kinds(reference, {"user": names[:ROWS]}) == {}


@pytest.mark.slow
def test_a_million_levels():
    names = tuple(f"user {i}" for i in range(1_000_000))
    column = {"user": Coded(names, np.arange(1_000_000))}
    reference = fit_reference(column)
    assert distinct(reference.bins, reference.profile, "user") == pytest.approx(1e6, rel=0.1)
    assert judge(reference, [reference.profile]).findings == ()


def test_levels_as_long_as_books_and_of_every_script(reference):
    odd = ["", " ", "\0", "a" * 100_000, "\U0001f600", "\ud800", "e\u0301", "\u00e9", "NaN", "None"]
    column = np.array(odd * 100, dtype=object)
    found = fit_reference({"c": column})
    assert len(found.bins.features[0].levels) == len(odd) - 1
    again = decode(encode_reference(found))
    assert kinds(again, {"c": column}) == {}
    assert kinds(reference, calm(11) | {"c": column})["skew"] == {"c"}


def test_an_absent_column_is_named(reference):
    with pytest.raises(DataError, match="'c' is in the reference but not in this table"):
        count(reference.bins, {"x": np.zeros(3)})


def test_profiles_of_other_bins_are_not_mixed_up(reference):
    other = fit_reference(calm(12))
    with pytest.raises(ConflictError, match="different bins"):
        merge(reference.profile, other.profile)
    with pytest.raises(ConflictError, match="window 1 was counted on other bins"):
        judge(reference, [reference.profile, other.profile])


@pytest.mark.slow
def test_keys_that_do_not_fit_rows():
    columns, keys = calm(13), np.arange(ROWS) // 100
    with pytest.raises(DataError, match="2 season numbers for 1000 rows"):
        fit_reference(columns, keys, seasons=np.zeros(2, dtype=int))
    with pytest.raises(DataError, match="3 entity numbers for 1000 rows"):
        fit_reference(columns, entities=np.zeros(3))
    with pytest.raises(DataError, match="there are no chunks"):
        fit_reference(columns, seasons=keys)
    with pytest.raises(DataError, match="whole numbers, not float64"):
        fit_reference(columns, keys, seasons=keys * 1.0)
    with pytest.raises(DataError, match="500 seasons are too many"):
        wide = calm(14, 30_000)
        fit_reference(wide, np.arange(30_000) // 60, seasons=np.arange(30_000) // 60)


def test_times_before_the_epoch_and_all_the_same():
    columns = calm(15)
    for times in (np.full(ROWS, -5), np.arange(ROWS) - ROWS):
        found = fit_dated(columns, times.astype(np.int64), span=3_600_000_000)
        assert (found.seasons, found.dispersion) == (None, None)


def test_the_same_rows_twice_count_twice(reference):
    """A profile knows no identity: whoever may see a row twice must drop it before counting."""
    window = count(reference.bins, calm(16))
    assert merge(window, window).rows == 2 * ROWS


def test_a_column_of_one_kind_of_oddity_each():
    rows = 400
    odd = {
        "empty text": np.full(rows, "", dtype=object),
        "bytes": np.full(rows, b"a", dtype=object),
        "nan objects": np.full(rows, float("nan"), dtype=object),
        "infinite": np.full(rows, np.inf),
        "subnormal": np.full(rows, 5e-324),
        "negative zero": np.where(np.arange(rows) % 2, 0.0, -0.0),
        "half": np.arange(rows).astype(np.float16),
        "small": np.arange(rows).astype(np.uint8),
        "unicode": np.array(["\u00fc", "u"] * (rows // 2)),
    }
    reference = fit_reference(odd)
    assert kinds(reference, odd) == {}
    assert reference.profile.counts.sum() == rows * len(odd)


def test_embeddings_of_the_wrong_width_or_kind():
    random = np.random.default_rng(17)
    good = {"e": random.normal(size=(500, 6))}
    reference = fit_reference(good, kinds={"e": "embedding"})
    with pytest.raises(DataError, match="has 5 entries and had 6"):
        count(reference.bins, {"e": random.normal(size=(500, 5))})
    with pytest.raises(DataError, match="vectors of 0 entries"):
        fit({"e": np.array(["no", "vector"], dtype=object)}, {"e": "embedding"})
    odd = np.empty(500, dtype=object)
    odd[:] = [list(row) for row in good["e"]]
    odd[:200] = [None, [1.0, 2.0], "text", [1, 2, 3, 4, 5, "x"]] * 50
    found = kinds(reference, {"e": odd})
    assert set(found) == {"broken input"}
    assert len(found["broken input"]) == 64
