"""The five types of a column, and every conversion into them.

`number` is Float64, `integer` Int64, `boolean` Boolean, `text` String and `time` Datetime in UTC
microseconds. Inference looks at every value, never at a head; NaN counts as null. A value that
does not convert is reported by its position, so that the reader can name file and line.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import polars as pl

from trimtab.errors import DataError

Type = Literal["number", "integer", "boolean", "text", "time"]

TIME: Final = pl.Datetime("us", "UTC")
DTYPES: Final[dict[str, pl.DataType]] = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "text": pl.String(),
    "time": TIME,
}
MISSING: Final = ("", "nan", "na", "n/a", "null", "none", "-nan")
_BOOLEANS: Final = ("true", "false")
_ZONED: Final = ("%+", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_NAIVE: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_DATE: Final = r"^\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}|$)"
_EPOCH_FROM: Final = 100_000_000
_EXACT: Final = 2.0**53


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A column of one of the five types; `bad` is the first row that broke it, -1 for none.

    `naive` says that some of its times had no zone.
    """

    values: pl.Series
    bad: int = -1
    naive: bool = False


def type_of(dtype: pl.DataType) -> Type:
    """The type of a polars column that the reader made; raises DataError for any other dtype."""
    for name, known in DTYPES.items():
        if dtype == known:
            return name  # type: ignore[return-value]
    raise DataError(f"a {dtype} column is none of {', '.join(DTYPES)}")


def infer(text: pl.Series) -> Type:
    """The narrowest type that every value of a String column has; all missing is "text".

    Digits with a leading zero are text (a code, not a count), and so are integers beyond 64 bits,
    which a float would round.
    """
    values = _present(text).drop_nulls()
    if not len(values):
        return "text"
    head = values.head(64)
    for kind, test in (("boolean", _is_boolean), ("integer", _is_number), ("time", _is_time)):
        if test(head) and test(values):
            if kind != "integer":
                return kind  # type: ignore[return-value]
            return _which_number(values)
    return "text"


def nearly(text: pl.Series) -> tuple[int, int] | None:
    """(count, first row) of the values that keep a String column from being numbers, if they are few.

    None where the column is all numbers or where more than one value in ten is a word.
    """
    values = _present(text)
    odd = values.is_not_null() & values.cast(pl.Float64, strict=False).is_null()
    count = int(odd.sum())
    if not count or count * 10 > len(values) - values.null_count():
        return None
    return count, _first(odd)


def convert(values: pl.Series, kind: Type, zone: str = "UTC") -> Converted:
    """Values of any dtype as `kind`; a naive time counts as local to `zone`.

    A value that does not convert becomes null and its row is `bad`.
    """
    if kind == "text":
        return Converted(values=_text(values))
    if kind == "time":
        return _time(values, zone)
    if values.dtype == pl.String:
        source = _present(values)
        if kind == "boolean":
            lower = source.str.to_lowercase()
            known = lower.is_in(_BOOLEANS)
            result = pl.select(pl.when(known).then(lower == "true")).to_series()
        elif kind == "integer":
            result = _whole(source)
        else:
            result = source.cast(pl.Float64, strict=False)
    else:
        source = values.fill_nan(None) if values.dtype.is_float() else values
        result = _from_typed(source, kind)
    bad = source.is_not_null() & result.is_null()
    if kind == "number":
        result = result.fill_nan(None)
    return Converted(values=result.alias(values.name), bad=_first(bad))


def plain(values: pl.Series, zone: str = "UTC") -> Converted:
    """A typed column (of Parquet, NDJSON or a frame) in the nearest of the five types.

    Raises DataError for lists, structs, durations and binary values.
    """
    dtype = values.dtype
    if dtype in (pl.Categorical, pl.Enum, pl.Null) or dtype == pl.String:
        return convert(values, "text")
    if dtype == pl.Boolean:
        return Converted(values=values)
    if dtype.is_integer():
        return convert(values, "integer")
    if dtype.is_float() or dtype.is_decimal():
        return convert(values, "number")
    if dtype in (pl.Date, pl.Datetime):
        return convert(values, "time", zone)
    raise DataError(
        f"column {values.name!r} holds {str(dtype).lower()} values, which a table cannot keep",
        hint="spread it over plain columns of numbers, booleans, text or times",
    )


def infinite(values: pl.Series) -> int:
    """The first row of an infinity in a float column, -1 for none."""
    return _first(values.is_infinite().fill_null(False)) if values.dtype.is_float() else -1


def _first(mask: pl.Series) -> int:
    found = mask.arg_max() if mask.any() else None
    return -1 if found is None else int(found)


def _present(text: pl.Series) -> pl.Series:
    stripped = text.str.strip_chars()
    return pl.select(
        pl.when(~stripped.str.to_lowercase().is_in(MISSING)).then(stripped)
    ).to_series()


def _is_boolean(values: pl.Series) -> bool:
    return bool(values.str.to_lowercase().is_in(_BOOLEANS).all())


