"""Any table as columns to count: nothing that can be counted as broken is refused here.

A snapshot refuses an infinity or a word among numbers; watching has to see them. Which columns are
numbers is said by the reference, or found out from the reference's own table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.data import columns as typed
from trimtab.data import delimited
from trimtab.data.reader import TABLES
from trimtab.errors import DataError, NotFoundError
from trimtab.profile.columns import LOOK, Kind, is_free_text

_MISSING: Final = typed.MISSING
_TRUE: Final = {"true": 1.0, "false": 0.0}
_WHOLE: Final = re.compile(r"(-?\d+)\.0+")

Values = pl.Series | NDArray[Any]
Table = Mapping[str, Values]
"""Columns by name: a series, or an array of Python objects where kinds of values are mixed."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Which rows are judged, oldest window first; `places` says where each window begins in them, `times`
    when each row was (none without times).
    """

    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    starts: list[int]
    places: list[int]
    span: int
    notes: list[str]


class _Odd(NamedTuple):
    """How many of a column's values are words, the first of them, and whether they are 10 % at most."""

    words: int
    of: int
    first: str
    few: bool


def read(path: Path) -> dict[str, Values]:
    """The columns of a csv, tsv, parquet, arrow or ndjson file as they stand in it.

    Raises NotFoundError, and DataError for a file of another format, a broken or an empty one.
    """
    form = TABLES.get(path.suffix.lower())
    if path.is_dir():
        raise DataError(f"{path} is a folder", hint="give one table in it")
    if form is None:
        raise DataError(
            f"{path.name} is not a table that trimtab reads",
            hint=f"known suffixes: {', '.join(TABLES)}",
        )
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty", hint="check the export that wrote it")
    found = _read(path, form)
    if not rows(found):
        raise DataError(f"{path.name} has no rows", hint="check the export that wrote it")
    return found


def suffix_of(start: bytes) -> str:
    """The suffix of a table whose name nobody knows, by how it begins; ".csv" where nothing tells."""
    marks = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"{": ".ndjson"}
    plain = start.lstrip()
    return next((found for mark, found in marks.items() if plain.startswith(mark)), ".csv")


def rows(table: Table) -> int:
    """How many rows a table has."""
    return max((len(values) for values in table.values()), default=0)


def split(frame: pl.DataFrame) -> dict[str, Values]:
    """A frame's columns."""
    return {values.name: values for values in frame.get_columns()}


def kinds(table: Table) -> tuple[dict[str, Kind], list[str]]:
    """Which columns of a reference's table are numbers and which categories, and which are neither.

    Free text and lists of numbers (embeddings) have kinds of their own. Times and other nested values
    are neither: they are left out of the comparison.
    """
    found: dict[str, Kind] = {}
    neither: list[str] = []
    for name, values in table.items():
        kind = _kind(values)
        if kind is None:
            neither.append(name)
        else:
            found[name] = kind
    return found, neither


def mixed(table: Table) -> list[str]:
    """Which of a reference's columns hold words among numbers, what they count as, and what to do."""
    said = []
    for name, values in table.items():
        odd = _odd(values) if isinstance(values, pl.Series) else None
        if odd is None:
            continue
        are = "is no number" if odd.words == 1 else "are no numbers"
        words = f"{odd.words:,} of its {odd.of:,} values {are}, the first {odd.first!r}"
        if odd.few:
            it = "it counts" if odd.words == 1 else "they count"
            said.append(f"{name} counts as numbers: {words}; {it} as of the wrong type")
        else:
            said.append(f"{name} counts as words: {words}; write nothing where a value is unknown")
    return said


def column(values: Values, kind: Kind) -> NDArray[Any]:
    """A column to count: float64 with NaN for missing, or objects where some are of another kind."""
    if not isinstance(values, pl.Series):
        return _objects(values.tolist(), kind)
    if kind == "number":
        return _numbers(values)
    if kind == "embedding":
        return _array(values.to_list())
    if values.dtype == pl.Boolean:
        return np.array([None if v is None else str(v).lower() for v in values], dtype=object)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if values.dtype.is_nested() or values.dtype == pl.Object:
        return np.array([None if v is None else str(v) for v in values.to_list()], dtype=object)
    return np.array(values.cast(pl.String).to_list(), dtype=object)


def spelled(values: NDArray[Any], names: Sequence[str]) -> NDArray[Any]:
    """Values of a column in the spelling of `names`, where they are the same truth value or number:
    true, True and 1 are one name, and so are 3.0 and 3. Others stay as they are.
    """
    known = {_plain(name): name for name in names}
    if len(known) < len(names):  # names that differ in nothing but their spelling
        return values
    return _array([known.get(_plain(one), one) for one in values.tolist()])


def _plain(value: Any) -> str:
    said = str(value).strip()
    if said.lower() in _TRUE:
        return str(int(_TRUE[said.lower()]))
    whole = _WHOLE.fullmatch(said)
    return whole[1] if whole else said


def absent(kind: Kind, count: int) -> NDArray[Any]:
    """A column of nothing, for a feature that a table lacks."""
    return np.full(count, np.nan) if kind == "number" else np.full(count, None, dtype=object)


