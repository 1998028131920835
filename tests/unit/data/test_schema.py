from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest

from trimtab.data import schema, statistics
from trimtab.data.columns import TIME
from trimtab.data.schema import Column, Schema, Violation
from trimtab.errors import DataError

FRAME = pl.DataFrame(
    {
        "n": [3, 1, None],
        "x": [0.5, None, 2.5],
        "ok": [True, False, True],
        "word": ["b", "a", "b"],
        "at": pl.Series([datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2)], dtype=TIME),
        "none": pl.Series([None, None, None], dtype=pl.String),
    }
)


def made(**types: str) -> Schema:
    return Schema(columns=tuple(Column(name=name, type=kind) for name, kind in types.items()))


def test_a_schema_holds_types_nulls_ranges_and_categories():
    found = schema.infer(FRAME)
    assert found.columns == (
        Column(name="n", type="integer", nullable=True, lo=1, hi=3),
        Column(name="x", type="number", nullable=True, lo=0.5, hi=2.5),
        Column(name="ok", type="boolean", categories=2),
        Column(name="word", type="text", categories=2),
        Column(name="at", type="time", lo="2026-01-01T00:00:00Z", hi="2026-01-03T00:00:00Z"),
        Column(name="none", type="text", nullable=True, empty=True),
    )
    assert msgspec.convert(msgspec.to_builtins(found), Schema) == found


def test_a_table_that_the_reader_did_not_make_is_refused():
    with pytest.raises(DataError, match="Int8"):
        schema.infer(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int8)}))


def test_changes_are_named_and_judged():
    before = made(a="integer", b="integer", c="text", d="text", e="number")
    after = made(a="number", b="text", d="text", e="number", f="boolean")
    changes = schema.compare(before, after)
    assert [(c.column, c.kind, c.allowed) for c in changes] == [
        ("a", "widened", True),
        ("b", "retyped", False),
        ("c", "removed", False),
        ("f", "added", True),
    ]
    with pytest.raises(DataError) as caught:
        schema.refuse(changes, "loans")
    assert "column 'b' was integer and is text" in caught.value.message
    assert "column 'c' (text) is gone" in caught.value.message
    assert caught.value.hint.endswith('[data.loans] allow = ["b", "c"]')
    schema.refuse(schema.compare(before, after, allow=("b", "c")), "loans")


def test_a_column_without_values_may_become_anything():
    empty = Schema(columns=(Column(name="a", type="text", nullable=True, empty=True),))
    assert schema.compare(empty, made(a="number")) == ()
    assert schema.compare(made(a="number"), empty)[0].kind == "nullable"


def test_once_nullable_is_always_nullable_and_new_columns_are():
    old = Schema(columns=(Column(name="a", type="text", nullable=True),))
    after = schema.follow(old, made(a="text", b="text"))
    assert [column.nullable for column in after.columns] == [True, True]
    assert schema.follow(None, made(a="text")) == made(a="text")


def test_violations_name_row_and_column():
    wanted = made(n="integer", x="number", ok="boolean", gone="text", word="number", at="time")
    frame = FRAME.with_columns(pl.Series("x", [1.0, float("inf"), 2.0]))
    assert schema.validate(frame, wanted) == [
        Violation(column="n", row=2, message="1 values are missing"),
        Violation(column="x", row=1, message="a number is infinite"),
        Violation(column="gone", message="the column is missing"),
        Violation(column="word", message="holds String, should be number"),
    ]
    assert schema.validate(FRAME, schema.infer(FRAME)) == []


def test_statistics_are_json_of_the_right_numbers():
    found = statistics.of(FRAME)
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert found["n"] == {
        "type": "integer",
        "nulls": 1,
        "distinct": 2,
        "min": 1,
        "max": 3,
        "mean": 2.0,
        "std": pytest.approx(2**0.5),
    }
    assert found["word"]["top"] == [["b", 2], ["a", 1]]
    assert found["ok"]["top"] == [[True, 2], [False, 1]]
    assert found["at"]["max"] == "2026-01-03T00:00:00Z"
    assert found["none"] == {"type": "text", "nulls": 3, "distinct": 0, "top": [], "longest": 0}


def test_a_very_long_text_is_flagged_and_cut():
    frame = pl.DataFrame({"a": ["x", "é" * 500_000, None]})
    found = statistics.of(frame)["a"]
    assert found["longest"] == 1_000_000
    assert found["flags"] == ["row 2 holds a value of 1000000 bytes"]
    assert max(len(value) for value, _ in found["top"]) == 200
