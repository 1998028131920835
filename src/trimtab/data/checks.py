"""What a project file says of a table, held against the table: roles, keys, times and the target.

Each check raises DataError naming the column and, where there is one, the file and line.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

import polars as pl

from trimtab.config import DataConfig
from trimtab.data.reader import Table
from trimtab.data.schema import Schema
from trimtab.errors import DataError


def roles(schema: Schema, config: DataConfig, name: str) -> None:
    """Every column that `[data.NAME]` names is in the schema, and `time` is a time."""
    wanted = [
        ("key", config.key),
        ("time", config.time),
        ("target", config.target),
        *(("protected", column) for column in config.protected),
        *(("pii", column) for column in config.pii),
    ]
    for role, column in wanted:
        if column and schema.get(column) is None:
            raise _missing(column, list(schema.types), f"[data.{name}] {role} = {column!r}: ")
    found = schema.get(config.time) if config.time else None
    if found is not None and found.type != "time":
        raise DataError(
            f"[data.{name}] time = {config.time!r}: the column holds {found.type} values, not times",
            hint="write times as ISO 8601: 2026-01-31T12:00:00Z",
        )


def files(table: Table, allow: Collection[str]) -> None:
    """No file lacks a column that a file before it has, except those in `allow`."""
    seen: dict[str, str] = {}
    for part in table.parts:
        for column, first in seen.items():
            if column not in part.columns and column not in allow:
                raise DataError(
                    f"{part.name} has no column {column!r}, which {first} has",
                    hint=f'if that is meant: allow = ["{column}"]',
                )
        for column in part.columns:
            seen.setdefault(column, part.name)


def rows(table: Table, config: DataConfig) -> list[str]:
    """Keys are present and unique, times are present; returns notes on the target."""
    if config.key:
        _present(table, config.key, "key")
        _unique(table, config.key)
    if config.time:
        _present(table, config.time, "time")
    if not config.target:
        return []
    missing = table.frame[config.target].null_count()
    return [f"{missing} rows have no {config.target!r}"] if missing else []


def check_target(frame: pl.DataFrame, target: str) -> None:
    """The target is there and takes at least two values; raises DataError."""
    if target not in frame.columns:
        raise _missing(target, frame.columns, "")
    present = frame[target].drop_nulls()
    if not len(present):
        raise DataError(f"target {target!r} has no value in any of {frame.height} rows")
    if present.n_unique() == 1:
        raise DataError(
            f"target {target!r} is {present[0]!r} in all of {len(present)} rows",
            hint="a model needs rows of at least two outcomes to learn from",
        )


def near(column: str, names: Collection[str]) -> str:
    """The end of a sentence that offers the name nearest to `column`, empty where none is near."""
    lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(column.lower(), list(lower), n=1, cutoff=0.5)
    return f", did you mean {lower[found[0]]!r}?" if found else ""


def _missing(column: str, names: Collection[str], prefix: str) -> DataError:
    return DataError(
        f"{prefix}there is no column {column!r}{near(column, names)}",
        hint=f"columns: {', '.join(names)}",
    )


def _present(table: Table, column: str, role: str) -> None:
    missing = table.frame[column].is_null()
    count = int(missing.sum())
    if count:
        row = int(missing.arg_max() or 0)
        raise DataError(
            f"{table.where(row)}: {role} {column!r} is missing"
            + (f", and in {count - 1} more rows" if count > 1 else ""),
            hint=f"each row needs a {role}",
        )


def _unique(table: Table, key: str) -> None:
    values = table.frame[key]
    again = ~values.is_first_distinct()
    count = int(again.sum())
    if count:
        row = int(again.arg_max() or 0)
        first = int((values == values[row]).arg_max() or 0)
        rows = "1 row repeats" if count == 1 else f"{count} rows repeat"
        raise DataError(
            f"{table.where(row)}: key {key!r} has {values[row]!r} again, first in "
            f"{table.where(first)}; {rows} an earlier key",
            hint="each row needs a key of its own; leave `key` out if the table has none",
        )