def moments(name: str, values: Values, zone: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A column of times in microseconds and which rows have one; raises DataError where none has."""
    series = (
        values if isinstance(values, pl.Series) else pl.Series(name, values.tolist(), strict=False)
    )
    done = typed.convert(series, "time", zone).values
    known = done.is_not_null().to_numpy()
    if not known.any():
        raise DataError(
            f"column {name!r} holds no time that can be read",
            hint="write times as ISO 8601: 2026-01-31T12:00:00Z",
        )
    return done.cast(pl.Int64).fill_null(0).to_numpy(), known


def cut(table: Table, name: str, span: int, zone: str, *, most: int) -> Spans:
    """A table cut by its column `name` of times into windows of `span` microseconds.

    Rows without a time are left out, times that go backwards put in order, and of more than `most`
    windows the newest kept; each is said. Raises DataError where no time can be read.
    """
    times, known = moments(name, table[name], zone)
    notes = []
    if not known.all():
        notes.append(f"{int((~known).sum()):,} rows without a time are left out")
    kept = np.flatnonzero(known)
    back = int((np.diff(times[kept]) < 0).sum())
    if back:
        notes.append(f"time goes backwards {back:,} times: rows are put in order of {name}")
    rows = kept[np.argsort(times[kept], kind="stable")].astype(np.int64)
    slots = times[rows] // span * span
    starts, places = np.unique(slots, return_index=True)
    if len(starts) > most:
        notes.append(f"{len(starts):,} windows: the newest {most} are judged")
        first = int(places[-most])
        rows, starts = rows[first:], starts[-most:]
        places = places[-most:] - first
    return Spans(rows, times[rows], starts.tolist(), places.tolist(), span, notes)


def _read(path: Path, form: str) -> dict[str, Values]:
    if form == "csv":
        return split(delimited.read(path, path.name))
    if form == "ndjson":
        return _lines(path)
    try:
        if form == "parquet":
            return split(pl.read_parquet(path, glob=False, memory_map=False))
        return split(pl.read_ipc(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path.name} is not a whole {form} file: {str(error).splitlines()[0]}",
            hint="it may have been cut off while it was written: export it again",
        ) from error


def _lines(path: Path) -> dict[str, Values]:
    try:
        return split(pl.read_ndjson(path, infer_schema_length=None))
    except pl.exceptions.PolarsError:  # kinds are mixed: the values are taken one by one
        found: list[dict[str, Any]] = []
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    found.append(_row(path.name, number, line))
        names = dict.fromkeys(name for row in found for name in row)
        return {name: _array([row.get(name) for row in found]) for name in names}


def _row(name: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{name} line {number} is not a JSON object: {error}") from error


def _odd(values: pl.Series) -> _Odd | None:
    """The words of a text column of which half are numbers at least; codes such as 007 are words."""
    if values.dtype != pl.String:
        return None
    plain = values.str.strip_chars()
    known = plain.filter(~plain.str.to_lowercase().is_in(_MISSING))
    read = known.cast(pl.Float64, strict=False)
    words = known.filter(read.is_null())
    if not len(words) or 2 * len(words) > len(known):
        return None
    if typed.infer(known.filter(read.is_not_null())) not in ("integer", "number"):
        return None
    return _Odd(len(words), len(values), str(words[0])[:40], few=10 * len(words) <= len(known))


def _kind(values: Values) -> Kind | None:
    if not isinstance(values, pl.Series):
        known = [one for one in values.tolist() if one is not None]
        numbers = sum(isinstance(one, int | float) for one in known)
        return "number" if numbers * 2 > len(known) else "category"
    if values.dtype == pl.String:
        found = typed.infer(values)
        if found == "text":
            odd = _odd(values)
            if odd is not None and odd.few:
                return "number"
            return "text" if is_free_text(column(values.head(LOOK), "text")) else "category"
        return None if found == "time" else "number"
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return "number"
    if values.dtype in (pl.Categorical, pl.Enum, pl.Null):
        return "category"
    inner = values.dtype.inner if isinstance(values.dtype, pl.List | pl.Array) else None
    if inner is not None and inner.is_numeric():
        widths = values.list.len() if isinstance(values.dtype, pl.List) else None
        return "embedding" if widths is None or widths.drop_nulls().n_unique() == 1 else None
    return None


def _numbers(values: pl.Series) -> NDArray[Any]:
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if values.dtype == pl.Null:
        return np.full(len(values), np.nan)
    if values.dtype != pl.String:
        return _array(values.to_list())  # times, lists: each is a value of the wrong type
    plain = values.str.strip_chars()
    lower = plain.str.to_lowercase()
    known = ~lower.is_in(_MISSING).fill_null(value=True)
    read = plain.cast(pl.Float64, strict=False)
    words = known & read.is_null()
    done = read.fill_null(float("nan")).to_numpy().copy()
    done[~known.to_numpy()] = np.nan
    odd = np.flatnonzero(words.to_numpy())
    if not len(odd):
        return done
    said: list[Any] = lower.gather(odd).to_list()
    if len(odd) == int(known.sum()):  # no number: a column of truth values, in whatever letters
        said = [_TRUE.get(one, one) for one in said]
        if not any(isinstance(one, str) for one in said):
            done[odd] = said
            return done
    mixed: list[Any] = [None if math.isnan(value) else value for value in done.tolist()]
    for row, text in zip(odd.tolist(), said, strict=True):
        mixed[row] = text
    return _array(mixed)


def _objects(values: list[Any], kind: Kind) -> NDArray[Any]:
    if kind == "number":
        return _array([float(one) if isinstance(one, bool) else one for one in values])
    return _array(values)


def _array(values: list[Any]) -> NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
