"""Late truths: the label files of `[serve] labels`, read as they come.

A file is read again only when its size or mtime changed, so that looking is cheap. A bad file is
quarantined and reported and stops nothing. What the labels are joined to is left to the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from trimtab.data import quarantine, reader, sources
from trimtab.data.checks import near
from trimtab.data.columns import DTYPES, TIME, Type, convert
from trimtab.errors import DataError, NotFoundError

PREDICTION: Final = "prediction_id"
LABELLED: Final = "labelled_at"
_ORDER: Final = "\0order"


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """What was read already: file name -> (size in bytes, mtime in microseconds)."""

    files: dict[str, tuple[int, int]] = {}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A label file that was refused, why, and where it is kept ("" where nowhere)."""

    file: str
    error: str
    hint: str
    kept: str = ""


@dataclass(frozen=True)
class Outcomes:
    """New labels, one row per prediction id.

    `frame` has `prediction_id` (String), the target, `labelled_at` (Datetime, UTC) and the files'
    other columns. `repeated` counts rows that said the same again, `conflicting` prediction ids
    with different values, of which the one labelled last is kept; `empty` rows without id or value.
    """

    frame: pl.DataFrame
    cursor: Cursor
    files: int = 0
    problems: tuple[Problem, ...] = ()
    repeated: int = 0
    conflicting: int = 0
    empty: int = 0


def read_outcomes(
    pattern: str,
    project_dir: Path,
    *,
    target: str,
    since: Cursor | None = None,
    types: Mapping[str, Type] | None = None,
    zone: str = "UTC",
    root: Path | None = None,
    name: str = "outcomes",
) -> Outcomes:
    """Read the label files that are new or changed since the cursor `since`.

    `types` declares columns, the target's above all, so that every file means the same. `root` is
    the workspace's folder, below which a bad file is kept as data `name`; None keeps no copy. A row
    without `labelled_at` counts as labelled when its file was last written. No file is no error.
    """
    known = dict((since or Cursor()).files)
    try:
        found = sources.match(pattern, project_dir)
    except NotFoundError:
        found = []
    stamps = {file.name: (file.path.stat().st_size, file.mtime) for file in found}
    fresh = [file for file in found if known.get(file.name) != stamps[file.name]]
    declared: dict[str, Type] = {**(types or {}), PREDICTION: "text", LABELLED: "time"}
    frames: list[pl.DataFrame] = []
    problems: list[Problem] = []
    for file in sorted(fresh, key=lambda file: (file.mtime, file.name)):
        try:
            frames.append(_one(file, target, declared, zone))
        except DataError as error:
            kept = (
                quarantine.keep(root, name, {file.name: file.path}, error, pattern) if root else ""
            )
            problems.append(
                Problem(file=file.name, error=error.message, hint=error.hint, kept=str(kept))
            )
    whole, repeated, conflicting, empty = _settle(_together(frames), target, declared)
    return Outcomes(
        frame=whole,
        cursor=Cursor(files=stamps),
        files=len(fresh),
        problems=tuple(problems),
        repeated=repeated,
        conflicting=conflicting,
        empty=empty,
    )


def truths(values: pl.Series, kind: Type | None) -> list[Any]:
    """A column of truths, each of its `kind` where it can be, else the text that it is.

    One word among a file's numbers makes a column of text; the other rows mean what they meant.
    """
    if values.dtype != pl.String or kind not in ("number", "integer", "boolean"):
        return values.to_list()
    known = convert(values, "number" if kind == "integer" else kind).values
    return [
        text if value is None else value
        for value, text in zip(known.to_list(), values.to_list(), strict=True)
    ]


def _one(file: sources.SourceFile, target: str, types: dict[str, Type], zone: str) -> pl.DataFrame:
    frame = reader.read([(file.name, file.path)], types, zone).frame
    for wanted in (PREDICTION, target):
        if wanted not in frame.columns:
            raise DataError(
                f"{file.name} has no column {wanted!r}{near(wanted, frame.columns)}",
                hint=f"a label file has {PREDICTION}, {target} and, if known, {LABELLED}",
            )
    if frame[PREDICTION].dtype != pl.String:
        raise DataError(f"{file.name}: {PREDICTION} holds {frame[PREDICTION].dtype}, not text")
    expected = types.get(target)
    if expected is not None and frame[target].dtype != DTYPES[expected]:
        if not (expected == "integer" and frame[target].dtype == pl.Float64):
            raise DataError(f"{file.name}: {target!r} holds {frame[target].dtype}, not {expected}")
        raise DataError(f"{file.name}: {target!r} holds fractions, not whole numbers")
    landed = pl.lit(file.mtime).cast(TIME)
    stamp = pl.col(LABELLED).fill_null(landed) if LABELLED in frame.columns else landed
    return frame.with_columns(stamp.alias(LABELLED))


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Files one below the other; a column whose type differs between them becomes text."""
    if not frames:
        return pl.DataFrame()
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            kinds.setdefault(name, set()).add(dtype)
    mixed = [
        name
        for name, found in kinds.items()
        if len(found) > 1 and not all(dtype.is_numeric() for dtype in found)
    ]
    alike = [
        frame.with_columns(pl.col(name).cast(pl.String) for name in mixed if name in frame.columns)
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed")


def _settle(
    frame: pl.DataFrame, target: str, types: Mapping[str, Type]
) -> tuple[pl.DataFrame, int, int, int]:
    """One row per prediction id, the one labelled last; (frame, repeated, conflicting, empty)."""
    if not frame.width:
        kind = DTYPES[types.get(target, "text")]
        return pl.DataFrame(schema={PREDICTION: pl.String, target: kind, LABELLED: TIME}), 0, 0, 0
    order = [PREDICTION, target, LABELLED]
    frame = frame.select(*order, pl.exclude(order))
    told = frame.drop_nulls([PREDICTION, target])
    values = told.select(PREDICTION, target).unique()
    last = (
        told.with_row_index(_ORDER)
        .sort(LABELLED, _ORDER)
        .unique(PREDICTION, keep="last", maintain_order=True)
        .drop(_ORDER)
    )
    twice = values.group_by(PREDICTION).len().filter(pl.col("len") > 1).height
    return last, told.height - values.height, twice, frame.height - told.height
