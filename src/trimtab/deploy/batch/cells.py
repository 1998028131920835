"""Columns of a file as the cells that a JSON client would send: the model's checker judges them.

What cannot be told apart from a mistake is left as it stands, for the checker to refuse the row; a
typed column of the wrong kind is refused as a whole, before anything is scored.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from trimtab.data import columns
from trimtab.errors import DataError

_NEEDS: Final = {"number": "numbers", "text": "texts", "boolean": "true and false"}


def from_text(values: pl.Series, kind: str) -> list[Any]:
    """A String column of a CSV file; what is no number (true, false) stays a text."""
    if kind == "text":
        return values.to_list()
    made = columns.convert(values, "number" if kind == "number" else "boolean").values
    found: list[Any] = made.to_list()
    lost = values.is_not_null() & made.is_null()
    if lost.any():
        for row in lost.arg_true().to_list():
            text = values[row].strip()
            if text.lower() not in columns.MISSING:
                found[row] = text
    return found


def check(name: str, dtype: pl.DataType, kind: str, file: str) -> None:
    """Raises DataError for a typed column that can never be sent as `kind`."""
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum)
    fits = {
        "number": dtype.is_numeric(),
        "boolean": dtype == pl.Boolean,
        # A float would be written with a fraction that training may not have seen.
        "text": is_text or dtype.is_integer() or dtype == pl.Boolean,
    }[kind]
    if not fits and dtype != pl.Null:
        raise DataError(
            f"column {name!r} of {file} is {dtype}, the model takes {_NEEDS[kind]}",
            hint="cast it where the file is written",
        )


def from_typed(values: pl.Series, kind: str) -> list[Any]:
    """A typed column that `check` let through; NaN is null."""
    if kind == "text" and values.dtype != pl.Null:
        return values.cast(pl.String).to_list()
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return values.to_list()


def from_document(value: Any, kind: str) -> Any:
    """A JSON value: a whole number is a text where the model takes texts."""
    if kind == "text" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value
