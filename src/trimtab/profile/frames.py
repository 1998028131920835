"""A Polars frame as columns to profile, text as `Coded`: each distinct value is looked up once.

The one module of profiles that needs Polars: counting and judging do without.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from trimtab.profile.columns import Coded, Column


def columns_of(frame: pl.DataFrame, names: Iterable[str] | None = None) -> dict[str, Column]:
    """The named columns (default: all): numbers as float64, missing as NaN; text coded.

    Times become seconds since the epoch, lists (embeddings) objects; booleans 0 and 1.
    """
    wanted = frame.columns if names is None else list(names)
    return {name: _column(frame[name]) for name in wanted}


def _column(values: pl.Series) -> Column:
    dtype = values.dtype
    if dtype.is_numeric() or dtype == pl.Boolean:
        numbers = values.cast(pl.Float64)
        return (numbers.fill_null(float("nan")) if numbers.null_count() else numbers).to_numpy()
    if dtype.is_temporal():
        micros = values.cast(pl.Int64) if dtype == pl.Date else values.cast(pl.Datetime("us"))
        seconds = micros.cast(pl.Float64) * (86_400.0 if dtype == pl.Date else 1e-6)
        return seconds.fill_null(float("nan")).to_numpy()
    if dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum):
        text = values.cast(pl.String)
        levels = text.drop_nulls().unique()
        codes = text.cast(pl.Enum(levels)).to_physical().cast(pl.Int32).fill_null(-1)
        return Coded(tuple(levels.to_list()), codes.to_numpy())
    found = np.empty(len(values), dtype=object)
    found[:] = values.to_list()
    return found
