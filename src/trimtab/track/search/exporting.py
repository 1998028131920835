"""Runs as a file: CSV, Parquet or JSON lines.

A file appears under its name when it is whole: it is written beside it first. CSV and JSON lines are
written a few hundred runs at a time.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from trimtab import ids
from trimtab.errors import MissingExtraError, StorageError, UsageError
from trimtab.store import listing
from trimtab.store.statements import in_parts
from trimtab.store.workspace import Workspace
from trimtab.track.reports import Exported
from trimtab.track.search import fields, finding, order
from trimtab.track.search.columns import Column, Several
from trimtab.track.search.finding import Wanted
from trimtab.track.search.order import Places
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.tree import Entity, Field, field_written

_FIRST: Final = ("id", "kind", "name", "status", "parent", "started", "ended", "duration")
Write = Callable[[Path, Workspace, RunTable, Places, list[Field]], None]


def export(ws: Workspace, wanted: Wanted, path: Path, *, columns: str = "") -> Exported:
    """Write the runs that are wanted, in order, to a file; its ending says how.

    `columns` names fields as an order does; by default every param, tag and metric that one of the
    runs has. JSON lines hold runs whole instead. Raises UsageError for an ending that is none of
    `WRITERS`, QueryError, StorageError.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(
            f"cannot tell from {path.name!r} what to write", hint=f"end it in {', '.join(WRITERS)}"
        )
    named = [one.field for one in order.read(columns)]
    table, rows = finding.every(ws, wanted)
    chosen = named or _all(table, rows)
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(
            f"{path} is no file that could be written", hint="the folder has to be there"
        )
    part = path.with_name(f".{path.name}.{ids.new_id()[-8:]}.part")
    try:
        write(part, ws, table, rows, chosen)
        part.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # such as a name that is too long: it was never there
            part.unlink()
    shown = [] if write is _lines else [field_written(one) for one in chosen]
    return Exported(path=str(path), runs=len(rows), columns=shown, bytes=path.stat().st_size)


def cell(column: Column | Several, field: Field, row: int) -> Any:
    """A run's value: a number, a text, a moment in ISO 8601, seconds, None where it lacks it."""
    if isinstance(column, Several):
        return None
    kind, value = fields.kind(field), column.value(row)
    if value is None or isinstance(value, str):
        return value
    if kind == "moment":
        return ids.to_datetime(int(value)).isoformat()
    if kind == "span":
        return value / 1_000_000
    if kind == "either":
        return column.text(row)
    return value if field.entity == "metric" else int(value)


def _all(table: RunTable, rows: Places) -> list[Field]:
    found = [Field("attribute", key) for key in _FIRST]
    entities: tuple[Entity, ...] = ("param", "tag", "metric")
    named = [Field(entity, key) for entity in entities for key in table.keys(entity)]
    return found + [one for one in named if table.any_column(one).present[rows].any()]


def _csv(path: Path, ws: Workspace, table: RunTable, rows: Places, chosen: list[Field]) -> None:
    columns = [(table.column(field), field) for field in chosen]
    with _opened(path) as file:
        writer = csv.writer(file)
        writer.writerow([field_written(field) for field in chosen])
        for row in rows.tolist():
            writer.writerow([_plain(cell(column, field, row)) for column, field in columns])


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _lines(path: Path, ws: Workspace, table: RunTable, rows: Places, chosen: list[Field]) -> None:
    runs = [table.records[row].id for row in rows.tolist()]
    latest = table.latest()
    with _opened(path) as file:
        for run in _runs(ws, runs):
            values = latest[run.id].plain() if run.id in latest else {}
            shown = {key: _finite(value) for key, value in values.items()}
            body = msgspec.to_builtins(run) | {"metrics": shown}
            file.write(msgspec.json.encode(body).decode() + "\n")


def _runs(ws: Workspace, runs: Sequence[str]) -> Iterator[Any]:
    for some in in_parts(runs):
        yield from listing.whole(ws, some)


def _finite(value: float) -> float | str:
    """JSON has neither NaN nor infinities: they are texts, as Python writes them."""
    return value if math.isfinite(value) else str(value)


def _parquet(path: Path, ws: Workspace, table: RunTable, rows: Places, chosen: list[Field]) -> None:
    try:
        import polars as pl  # noqa: PLC0415 - a large library, for this alone
    except ImportError as error:
        raise MissingExtraError(
            "Parquet is written with polars", hint="pip install 'trimtab[local]', or write a .csv"
        ) from error

    places = rows.tolist()
    series = []
    for field in chosen:
        column = table.column(field)
        values = [_typed(column, field, row) for row in places]
        series.append(pl.Series(field_written(field), values, dtype=_type(pl, values, field)))
    pl.DataFrame(series).write_parquet(path)


def _typed(column: Column, field: Field, row: int) -> Any:
    if fields.kind(field) == "moment":
        value = column.value(row)
        return None if value is None else int(value)
    if fields.kind(field) == "either" and column.is_number[column.code >= 0].all():
        return column.value(row)
    return cell(column, field, row)


def _type(pl: Any, values: list[Any], field: Field) -> Any:
    """Numbers where all are, texts otherwise; moments are timestamps in UTC."""
    kind = fields.kind(field)
    if kind == "moment":
        return pl.Datetime("us", "UTC")
    if field.key == "peak_memory" and field.entity == "attribute":
        return pl.Int64
    is_text = kind in ("text", "status") or any(isinstance(value, str) for value in values)
    return pl.String if is_text else pl.Float64


def _opened(path: Path) -> TextIO:
    # newline="": lines end as CSV and JSON lines want them, on every machine
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644),
        "w",
        encoding="utf-8",
        newline="",
    )


WRITERS: Final[dict[str, Write]] = {".csv": _csv, ".parquet": _parquet, ".jsonl": _lines}
