from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data import columns
from trimtab.errors import DataError


def text(*values: str | None) -> pl.Series:
    return pl.Series("x", values, dtype=pl.String)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1", "-2", None, "+3", ""), "integer"),
        (("1.0", "2.00"), "integer"),
        (("1", "2.5", "1e3", "NaN"), "number"),
        (("1", "2", "NA"), "integer"),
        (("true", "False", "TRUE", "null"), "boolean"),
        (("0", "1"), "integer"),
        (("007", "8"), "text"),
        (("0", "0.5"), "number"),
        (("9223372036854775807",), "integer"),
        (("9223372036854775808",), "text"),
        (("12345678901234567890", "1.5"), "text"),
        (("2026-01-31", "2026-02-01T12:00:00Z", "2026-02-01 12:00"), "time"),
        (("2026-01-31T10:00:00+02:00", "2026-01-31T10:00:00.123456-0500"), "time"),
        (("2026-01-31", "soon"), "text"),
        (("20260131",), "integer"),
        (("yes", "no"), "text"),
        (("1", "2", "many"), "text"),
        ((None, "", "nan"), "text"),
        ((" 1", "2 "), "integer"),
        (("1_000",), "text"),
    ],
)
def test_the_narrowest_type_of_all_values_is_found(values, kind):
    assert columns.infer(text(*values)) == kind


def test_inference_never_stops_at_a_head():
    values = ["1"] * 50_000 + ["many"]
    assert columns.infer(text(*values)) == "text"
    assert columns.nearly(text(*values)) == (1, 50_000)
    assert columns.infer(text(*["1"] * 50_000, "1.5")) == "number"


def test_a_column_of_words_is_not_nearly_numbers():
    assert columns.nearly(text("a", "b", "1")) is None
    assert columns.nearly(text("1", "2")) is None


def test_the_first_value_that_breaks_a_type_is_reported():
    done = columns.convert(text("1", None, "x", "y"), "number")
    assert done.bad == 2
    assert columns.convert(text("1", "2.5"), "integer").bad == 1
    assert columns.convert(text("true", "maybe"), "boolean").bad == 1
    assert columns.convert(text("2026-01-31", "2026-02-30"), "time").bad == 1


def test_nan_is_null_and_infinity_is_found():
    done = columns.convert(text("1", "NaN", "-inf"), "number")
    assert done.values.to_list() == [1.0, None, float("-inf")]
    assert columns.infinite(done.values) == 2
    floats = columns.plain(pl.Series("x", [1.0, float("nan")]))
    assert floats.values.to_list() == [1.0, None]
    assert columns.infinite(floats.values) == -1


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_a_naive_time_is_local_to_the_zone_and_said_to_be_naive():
    done = columns.convert(
        text("2026-07-01 12:00", "2026-07-01T12:00:00Z"), "time", "Europe/Berlin"
    )
    assert done.values.to_list() == [moment(2026, 7, 1, 10), moment(2026, 7, 1, 12)]
    assert done.naive
    assert not columns.convert(text("2026-07-01T12:00:00Z"), "time").naive


def test_a_time_that_the_zone_skips_is_bad():
    assert columns.convert(text("2026-03-29 02:30"), "time", "Europe/Berlin").bad == 0


@pytest.mark.parametrize(
    ("value", "micros"),
    [(1_700_000_000, 10**6), (1_700_000_000_000, 10**3), (1_700_000_000_000_000, 1)],
)
def test_a_number_may_be_an_epoch(value, micros):
    wanted = datetime.fromtimestamp(1_700_000_000, UTC)
    for values in (pl.Series("x", [value, None]), text(str(value), None)):
        done = columns.convert(values, "time")
        assert done.values.to_list() == [wanted, None]
        assert done.bad == -1
    assert value * micros == 1_700_000_000_000_000


def test_nanoseconds_are_rounded_to_micros():
    done = columns.convert(pl.Series("x", [1_700_000_000_000_000_000]), "time")
    assert done.values.to_list() == [datetime.fromtimestamp(1_700_000_000, UTC)]


def test_a_small_number_is_no_time():
    assert columns.convert(pl.Series("x", [17, 2024]), "time").bad == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pl.Series([1, 2], dtype=pl.UInt8), "integer"),
        (pl.Series([1.5], dtype=pl.Float32), "number"),
        (pl.Series(["1.50"]).cast(pl.Decimal(10, 2)), "number"),
        (pl.Series(["a"]).cast(pl.Categorical), "text"),
        (pl.Series([None, None]), "text"),
        (pl.Series([datetime(2026, 1, 1)], dtype=pl.Datetime("ns")), "time"),
        (pl.Series([datetime(2026, 1, 1)]).dt.date(), "time"),
        (pl.Series([moment(2026, 1, 1)]).dt.convert_time_zone("Asia/Tokyo"), "time"),
        (pl.Series([True]), "boolean"),
    ],
)
def test_a_typed_column_becomes_one_of_the_five(values, kind):
    done = columns.plain(values)
    assert columns.type_of(done.values.dtype) == kind
    assert done.values.null_count() == values.null_count()


@pytest.mark.parametrize(
    "values",
    [pl.Series("x", [[1]]), pl.Series("x", [{"a": 1}]), pl.Series("x", [b"a"])],
)
def test_a_nested_column_is_refused_by_name(values):
    with pytest.raises(DataError, match="column 'x' holds"):
        columns.plain(values)


def test_an_integer_beyond_64_bits_is_bad():
    assert columns.plain(pl.Series([2**64 - 1], dtype=pl.UInt64)).bad == 0


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_survive_text(values):
    done = columns.convert(text(*(None if v is None else str(v) for v in values)), "integer")
    assert done.values.to_list() == values
    assert done.bad == -1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_survive_text(values):
    done = columns.convert(text(*map(repr, values)), "number")
    assert done.values.to_list() == values


@pytest.mark.slow
@given(
    st.lists(
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), min_size=1
    )
)
def test_times_survive_iso_text(values):
    written = text(*(value.isoformat() for value in values))
    assert columns.infer(written) == "time"
    assert columns.convert(written, "time").values.to_list() == values
