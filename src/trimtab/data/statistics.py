"""Statistics of a table, column by column, as JSON: what `data show` and the UI print.

Counts, extremes and the commonest values over all rows. Profiles for monitoring, with bins and
sketches, are the business of `trimtab.profile`.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from trimtab.data.columns import type_of
from trimtab.data.schema import plain

TOP: Final = 10
LONG: Final = 65_536
_SHOWN: Final = 200


def of(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Per column: type, nulls, distinct and what its type has.

    Numbers, integers and times have min and max; the first two mean and std (n - 1); text and
    booleans the `TOP` commonest values with counts; text the bytes of its longest value, and a
    flag where that is beyond `LONG`.
    """
    return {values.name: _column(values) for values in frame.get_columns()}


def _column(values: pl.Series) -> dict[str, Any]:
    kind = type_of(values.dtype)
    present = values.drop_nulls()
    found: dict[str, Any] = {
        "type": kind,
        "nulls": values.null_count(),
        "distinct": present.n_unique(),
    }
    if kind in ("number", "integer", "time"):
        found |= {"min": plain(present.min()), "max": plain(present.max())}
    if kind in ("number", "integer"):
        found |= {"mean": present.mean(), "std": present.std() if len(present) > 1 else None}
    if kind in ("text", "boolean"):
        found["top"] = _top(values)
    if kind == "text":
        longest = present.str.len_bytes().max() if len(present) else 0
        found["longest"] = longest
        if isinstance(longest, int) and longest > LONG:
            row = values.str.len_bytes().fill_null(0).arg_max()
            found["flags"] = [f"row {(row or 0) + 1} holds a value of {longest} bytes"]
    return found


def _top(values: pl.Series) -> list[list[Any]]:
    """The commonest values with their counts; equally common ones in their own order."""
    name = values.name
    counted = (
        values.drop_nulls()
        .to_frame()
        .group_by(name)
        .agg(pl.len().alias(f"{name}\0n"))
        .sort(f"{name}\0n", name, descending=[True, False])
        .head(TOP)
    )
    return [
        [value[:_SHOWN] if isinstance(value, str) else value, count]
        for value, count in counted.iter_rows()
    ]