def _is_number(values: pl.Series) -> bool:
    return values.cast(pl.Float64, strict=False).null_count() == 0


def _is_time(values: pl.Series) -> bool:
    if not values.str.contains(_DATE).all():
        return False
    return _time(values, "UTC").bad < 0


def _which_number(values: pl.Series) -> Type:
    if values.str.contains(r"^[+-]?0\d").any():
        return "text"
    if _whole(values).null_count() == 0:
        return "integer"
    long = values.str.contains(r"^[+-]?\d{16,}$")
    exact = values.filter(long).cast(pl.Float64, strict=False).abs() <= _EXACT
    return "number" if exact.all() else "text"


def _whole(text: pl.Series) -> pl.Series:
    """Text to Int64: digits, or digits with an empty fraction as in 3.0."""
    direct = text.cast(pl.Int64, strict=False)
    if direct.null_count() == text.null_count() or not text.str.contains(r"\.0*$").any():
        return direct
    return text.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)


def _from_typed(values: pl.Series, kind: Type) -> pl.Series:
    if kind == "integer" and (values.dtype.is_float() or values.dtype.is_decimal()):
        numbers = values.cast(pl.Float64)
        whole = (numbers == numbers.floor()) & (numbers.abs() <= _EXACT)
        return pl.select(pl.when(whole).then(numbers)).to_series().cast(pl.Int64, strict=False)
    if kind == "boolean" and values.dtype != pl.Boolean:
        return pl.Series(values.name, [None] * len(values), dtype=pl.Boolean)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return pl.Series(values.name, [None] * len(values), dtype=DTYPES[kind])
    if kind in ("integer", "number") and values.dtype == pl.Boolean:
        return pl.Series(values.name, [None] * len(values), dtype=DTYPES[kind])
    return values.cast(DTYPES[kind], strict=False)


def _text(values: pl.Series) -> pl.Series:
    return values if values.dtype == pl.String else values.cast(pl.String)


def _time(values: pl.Series, zone: str) -> Converted:
    if values.dtype == pl.Date:
        return _localised(values.cast(pl.Datetime("us")), zone)
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is None:
            return _localised(values.cast(pl.Datetime("us")), zone)
        return Converted(values=values.cast(pl.Datetime("us", values.dtype.time_zone)).cast(TIME))
    if values.dtype == pl.String:
        return _parsed(values, zone)
    if values.dtype.is_integer() or values.dtype.is_float():
        source = values.fill_nan(None) if values.dtype.is_float() else values
        return _epoch(source)
    empty = pl.Series(values.name, [None] * len(values), dtype=TIME)
    return Converted(values=empty, bad=_first(values.is_not_null()))


def _localised(naive: pl.Series, zone: str) -> Converted:
    aware = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    bad = _first(naive.is_not_null() & aware.is_null())
    return Converted(values=aware.cast(TIME), bad=bad, naive=naive.len() > naive.null_count())


def _parsed(text: pl.Series, zone: str) -> Converted:
    """ISO 8601 text, with seconds and zone optional; else whole numbers since 1970."""
    present = _present(text)
    shaped = present.str.to_uppercase().str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
    aware = pl.Series(text.name, [None] * len(text), dtype=TIME)
    for form in _ZONED:
        if aware.null_count() == shaped.null_count():
            break
        found = shaped.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        aware = aware.zip_with(aware.is_not_null(), found.cast(TIME))
    naive = pl.Series(text.name, [None] * len(text), dtype=pl.Datetime("us"))
    for form in _NAIVE:
        if naive.null_count() + aware.null_count() == shaped.null_count() + len(text):
            break
        found = shaped.str.to_datetime(form, strict=False, time_unit="us")
        naive = naive.zip_with(naive.is_not_null(), found)
    local = _localised(naive, zone)
    result = aware.zip_with(aware.is_not_null(), local.values)
    bad = _first(present.is_not_null() & result.is_null())
    numbers = present.cast(pl.Int64, strict=False)
    if bad >= 0 and numbers.null_count() == present.null_count():
        return _epoch(numbers)
    return Converted(values=result, bad=bad, naive=local.naive)


def _epoch(numbers: pl.Series) -> Converted:
    """Seconds, milli-, micro- or nanoseconds since 1970, told apart by the largest value.

    Numbers below 1e8 (1973 in seconds) are not taken for times: they are counts or years.
    """
    largest = numbers.abs().max()
    scale = 1_000_000.0
    for bound, unit in ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 0.001)):
        if isinstance(largest, int | float) and largest < bound:
            scale = unit
            break
    good = numbers.abs() >= _EPOCH_FROM
    if numbers.dtype.is_integer() and scale >= 1:
        micros = numbers.cast(pl.Int64) * int(scale)
    else:
        micros = (numbers.cast(pl.Float64) * scale).round(0).cast(pl.Int64, strict=False)
    kept = pl.select(pl.when(good).then(micros)).to_series()
    bad = _first(numbers.is_not_null() & kept.is_null())
    return Converted(values=kept.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), bad=bad)
