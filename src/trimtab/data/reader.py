"""Source files as one typed table: CSV, TSV, Parquet and NDJSON in, five column types out.

The files of a source have one format and are concatenated in the byte order of their names; a
column that a file lacks is null there. Types are inferred over all rows, or declared. Whatever
cannot be read raises DataError naming the file and the line or row. No cache and no store here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from trimtab.data import columns, delimited
from trimtab.data.columns import Converted, Type
from trimtab.errors import ConfigError, DataError

VERSION: Final = 1
FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
TABLES: Final = {**FORMATS, ".arrow": "ipc", ".ipc": "ipc", ".feather": "ipc"}
"""What files that are read once, and not kept as sources, may be besides."""
_TEXTUAL: Final = ("csv", "ndjson")


@dataclass(frozen=True)
class Part:
    """One file of a table: its name, where its bytes lie, its format and its number of rows."""

    name: str
    path: Path
    format: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A typed frame, the files it came from in order, and what a person should know of it."""

    frame: pl.DataFrame
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def where(self, row: int) -> str:
        """The place of row `row` (from 0): `loans.csv line 57` or `loans.parquet row 56` (from 1)."""
        ends = list(accumulate(part.rows for part in self.parts))
        index = bisect_right(ends, row)
        part = self.parts[index]
        within = row - (ends[index - 1] if index else 0)
        if part.format == "csv":
            return f"{part.name} line {delimited.line_of(part.path, part.name, within)}"
        return f"{part.name} row {within + 1}"


def format_of(name: str) -> str:
    """The format of a file by its suffix; raises DataError."""
    found = FORMATS.get(Path(name).suffix.lower())
    if found is None:
        raise DataError(
            f"{name} is not a table that trimtab reads",
            hint=f"known suffixes: {', '.join(FORMATS)}",
        )
    return found


def read(
    files: Sequence[tuple[str, Path]], types: Mapping[str, Type] | None = None, zone: str = "UTC"
) -> Table:
    """The files (name, path) as one table.

    `types` declares columns by name; others are inferred. A naive time counts as local to `zone`.
    Raises DataError naming file and line, ConfigError for an unknown zone.
    """
    check_zone(zone)
    formats = {format_of(name): name for name, _ in files}
    if len(formats) != 1:
        raise DataError(
            f"the source mixes formats: {', '.join(sorted(formats.values()))}",
            hint="name one format in the glob, such as *.parquet",
        )
    form = next(iter(formats))
    frames: list[pl.DataFrame] = []
    parts: list[Part] = []
    for name, path in sorted(files, key=lambda file: file[0].encode()):
        frame = _raw(form, path, name)
        frames.append(frame)
        parts.append(Part(name, path, form, frame.height, tuple(frame.columns)))
    return _typed(Table(_stack(frames, parts), tuple(parts)), form, dict(types or {}), zone)


