from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from trimtab.data import reader
from trimtab.errors import ConfigError, DataError


def parquet(**columns) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def read(put, files: dict[str, bytes | str], types=None, zone="UTC") -> reader.Table:
    return reader.read([(name, put(name, content)) for name, content in files.items()], types, zone)


def refused(put, files, types=None) -> DataError:
    with pytest.raises(DataError) as caught:
        read(put, files, types)
    return caught.value


CSV = "id,n,x,yes,word,at\n1,5,1.5,true,a,2026-01-01\n2,,NaN,False,,2026-01-01T12:00:00+01:00\n"


def test_the_five_types_of_a_csv(put):
    frame = read(put, {"a.csv": CSV}).frame
    assert frame.schema == {
        "id": pl.Int64(),
        "n": pl.Int64(),
        "x": pl.Float64(),
        "yes": pl.Boolean(),
        "word": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
    assert frame.row(1) == (2, None, None, False, None, datetime(2026, 1, 1, 11, tzinfo=UTC))


def test_a_naive_time_is_noted(put):
    assert "count as UTC" in read(put, {"a.csv": CSV}).notes[0]
    table = read(put, {"a.csv": CSV}, zone="Europe/Berlin")
    assert table.notes == ()
    assert table.frame["at"][0] == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_an_unknown_zone_is_a_mistake_in_the_project_file(put):
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        read(put, {"a.csv": CSV}, zone="Mars/Olympus")


def test_files_concatenate_in_the_byte_order_of_their_names(put):
    files = {"b.csv": "a\n2\n", "a.csv": "a\n1\n", "B.csv": "a,c\n0,x\n"}
    expected = read(put, files).frame
    assert expected["a"].to_list() == [0, 1, 2]
    assert expected["c"].to_list() == ["x", None, None]
    assert read(put, dict(reversed(files.items()))).frame.equals(expected)


def test_types_are_those_of_all_files_together(put):
    frame = read(put, {"a.csv": "a,b\n1,1\n", "b.csv": "a,b\n1.5,x\n"}).frame
    assert frame.schema == {"a": pl.Float64(), "b": pl.String()}


def test_parquet_and_ndjson_are_read_as_typed(put):
    at = datetime(2026, 1, 1)
    frame = read(put, {"a.parquet": parquet(a=[1, None], s=["1", "2"], at=[at, at])}).frame
    assert frame.schema == {"a": pl.Int64(), "s": pl.String(), "at": pl.Datetime("us", "UTC")}
    lines = '{"a": 1, "s": "1", "at": "2026-01-01"}\n{"a": 2.5, "s": null}\n'
    frame = read(put, {"a.ndjson": lines}).frame
    assert frame.schema == {"a": pl.Float64(), "s": pl.String(), "at": pl.Datetime("us", "UTC")}


def test_declared_types_hold(put):
    types = {"zip": "text", "n": "number", "at": "time"}
    frame = read(put, {"a.csv": "zip,n,at\n10115,1,1700000000\n"}, types).frame
    assert frame.row(0) == ("10115", 1.0, datetime.fromtimestamp(1_700_000_000, UTC))
    frame = read(put, {"a.parquet": parquet(at=["2026-01-01"])}, {"at": "time"}).frame
    assert frame["at"][0] == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_column_without_values_has_the_declared_type(put):
    types = {"n": "number", "b": "boolean", "t": "time", "s": "text"}
    for files in (
        {"a.csv": "k,n,b,t,s\n1,,,,\n"},
        {
            "a.parquet": parquet(
                k=[1], n=[None], b=pl.Series([None], dtype=pl.String), t=[None], s=[None]
            )
        },
    ):
        frame = read(put, files, types).frame
        assert frame.schema == {
            "k": pl.Int64(),
            "n": pl.Float64(),
            "b": pl.Boolean(),
            "t": pl.Datetime("us", "UTC"),
            "s": pl.String(),
        }


def test_declared_integers_widen_to_numbers_but_not_to_words(put):
    frame = read(put, {"a.csv": "n\n1\n1.5\n"}, {"n": "integer"}).frame
    assert frame["n"].to_list() == [1.0, 1.5]
    error = refused(put, {"a.csv": "n\n1\nmany\n"}, {"n": "integer"})
    assert error.message == "a.csv line 3, column 'n': 'many' is not a whole number"


def test_a_typed_file_of_another_type_is_left_for_the_schema_to_refuse(put):
    frame = read(put, {"a.parquet": parquet(n=["1"], t=[1])}, {"n": "number", "t": "text"}).frame
    assert frame.schema == {"n": pl.String(), "t": pl.Int64()}


def test_the_row_where_mixed_types_break_is_named_far_from_the_head(put):
    rows = "\n".join(["1.5"] * 20_000)
    error = refused(put, {"a.csv": f"income\n{rows}\nunknown\n{rows}\n"}, {"income": "number"})
    assert error.message == "a.csv line 20002, column 'income': 'unknown' is not a number"


def test_the_second_file_is_named_where_it_breaks(put):
    files = {"a.csv": "n\n1\n2\n", "b.csv": 'm,n\n"x\ny",1\n"",oh\n'}
    error = refused(put, files, {"n": "number"})
    assert error.message == "b.csv line 4, column 'n': 'oh' is not a number"


def test_few_words_among_numbers_are_noted(put):
    rows = "\n".join(["1.5"] * 50)
    (note,) = read(put, {"a.csv": f"income\n{rows}\nunknown\n"}).notes
    assert "1 of its 51 values" in note
    assert "'unknown' in a.csv line 52" in note


def test_infinity_is_refused_by_row_and_column(put):
    error = refused(put, {"a.csv": "x,y\n1,1\n2,-inf\n"})
    assert error.message == "a.csv line 3, column 'y': a number cannot be infinite"
    error = refused(put, {"a.parquet": parquet(x=[1.0, float("inf")])})
    assert error.message == "a.parquet row 2, column 'x': a number cannot be infinite"


def test_a_value_too_long_to_print_is_cut(put):
    error = refused(put, {"a.csv": f"x\n1\n{'y' * 1000}\n"}, {"x": "number"})
    assert "yyy… (1000 characters) is not a number" in error.message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.parquet": b""}, "a.parquet is empty"),
        ({"a.parquet": parquet(a=[1, 2])[:-9]}, "a.parquet is not a whole Parquet file"),
        ({"a.parquet": parquet(a=pl.Series([], dtype=pl.Int64))}, "a.parquet has no rows"),
        ({"a.parquet": parquet(a=[[1]])}, "column 'a' holds list"),
        ({"a.ndjson": '{"a": 1}\n{"a": \n'}, "a.ndjson line 2 is not valid JSON"),
        ({"a.ndjson": '{"a": 1}\n[1]\n'}, "a.ndjson line 2 is not a JSON object"),
        ({"a.ndjson": '{"a": true}\n\n{"a": 1}\n'}, "a.ndjson line 3, column 'a': 1 is not"),
        ({"a.ndjson": '{"a": {"b": 1}}\n'}, "column 'a' holds struct"),
        ({"a.txt": "a\n1\n"}, "a.txt is not a table that trimtab reads"),
        ({"a.csv": "a\n1\n", "b.parquet": parquet(a=[1])}, "mixes formats: a.csv, b.parquet"),
        (
            {"a.parquet": parquet(a=[1]), "b.parquet": parquet(a=[[1]])},
            "column 'a' is Int64 in a.parquet and List(Int64) in b.parquet",
        ),
    ],
)
def test_a_bad_file_is_named(files, message, put):
    assert message in refused(put, files).message


def test_ndjson_mixed_kinds_are_text_unless_declared(put):
    lines = "".join(json.dumps({"n": value}) + "\n" for value in (1, 2, "x"))
    assert read(put, {"a.ndjson": lines}).frame["n"].to_list() == ["1", "2", "x"]
    error = refused(put, {"a.ndjson": lines}, {"n": "number"})
    assert error.message == "a.ndjson row 3, column 'n': 'x' is not a number"
