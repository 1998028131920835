"""Columns as they come from a table, a log or a caller, made safe to count.

A column is a float64 array in which NaN is a missing value, an object array of text and None, or
`Coded` text. Anything else an object array holds (a number among words, a list) is counted as
mistyped, never raised. Reading columns from a file or a log is left to others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError

Kind = Literal["number", "category", "text", "embedding"]

LOOK: Final = 10_000
"""What a column is, is told from so many rows."""
_FEW: Final = 50
_LONG: Final = 20


@dataclass(frozen=True, eq=False)
class Coded:
    """Text as its distinct values and a number of one for every row, -1 where missing.

    So Arrow, Polars and pandas keep categories. Each level is looked up once instead of each row.
    """

    levels: tuple[str, ...]
    codes: NDArray[Any]

    ndim: ClassVar[int] = 1
    dtype: ClassVar[np.dtype[Any]] = np.dtype(object)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Coded:
        return Coded(self.levels, self.codes[rows])

    def tolist(self) -> list[Any]:
        """The rows as text and None."""
        return [None if code < 0 else self.levels[code] for code in self.codes.tolist()]


Column = NDArray[Any] | Coded
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Numbers:
    """Float values with NaN where missing; `odd` marks values that are no number at all.

    `nan` marks NaN in an object array, where None says missing; both masks are None when empty.
    """

    values: NDArray[np.float64]
    nan: NDArray[np.bool_] | None = None
    odd: NDArray[np.bool_] | None = None


def row_count(columns: Columns, wide: Collection[str] = ()) -> int:
    """The common length of all columns, of which those in `wide` may have two dimensions.

    Raises DataError on no columns, ragged or 2-d ones.
    """
    if not columns:
        raise DataError("there is no column to profile", hint="pass at least one column")
    lengths: dict[str, int] = {}
    for name, column in columns.items():
        if column.ndim != 1 and not (column.ndim == 2 and name in wide):
            raise DataError(
                f"column {name!r} has {column.ndim} dimensions",
                hint='pass one-dimensional arrays, or say that its kind is "embedding"',
            )
        lengths[name] = len(column)
    first, rows = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != rows:
            raise DataError(
                f"column {name!r} has {length} rows and {first!r} has {rows}",
                hint="all columns of a profile need the same rows",
            )
    return rows


def embeddings(kinds: Mapping[str, Kind] | None) -> list[str]:
    """The columns that may have two dimensions."""
    return [name for name, kind in (kinds or {}).items() if kind == "embedding"]


def kind_of(name: str, column: Column) -> Kind:
    """Whether a column is counted as numbers or as a category.

    An object array goes by the majority of its first 10,000 values that are not None.
    """
    if column.dtype.kind in "fiub":
        return "number"
    if column.dtype.kind in "UT" or isinstance(column, Coded):
        return "category"
    if column.dtype.kind != "O":
        raise DataError(
            f"column {name!r} holds {column.dtype}, which cannot be profiled",
            hint="turn it into float64 numbers (times: hours or seconds) or text",
        )
    numbers = words = 0
    for value in column[:LOOK].tolist():
        numbers += _is_number(value)
        words += isinstance(value, str)
    return "number" if numbers > words else "category"


def is_free_text(column: Column) -> bool:
    """Whether words are free text and no levels: most of at least 50 occur once, and most are long
    (20 characters) or several words. Looks at the first 10,000 rows.
    """
    said = [one for one in column[:LOOK].tolist() if isinstance(one, str)]
    if len(said) < _FEW:
        return False
    once = sum(count == 1 for count in Counter(said).values())
    wordy = sum(len(one) >= _LONG or len(one.split(maxsplit=1)) > 1 for one in said)
    return min(once, wordy) * 2 > len(said)


def numbers(column: Column) -> Numbers:
    """A column of any dtype as float64 numbers."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return Numbers(column.astype(np.float64, copy=False))
    raw = column.tolist()
    values = np.full(len(raw), np.nan)
    nan = np.zeros(len(raw), dtype=np.bool_)
    odd = np.zeros(len(raw), dtype=np.bool_)
    for row, value in enumerate(raw):
        if value is None:
            continue
        if not _is_number(value):
            odd[row] = True
            continue
        values[row] = _to_float(value)
        nan[row] = values[row] != values[row]
    return Numbers(values, nan if nan.any() else None, odd if odd.any() else None)


def texts(column: Column) -> list[Any]:
    """A column of any dtype as Python values: text, None where missing, else mistyped values.

    An array of numbers becomes the numbers' text (3.0 is "3"), NaN is missing.
    """
    if column.dtype.kind not in "fiub":
        return list(column.tolist())
    return [None if math.isnan(value) else f"{value:.17g}" for value in column.tolist()]


def is_missing(value: object) -> bool:
    """Whether a value of a category column is missing: None, or the NaN that pandas writes."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def wanted(columns: Columns, names: Iterable[str]) -> dict[str, Column]:
    """The named columns, in that order. Raises DataError naming the first absent one."""
    found: dict[str, Column] = {}
    for name in names:
        if name not in columns:
            raise DataError(
                f"column {name!r} is in the reference but not in this table",
                hint="pass it, filled with None where it is unknown",
            )
        found[name] = columns[name]
    return found


def take(columns: Columns, names: Iterable[str], rows: NDArray[Any] | slice) -> dict[str, Column]:
    """Some rows of the named columns, of those that are there."""
    return {name: columns[name][rows] for name in names if name in columns}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number | np.bool_) and not isinstance(
        value, np.complexfloating
    )


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a Python int beyond the float range
        return float("inf") if value > 0 else float("-inf")