def check_zone(zone: str) -> None:
    """Raise ConfigError for a time zone that this machine does not know."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"[project] timezone = {zone!r} is not a time zone", hint="such as Europe/Berlin"
        ) from error


def _raw(form: str, path: Path, name: str) -> pl.DataFrame:
    if form == "csv":
        return delimited.read(path, name)
    if not path.stat().st_size:
        raise DataError(f"{name} is empty", hint="check the export that wrote it")
    frame = _parquet(path, name) if form == "parquet" else _ndjson(path, name)
    if not frame.height:
        raise DataError(f"{name} has no rows", hint="check the export that wrote it")
    return frame


def _parquet(path: Path, name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False, memory_map=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{name} is not a whole Parquet file: {str(error).splitlines()[0]}",
            hint="it may have been cut off while it was written: export it again",
        ) from error


def _ndjson(path: Path, name: str) -> pl.DataFrame:
    try:
        return pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise _bad_json(path, name, str(error)) from error


def _bad_json(path: Path, name: str, message: str) -> DataError:
    """The first line that is not a JSON object, or else the first kind of value that changes."""
    kinds: dict[str, type] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                return DataError(f"{name} line {number} is not valid JSON: {error}")
            if not isinstance(row, dict):
                return DataError(f"{name} line {number} is not a JSON object")
            for key, value in row.items():
                kind = float if type(value) is int else type(value)
                if value is not None and kinds.setdefault(key, kind) is not kind:
                    return DataError(
                        f"{name} line {number}, column {key!r}: {value!r} is not of the kind of "
                        f"the lines before it"
                    )
    return DataError(f"{name} cannot be read: {message.splitlines()[0]}")


def _stack(frames: list[pl.DataFrame], parts: list[Part]) -> pl.DataFrame:
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        seen: dict[str, tuple[str, pl.DataType]] = {}
        for frame, part in zip(frames, parts, strict=True):
            for column, dtype in frame.schema.items():
                first, known = seen.setdefault(column, (part.name, dtype))
                if known != dtype:
                    raise DataError(
                        f"column {column!r} is {known} in {first} and {dtype} in {part.name}",
                        hint="write it with one type in every file",
                    ) from error
        raise DataError(f"the files do not fit together: {error}") from error


def _typed(raw: Table, form: str, types: dict[str, Type], zone: str) -> Table:
    notes: list[str] = []
    made: list[pl.Series] = []
    for values in raw.frame.get_columns():
        name = values.name
        kind, done = column(values, types.get(name), form, zone)
        if done.bad >= 0:
            raise DataError(
                f"{raw.where(done.bad)}, column {name!r}: {_short(values[done.bad])} is not "
                f"{_ARTICLES[kind]}",
                hint=_HINTS.get(kind, ""),
            )
        row = columns.infinite(done.values)
        if row >= 0:
            raise DataError(
                f"{raw.where(row)}, column {name!r}: a number cannot be infinite",
                hint="write nothing where a value is unknown",
            )
        odd = columns.nearly(values) if form == "csv" and kind == "text" else None
        if odd is not None and name not in types:
            notes.append(
                f"{name!r} is text because {odd[0]} of its {len(values)} values are no numbers, "
                f"the first {_short(values[odd[1]])} in {raw.where(odd[1])}"
            )
        if done.naive and zone == "UTC":
            notes.append(
                f"times without a zone in {name!r} count as UTC: set [project] timezone if they "
                f"are not"
            )
        made.append(done.values.alias(name))
    return Table(pl.DataFrame(made), raw.parts, tuple(notes))


def column(
    values: pl.Series, declared: Type | None, form: str, zone: str
) -> tuple[Type, Converted]:
    """A raw column of a format converted to what is declared, or else to what its values are.

    A typed column of another kind than declared keeps its own, for the schema to refuse; integers
    widen to numbers where they have fractions; a column without values has the declared type.
    """
    if declared is not None and values.null_count() == len(values):
        nothing = pl.Series(values.name, [None] * len(values), dtype=columns.DTYPES[declared])
        return declared, Converted(values=nothing)
    if declared is None and form in _TEXTUAL and values.dtype == pl.String:
        found = columns.infer(values)
        # JSON says itself what is a number or a boolean, but has no times.
        declared = "text" if form == "ndjson" and found != "time" else found
    if declared is None or (form == "parquet" and _foreign(values.dtype, declared)):
        done = columns.plain(values, zone)
        return columns.type_of(done.values.dtype), done
    done = columns.convert(values, declared, zone)
    if declared == "integer" and done.bad >= 0:
        wider = columns.convert(values, "number", zone)
        return ("integer", done) if wider.bad >= 0 else ("number", wider)
    return declared, done


_ARTICLES: Final[dict[str, str]] = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "text": "text",
    "time": "a time",
}
_HINTS: Final[dict[str, str]] = {"time": "write times as ISO 8601: 2026-01-31T12:00:00Z"}


def _foreign(dtype: pl.DataType, kind: Type) -> bool:
    """Whether a typed column is of another kind than declared, for the schema to refuse as such."""
    if kind == "time":
        return dtype == pl.Boolean
    if kind == "text":
        return dtype not in (pl.Categorical, pl.Enum, pl.Null, pl.String)
    if kind == "boolean":
        return dtype not in (pl.Boolean, pl.Null)
    return not (dtype.is_numeric() or dtype == pl.Null)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text) - 2} characters)"
