"""Logged rows as columns to count: what callers hand over is turned around in one go.

A row is a mapping of column names to values, or an array in the order of the model's inputs. Plain
floats take the fast way; anything else is kept as an object and counted for what it is.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, UsageError
from trimtab.profile.cells import NumberCells
from trimtab.profile.columns import LOOK, Column, Kind, is_free_text, numbers
from trimtab.profile.reference import Reference

SCORE: Final = "__score__"
DECISION: Final = "__decision__"


class Layout(NamedTuple):
    """Which columns a reference has: inputs with whether they are numbers, and the outputs.

    `decide` makes a decision of a score where the caller gives none. Of a classifier `classes` are
    what it may decide, as texts in the order of its scores, and `positive` is the place of the one
    whose score counts, where one does. `is_number` says that each answer is one number.
    """

    numbers: tuple[str, ...]
    words: tuple[str, ...]
    order: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    decide: Callable[[float], Any] | None = None
    classes: tuple[str, ...] = ()
    positive: int | None = None
    is_number: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """What an embedded monitor watches: a reference, and of a model its name and place for windows."""

    reference: Reference
    layout: Layout
    name: str = ""
    model: str = ""
    place: Path | None = None
    window: str = "1d"
    least_rows: int = 50
    pages: float = 0.1


def from_mappings(layout: Layout, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Columns of rows; a name that a row lacks is missing there."""
    found = _all_floats(layout.numbers, rows)
    if found is None:
        found = {name: floats([_get(row, name) for row in rows]) for name in layout.numbers}
    for name in layout.words:
        found[name] = objects([_get(row, name) for row in rows])
    return found


def _all_floats(
    names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Column] | None:
    """The number columns where every value is there and a float or an int: the usual case, in C."""
    if not names:
        return {}
    pack, get = struct.Struct(f"{len(names)}d").pack, itemgetter(*names)
    try:
        if len(names) > 1:
            flat = b"".join([pack(*get(row)) for row in rows])
        else:
            flat = b"".join([pack(get(row)) for row in rows])
    except (KeyError, TypeError, OverflowError, struct.error):
        return None
    return _unpacked(names, flat)


def from_packed(
    layout: Layout, numbers: Sequence[bytes], words: Sequence[Sequence[Any]]
) -> dict[str, Column]:
    """Columns of rows whose numbers are packed as doubles, and whose words are columns already."""
    found = _unpacked(layout.numbers, b"".join(numbers)) if layout.numbers else {}
    return found | {name: objects(one) for name, one in zip(layout.words, words, strict=True)}


def _unpacked(names: tuple[str, ...], flat: bytes) -> dict[str, Column]:
    table = np.frombuffer(flat, dtype=np.float64).reshape(-1, len(names)).T.copy()
    return dict(zip(names, table, strict=True))


def from_rows(layout: Layout, rows: Sequence[Any]) -> dict[str, Column]:
    """Columns of mappings, or of arrays in the order of the inputs. Raises UsageError for others."""
    if rows and all(isinstance(row, np.ndarray) for row in rows):
        return from_arrays(layout, rows)
    for row in rows:
        if not hasattr(row, "get"):
            raise _no_row(row)
    return from_mappings(layout, rows)


def from_arrays(layout: Layout, rows: Sequence[Any]) -> dict[str, Column]:
    """Columns of one-dimensional arrays (or a two-dimensional one) in the order of the inputs."""
    table = np.concatenate(rows) if len(rows) else np.empty(0)
    width = len(layout.order)
    if table.size != len(rows) * width or any(len(row) != width for row in rows):
        raise UsageError(
            f"a row does not hold the {width} inputs",
            hint=f"in this order: {', '.join(layout.order)[:300]}",
        )
    numbers = set(layout.numbers)
    turned = table.reshape(-1, width).T
    return {
        name: column(values, is_number=name in numbers)
        for name, values in zip(layout.order, turned, strict=True)
    }


