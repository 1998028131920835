"""Rows as an estimator gets them: the one preparation that training and packaging share."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from trimtab.errors import DataError
from trimtab.tune.candidate import Kind


def features(frame: pl.DataFrame, wanted: Mapping[str, Kind]) -> pl.DataFrame:
    """The feature columns, typed: number and boolean as Float64 with NaN for null, text as String
    with "" for null. Raises DataError for a missing column.
    """
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(
            f"the table has no column {missing[0]!r}", hint=f"it has {', '.join(frame.columns)}"
        )
    return frame.select(
        pl.col(name).cast(pl.String).fill_null("")
        if kind == "text"
        else pl.col(name).cast(pl.Float64).fill_null(float("nan"))
        for name, kind in wanted.items()
    )


def kinds(frame: pl.DataFrame, without: Collection[str]) -> dict[str, Kind]:
    """The columns that may be features, with their kind; times and nested columns are none."""
    found: dict[str, Kind] = {}
    for name, dtype in frame.schema.items():
        if name in without:
            continue
        if dtype == pl.Boolean:
            found[name] = "boolean"
        elif dtype.is_numeric():
            found[name] = "number"
        elif dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum):
            found[name] = "text"
    return found
