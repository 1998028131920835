"""The signature and the golden rows of a candidate, read off its training and withheld rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab.model.estimator import Ask
from trimtab.model.signature import Column, Kind, Signature
from trimtab.tune.frames import features as prepare

UNSEEN: Final = "\u2020 never seen in training"
MAX_CATEGORIES: Final = 1_000
MAX_EDGES: Final = 256
REAL_ROWS: Final = 200


def column(name: str, kind: Kind, values: pl.Series) -> Column:
    """What training saw of a column."""
    nullable = values.null_count() > 0
    if kind == "text":
        seen = values.drop_nulls().cast(pl.String).unique().sort().to_list()
        known = tuple(seen) if len(seen) <= MAX_CATEGORIES else ()
        return Column(
            name=name, kind=kind, nullable=nullable, categories=known, fill=_commonest(values)
        )
    numbers = values.cast(pl.Float64)
    nullable = nullable or bool(numbers.is_nan().any())
    finite = numbers.drop_nulls().drop_nans()
    if kind == "boolean" or finite.is_empty():
        return Column(name=name, kind=kind, nullable=nullable, fill=_commonest(values))
    lo, hi, middle = finite.min(), finite.max(), finite.quantile(0.5, "nearest")
    return Column(
        name=name, kind=kind, nullable=nullable, lo=_float(lo), hi=_float(hi), fill=_float(middle)
    )


def context(names: Sequence[str], train: pl.DataFrame) -> tuple[Column, ...]:
    """Columns that may be sent along, are logged and never scored; nullable, of any content."""
    return tuple(
        Column(name=name, kind=_kind(train.schema[name]), nullable=True)
        for name in names
        if name in train.columns
    )


def closed(
    ask: Ask, signed: Signature, features: Mapping[str, Kind], train: pl.DataFrame
) -> set[str]:
    """Text columns in which the estimator itself refuses a category that training did not see."""
    row = train.head(1)
    found = set()
    for wanted in signed.inputs:
        if wanted.kind != "text":
            continue
        probe = row.with_columns(pl.lit(UNSEEN).alias(wanted.name))
        try:
            ask(prepare(probe, features))
        except ValueError:
            found.add(wanted.name)
    return found


def golden_rows(
    signed: Signature, train: pl.DataFrame, withheld: pl.DataFrame, *, seed: int = 0
) -> pl.DataFrame:
    """Up to 200 real rows and up to 256 edge rows with the signature's columns, 200 in all or more.

    An edge row is a real row with one column changed: null where nullable, a category never seen
    where not closed, the empty text, the least and greatest value and far beyond them.
    """
    names = [c.name for c in signed.inputs]
    pool = pl.concat([train.select(names), withheld.select(names)], how="vertical_relaxed")
    pool = admissible(pool, signed)
    real = pool.sample(min(REAL_ROWS, pool.height), seed=seed) if pool.height else pool
    return pl.concat([real, *_edges(real, signed)]) if real.height else real


def admissible(frame: pl.DataFrame, signed: Signature) -> pl.DataFrame:
    """The rows that serving would accept: no null where there was none, no closed category."""
    keep = pl.lit(value=True)
    for wanted in signed.inputs:
        value = pl.col(wanted.name)
        if not wanted.nullable:
            keep = keep & value.is_not_null()
            if frame.schema[wanted.name].is_float():
                keep = keep & value.is_not_nan()
        if wanted.closed:
            keep = keep & (value.cast(pl.String).is_in(wanted.categories) | value.is_null())
    return frame.filter(keep)


def _edges(real: pl.DataFrame, signed: Signature) -> list[pl.DataFrame]:
    """Every edge once; of a small table as often, each time in another row, as gives 200 rows in all."""
    rows: list[pl.DataFrame] = []
    for turn in range(real.height):
        if turn and len(rows) >= REAL_ROWS - real.height:
            break
        begun = len(rows)
        for wanted in signed.inputs:
            kind = real.schema[wanted.name]
            for value in _edge_values(wanted):
                base = real.slice((len(rows) - begun + turn) % real.height, 1)
                # An integer column cannot hold every edge; what it would round to is one as well.
                edge = pl.Series(wanted.name, [value]).cast(kind, strict=False)
                if edge[0] is None and not wanted.nullable:
                    continue
                rows.append(base.with_columns(edge))
    return rows[:MAX_EDGES]


def _edge_values(wanted: Column) -> list[Any]:
    values: list[Any] = [None] if wanted.nullable else []
    if wanted.kind == "text":
        return [*values] if wanted.closed else [*values, UNSEEN, ""]
    if wanted.kind == "boolean":
        return [*values, True, False]
    if wanted.lo is None or wanted.hi is None:
        return values
    span = max(wanted.hi - wanted.lo, 1.0)
    return [*values, wanted.lo, wanted.hi, 0.0, wanted.lo - 10 * span, wanted.hi + 10 * span]


def _kind(dtype: pl.DataType) -> Kind:
    if dtype == pl.Boolean:
        return "boolean"
    return "number" if dtype.is_numeric() else "text"


def _commonest(values: pl.Series) -> str | bool | None:
    """The most frequent value; of equals the least. None where all are null."""
    counted = values.drop_nulls().value_counts(name="rows")
    if counted.is_empty():
        return None
    top = counted.sort(["rows", values.name], descending=[True, False])[values.name][0]
    return top if isinstance(top, bool) else str(top)


def _float(value: Any) -> float:
    return float(np.float64(value))