def joined(pieces: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """The rows of several tables that have the same columns, one table after the other."""
    if len(pieces) == 1:
        return dict(pieces[0])
    return {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}


def from_table(layout: Layout, table: Any) -> tuple[dict[str, Column], int]:
    """Columns of a mapping of arrays or of a frame (polars, pandas), copied, and their length."""
    names = _names(table)
    missing = [name for name in layout.order if name not in names]
    if len(missing) == len(layout.order):
        raise UsageError(
            "the table has no column that is watched",
            hint=f"watched are {', '.join(layout.order)[:300]}",
        )
    numbers = set(layout.numbers)
    found = {
        name: column(values_of(table[name]), is_number=name in numbers)
        for name in layout.order
        if name in names
    }
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1:
        raise DataError(f"the columns have {sorted(lengths)} rows", hint="all need the same")
    count = lengths.pop()
    for name in missing:
        found[name] = np.full(count, np.nan) if name in numbers else np.full(count, None, object)
    return {name: found[name] for name in layout.order}, count


def floats(values: Sequence[Any]) -> NDArray[Any]:
    """Values as float64 where all are floats or ints, else as the objects that they are."""
    try:
        return np.frombuffer(array("d", values), dtype=np.float64)
    except (TypeError, OverflowError):
        return objects(values)


def objects(values: Sequence[Any]) -> NDArray[Any]:
    """Values as an object array, members of an enum as what they stand for."""
    found = np.empty(len(values), dtype=object)
    if any(issubclass(kind, Enum) for kind in set(map(type, values))):
        values = [one.value if isinstance(one, Enum) else one for one in values]
    found[:] = values
    return found


def column(values: Any, *, is_number: bool) -> NDArray[Any]:
    """A copied column as the profile counts it."""
    found = np.array(values)
    if found.ndim != 1:
        raise DataError(f"a column has {found.ndim} dimensions", hint="pass one value a row")
    if is_number:
        return found.astype(np.float64) if found.dtype.kind in "fiub" else found.astype(object)
    if found.dtype.kind in "fiub":
        return found.astype(np.float64)
    return objects([None if one is None else one for one in found.tolist()])


def values_of(values: Any) -> NDArray[Any]:
    """A series, list or array as an array; a null among numbers is NaN."""
    if hasattr(values, "to_numpy"):
        found: NDArray[Any] = np.asarray(values.to_numpy())
        if found.dtype == object and hasattr(values, "isna"):  # pandas has nulls of its own
            found = found.copy()
            found[np.asarray(values.isna())] = None
        return found
    if isinstance(values, np.ndarray):
        return values
    return floats(list(values))


def is_table(rows: Mapping[str, Any]) -> bool:
    """Whether a mapping holds columns and not one row."""
    return _holds_many(next(iter(rows.values()), None))


def holds_columns(rows: Mapping[str, Any]) -> bool:
    """Whether all that a mapping holds are columns: the value of one row may be a list by mistake."""
    return all(_holds_many(one) for one in rows.values())


def _holds_many(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def nothing(reference: Reference, name: str, count: int) -> NDArray[Any]:
    """A column in which nothing is known."""
    bins = reference.bins
    if name in bins.names and isinstance(bins.feature(name), NumberCells):
        return np.full(count, np.nan)
    return np.full(count, None, dtype=object)


def columns_of(table: Any) -> tuple[dict[str, Column], dict[str, str]]:
    """Every column of a mapping or a frame that can be profiled, copied, and what the others hold."""
    found: dict[str, Column] = {}
    others: dict[str, str] = {}
    for name in _names(table):
        values = values_of(table[name])
        if values.ndim > 1:
            others[name] = "vectors"
        elif values.dtype.kind in "fiub":
            found[name] = values.astype(np.float64)
        elif values.dtype.kind not in "OUT":
            others[name] = values.dtype.name
        elif held := _neither(said := objects(values.tolist())):
            others[name] = held
        else:
            found[name] = said
    return found, others


def _neither(values: NDArray[Any]) -> str:
    """What a column holds that has neither numbers nor words, such as times; "" of any other."""
    some = values[:LOOK]
    odd = numbers(some).odd
    if odd is None or any(isinstance(one, str) for one in some):
        return ""
    known = sum(one is not None for one in some)
    return type(some[odd.argmax()]).__name__ if odd.sum() == known else ""


def kinds_of(table: Mapping[str, Column]) -> dict[str, Kind]:
    """The columns that are free text: new texts are no unseen levels, what is made of them is watched."""
    return {
        name: "text"
        for name, values in table.items()
        if values.dtype == object and is_free_text(values)
    }


def layout_of(reference: Reference) -> Layout:
    """What a reference without a model watches."""
    bins = reference.bins
    numbers = {one.name for one in bins.features if isinstance(one, NumberCells)}
    inputs = [name for name in bins.needed if name not in (SCORE, DECISION)]
    return Layout(
        numbers=tuple(name for name in inputs if name in numbers),
        words=tuple(name for name in inputs if name not in numbers),
        order=tuple(inputs),
        outputs=tuple(name for name in bins.needed if name in (SCORE, DECISION)),
    )


def _names(table: Any) -> list[str]:
    found = getattr(table, "columns", None)
    if found is None and not isinstance(table, Mapping):
        raise _no_row(table)
    return [str(name) for name in (table if found is None else found)]


def _no_row(row: Any) -> UsageError:
    return UsageError(
        f"a {type(row).__name__} is no row and no table",
        hint="pass a mapping of columns, such as row.model_dump(), row._asdict() or row.to_dict(), "
        "or an array in the order of the inputs",
    )


def _get(row: Any, name: str) -> Any:
    get = getattr(row, "get", None)
    return None if get is None else get(name)
