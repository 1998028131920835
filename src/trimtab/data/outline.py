"""The profile that a data version keeps: its distributions on frozen bins, ready to be compared.

It is a blob beside the version's bytes and no part of its digest. The bins are those of the version
before, as long as they fit, so that versions are counted alike. What it lacks is worked out anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.config import DataConfig
from trimtab.data import tables
from trimtab.errors import DataError, IntegrityError, NotFoundError
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references
from trimtab.profile.bins import Bins
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.columns import LOOK, Coded, Column, Columns, Kind, is_free_text, is_missing
from trimtab.profile.fit import fit
from trimtab.profile.frames import columns_of
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

MOST_ROWS: Final = 5_000_000
"""Of longer tables evenly taken rows are counted, so that a version costs seconds at most."""
CUT_ROWS: Final = 200_000
"""Bins of numbers are cut from at most so many evenly taken rows, those of text from all."""
MOST_COLUMNS: Final = 1_000
NO_ROLES: Final = DataConfig(source="")
_ENOUGH: Final = 5_000
_SOME: Final = 20


@dataclass(frozen=True, eq=False)
class Outline:
    """A version's reference profile and the columns that it leaves out, with why.

    `cut_from` is the label of the version whose rows made the bins, `cut_rows` how many they were.
    """

    reference: Reference
    cut_from: str
    cut_rows: int
    left_out: dict[str, str]


def keep(
    ws: Workspace, label: str, frame: pl.DataFrame, data: DataConfig, before: Version | None
) -> dict[str, Any]:
    """Store the outline of a table; returns what its version says of it, {} where there is none."""
    try:
        made = make(frame, data, label, stored(ws, before) if before else None)
    except DataError:
        return {}  # a table without a column to count is data all the same
    return {
        "reference": ws.blobs.put(references.encode(made.reference)),
        "rows": made.reference.profile.rows,
        "cut_from": made.cut_from,
        "cut_rows": made.cut_rows,
        "left_out": made.left_out,
    }


def of(ws: Workspace, version: Version, data: DataConfig | None = None) -> Outline:
    """The outline of a version; of one that has none, made from its table. Raises DataError."""
    found = stored(ws, version)
    if found is not None:
        return found
    if "schema" not in version.meta:
        raise DataError(f"{version.label} does not say what its table looks like")
    return make(tables.read(ws, version), data or NO_ROLES, version.label)


def stored(ws: Workspace, version: Version) -> Outline | None:
    """The outline that was kept with a version; None where there is none that can be read."""
    meta = version.meta.get("profile") or {}
    try:
        reference = references.decode(ws.blobs.read(meta["reference"]))
        return Outline(reference, meta["cut_from"], meta["cut_rows"], dict(meta["left_out"]))
    except (KeyError, NotFoundError, IntegrityError):
        return None


def make(
    frame: pl.DataFrame, data: DataConfig, label: str, before: Outline | None = None
) -> Outline:
    """The outline of a table, on the bins of another where they fit. Raises DataError."""
    frame = _thinned(frame, MOST_ROWS)
    left_out = _left_out(frame, data)
    columns = columns_of(frame, [name for name in frame.columns if name not in left_out])
    if not columns or not frame.height:
        raise DataError("there is no column whose distribution could be kept")
    if before is not None and _fits(before, columns, frame.height):
        made = references.fit_on(before.reference.bins, columns)
        return Outline(made, before.cut_from, before.cut_rows, left_out)
    made = references.fit_on(_cut(columns, frame.height), columns)
    return Outline(made, label, min(frame.height, CUT_ROWS), left_out)


def count(bins: Bins, frame: pl.DataFrame) -> Profile:
    """The profile of a table on given bins; a column that it lacks counts as missing, and values that
    became words, or words that became numbers, as of the wrong type.
    """
    frame = _thinned(frame, MOST_ROWS)
    wanted = _kinds(bins)
    there = columns_of(frame, [name for name in wanted if name in frame.columns])
    never = {
        one.name
        for one in bins.features
        if isinstance(one, CategoryCells) and not one.levels and not one.once
    }
    given: dict[str, Column] = {}
    for name, kind in wanted.items():
        column = there.get(name)
        if column is None:
            given[name] = np.full(frame.height, None, dtype=object)
        elif isinstance(column, Coded) == (kind == "number"):
            # whatever comes where never a value was is new, and not of another type
            given[name] = column if name in never else _objects(column)
        else:
            given[name] = column
    return profiles.count(bins, given)


def _objects(column: Column) -> NDArray[Any]:
    """A column's values one by one, None where missing: each is of a type of its own."""
    found = np.empty(len(column), dtype=object)
    found[:] = [None if is_missing(one) else one for one in column.tolist()]
    return found


def _cut(columns: Columns, rows: int) -> Bins:
    """Bins in the order of the columns; numbers and free text from some rows, as they are sorted."""
    every = slice(None, None, -(-rows // CUT_ROWS))
    parts = []
    for name, column in columns.items():
        kind = _kind(column)
        some = column if kind == "category" else column[every]
        parts.append(fit({name: some}, {name: kind}))
    return Bins(
        features=tuple(one for part in parts for one in part.features),
        derived=tuple(one for part in parts for one in part.derived),
    )


def _fits(before: Outline, columns: Columns, rows: int) -> bool:
    """Whether the bins know these very columns and were cut from enough rows."""
    same = _kinds(before.reference.bins) == {name: _kind(one) for name, one in columns.items()}
    return same and (before.cut_rows >= _ENOUGH or rows < 2 * before.cut_rows)


def _kinds(bins: Bins) -> dict[str, Kind]:
    """What the columns are from which bins were made."""
    numbers = {one.name for one in bins.features if isinstance(one, NumberCells)}
    words: dict[str, Kind] = {one.column: "text" for one in bins.derived}
    return {
        name: words.get(name, "number" if name in numbers else "category") for name in bins.needed
    }


def _kind(column: Column) -> Kind:
    if not isinstance(column, Coded):
        return "number"
    return "text" if is_free_text(column) else "category"


def _left_out(frame: pl.DataFrame, data: DataConfig) -> dict[str, str]:
    """Columns whose values tell rows or people apart, or always move on; with why."""
    roles = dict.fromkeys(data.pii, "personal data") | {data.key: "key", data.time: "time"}
    found: dict[str, str] = {}
    for values in frame.get_columns():
        dtype = values.dtype
        if values.name in roles:
            found[values.name] = roles[values.name]
        elif dtype.is_temporal():
            found[values.name] = "time"
        elif (
            dtype == pl.String
            and _apart(values) > 0.5
            and not is_free_text(values.head(LOOK).to_numpy())
        ):
            found[values.name] = "nearly every row has a value of its own"
        elif dtype.is_integer() and _apart(values) == 1:
            found[values.name] = "every row has a value of its own"
    kept = [name for name in frame.columns if name not in found]
    found |= dict.fromkeys(kept[MOST_COLUMNS:], f"beyond the first {MOST_COLUMNS:,} columns")
    return found


def _apart(values: pl.Series) -> float:
    """Distinct values over rows that have one; 0 of few rows."""
    present = values.drop_nulls()
    return present.n_unique() / len(present) if len(present) >= _SOME else 0.0


def _thinned(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    return frame if frame.height <= most else frame.gather_every(-(-frame.height // most))
