from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data import diff
from trimtab.data.columns import TIME
from trimtab.data.diff import CellChange
from trimtab.errors import DataError

NAN = float("nan")
SCHEMA = {"n": pl.Int64, "x": pl.Float64, "s": pl.String, "ok": pl.Boolean}
CELLS = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-2, 2),
        "x": st.none() | st.sampled_from([0.0, -1.5, NAN, 1e300]),
        "s": st.none() | st.sampled_from(["", "a", "é"]),
        "ok": st.none() | st.booleans(),
    }
)
ROWS = st.lists(CELLS, max_size=8).map(lambda rows: pl.DataFrame(rows, schema=SCHEMA))


@st.composite
def keyed(draw) -> pl.DataFrame:
    keys = draw(st.lists(st.integers(0, 9), unique=True, max_size=8))
    cells = draw(st.lists(CELLS, min_size=len(keys), max_size=len(keys)))
    frame = pl.DataFrame(cells, schema=SCHEMA)
    frame = frame.with_columns(pl.Series("id", [str(k) for k in keys], dtype=pl.String))
    return frame.select("id", *draw(st.permutations(list(SCHEMA)))[: draw(st.integers(1, 4))])


def same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Equal rows in any order, NaN equal to NaN."""
    return bag(left.select(right.columns)) == bag(right)


def bag(frame: pl.DataFrame) -> Counter:
    return Counter(tuple(repr(cell) for cell in row) for row in frame.iter_rows())


@pytest.mark.slow
@given(keyed(), keyed())
def test_applying_the_keyed_difference_gives_the_table_after(before, after):
    found = diff.rows(before, after, "id")
    result = diff.apply(before, found)
    assert result.schema == after.schema
    assert same(result, after)


@given(ROWS, ROWS)
def test_applying_the_difference_of_multisets_gives_the_table_after(before, after):
    found = diff.rows(before, after)
    assert same(diff.apply(before, found), after)
    assert bag(before) - bag(after) == bag(found.removed)
    assert bag(after) - bag(before) == bag(found.added)


@pytest.mark.slow
@given(keyed(), keyed())
def test_the_counts_are_those_of_the_rows(before, after):
    found = diff.diff(before, after, "id", sample=1000)
    old, new = (dict(zip(f["id"], f.iter_rows(named=True), strict=True)) for f in (before, after))
    assert found.added == len(new.keys() - old.keys())
    assert found.removed == len(old.keys() - new.keys())
    cells = {
        (key, column)
        for key in new.keys() & old.keys()
        for column in {*before.columns, *after.columns}
        if repr(old[key].get(column)) != repr(new[key].get(column))
    }
    assert {(cell.key, cell.column) for cell in found.sample} == cells
    assert found.changed == len({key for key, _ in cells})
    assert found.columns == Counter(column for _, column in cells)


@pytest.mark.slow
@given(keyed())
def test_a_table_does_not_differ_from_itself_in_another_order(table):
    mixed = table.sample(fraction=1, shuffle=True, seed=1)
    assert diff.diff(table, mixed, "id").same
    assert diff.diff(table, mixed).same


def test_a_sample_names_key_column_before_and_after_in_row_order():
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    before = pl.DataFrame({"id": [1, 2, 3], "x": [1.0, NAN, 3.0], "at": pl.Series(at, dtype=TIME)})
    after = before.with_columns(
        pl.Series("x", [NAN, NAN, 4.0]), pl.Series("at", [at[0], None, at[0]], dtype=TIME)
    )
    found = diff.diff(before, after, "id", sample=3)
    assert (found.changed, found.columns) == (3, {"x": 2, "at": 2})
    assert found.sample[1:] == (
        CellChange(key=2, column="at", before="2026-01-02T00:00:00Z", after=None),
        CellChange(key=3, column="x", before=3.0, after=4.0),
    )
    assert found.sample[0].before == 1.0


def test_schema_changes_are_named_and_types_compared_by_value():
    before = pl.DataFrame({"id": [1, 2], "n": [1, 2], "gone": ["a", None]})
    after = pl.DataFrame({"id": [1, 2], "n": [1.0, 2.5], "new": [None, "b"]})
    found = diff.diff(before, after, "id")
    assert found.columns == {"n": 1, "new": 1, "gone": 1}
    assert [(c.column, c.kind) for c in found.schema] == [
        ("n", "widened"),
        ("gone", "removed"),
        ("new", "added"),
    ]
    assert not found.same


def test_a_long_text_is_cut_in_the_sample():
    before, after = (pl.DataFrame({"id": [1], "s": [c * 10**6]}) for c in "ab")
    (cell,) = diff.diff(before, after, "id").sample
    assert len(cell.before) == 201


@pytest.mark.parametrize(
    ("keys", "message"),
    [([1, 1], "not unique in the table after: 1"), ([1, None], "missing in 1 rows of the table")],
)
def test_a_key_must_be_there_and_unique(keys, message):
    good, bad = pl.DataFrame({"id": [1, 2]}), pl.DataFrame({"id": keys})
    with pytest.raises(DataError, match=message):
        diff.diff(good, bad, "id")
    with pytest.raises(DataError, match="the table before has no column 'key'"):
        diff.diff(good, bad, "key")


def test_repeats_count_without_a_key():
    before = pl.DataFrame({"a": [1, 1, 2]})
    after = pl.DataFrame({"a": [1, 3, 3, 2]})
    found = diff.diff(before, after)
    assert (found.added, found.removed, found.changed) == (2, 1, 0)
