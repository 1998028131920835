"""The difference between two tables: row by row on a key, or as multisets of rows without one.

Two cells are equal when both are null, both NaN, or of equal value; an integer equals the number
of its value. A column that one side lacks counts as null there. `apply` of `rows` gives the other
table back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl

from trimtab.data import schema as schemas
from trimtab.data.columns import plain as typed
from trimtab.data.schema import Change
from trimtab.errors import DataError

SAMPLE: Final = 20
_SHOWN: Final = 200
_LEFT: Final = "\0left"
_RIGHT: Final = "\0right"


class CellChange(msgspec.Struct, frozen=True, kw_only=True):
    """One changed cell; `key` is its row's key, times are RFC 3339 text."""

    key: Any
    column: str
    before: Any
    after: Any


class TableDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows came, went and changed, which columns changed in how many rows, and a sample.

    Without a key nothing is `changed`: another value is one row removed and one added.
    """

    key: str
    before: int
    after: int
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    sample: tuple[CellChange, ...]
    schema: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether the tables hold the same rows and columns."""
        return not (self.added or self.removed or self.changed or self.schema)


@dataclass(frozen=True)
class RowDiff:
    """The rows themselves. `old` and `new` are the changed rows before and after, in one order.

    `added` and `new` have the columns and types of the table after, `removed` and `old` those
    before; `columns` counts the changed rows per column that changed in any.
    """

    key: str
    added: pl.DataFrame
    removed: pl.DataFrame
    old: pl.DataFrame
    new: pl.DataFrame
    columns: dict[str, int]
    cells: tuple[CellChange, ...]


def diff(
    before: pl.DataFrame, after: pl.DataFrame, key: str = "", *, sample: int = SAMPLE
) -> TableDiff:
    """Compare two tables, whole; at most `sample` changed cells are listed, in the rows' order.

    Raises DataError where the key is not there or not unique.
    """
    found = rows(before, after, key, sample=sample)
    changes = schemas.compare(_schema(before), _schema(after))
    return TableDiff(
        key=key,
        before=before.height,
        after=after.height,
        added=found.added.height,
        removed=found.removed.height,
        changed=found.new.height,
        columns=found.columns,
        sample=found.cells,
        schema=tuple(change for change in changes if change.kind != "nullable"),
    )


def rows(
    before: pl.DataFrame, after: pl.DataFrame, key: str = "", *, sample: int = SAMPLE
) -> RowDiff:
    """The rows that came, went and changed; raises DataError as `diff` does."""
    left, right = _aligned(before, after)
    if not key:
        added, removed = _beyond(right, left), _beyond(left, right)
        return RowDiff("", after[added], before[removed], before.clear(), after.clear(), {}, ())
    for frame, side in ((before, "before"), (after, "after")):
        _check_key(frame, key, side)
    pairs = _indexed(left, key, _LEFT).join(
        _indexed(right, key, _RIGHT), on=key, how="full", coalesce=True, maintain_order="right"
    )
    gone = pairs.filter(pl.col(_RIGHT).is_null())[_LEFT].sort()
    came = pairs.filter(pl.col(_LEFT).is_null())[_RIGHT].sort()
    both = pairs.drop_nulls([_LEFT, _RIGHT])
    was, now = left[both[_LEFT]], right[both[_RIGHT]]
    masks = {name: was[name].ne_missing(now[name]) for name in right.columns if name != key}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    touched = pl.Series([False]).new_from_index(0, both.height)
    for mask in masks.values():
        touched |= mask
    return RowDiff(
        key=key,
        added=after[came],
        removed=before[gone],
        old=before[both[_LEFT].filter(touched)],
        new=after[both[_RIGHT].filter(touched)],
        columns={name: int(mask.sum()) for name, mask in masks.items()},
        cells=_sample(was, now, masks, key, sample),
    )


def apply(before: pl.DataFrame, found: RowDiff) -> pl.DataFrame:
    """The table after, from the one before: kept rows in their order, then changed, then added."""
    if not found.key:
        left, right = _aligned(before, found.removed)
        kept = before[_beyond(left, right)]
    else:
        out = pl.concat([found.removed[found.key], found.old[found.key]])
        kept = before.filter(~pl.col(found.key).is_in(out.implode()))
    like = found.added.clear()
    kept = kept.select(
        pl.col(name).cast(dtype) if name in kept.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in like.schema.items()
    )
    return pl.concat([kept, found.new, found.added])


def _schema(frame: pl.DataFrame) -> schemas.Schema:
    plain = [typed(values).values.alias(values.name) for values in frame.get_columns()]
    return schemas.infer(pl.DataFrame(plain))


def _aligned(before: pl.DataFrame, after: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables with the same columns in the same order and comparable types."""
    left: list[pl.Expr] = []
    right: list[pl.Expr] = []
    for name in dict.fromkeys((*after.columns, *before.columns)):
        old, new = before.schema.get(name), after.schema.get(name)
        if old is None or new is None:
            there = old or new
            left.append(pl.lit(None, there).alias(name) if old is None else pl.col(name))
            right.append(pl.lit(None, there).alias(name) if new is None else pl.col(name))
        elif old == new:
            left.append(pl.col(name))
            right.append(pl.col(name))
        else:
            common = pl.Float64 if old.is_numeric() and new.is_numeric() else pl.String
            left.append(pl.col(name).cast(common))
            right.append(pl.col(name).cast(common))
    return before.select(left), after.select(right)


def _indexed(frame: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    return frame.select(key).with_row_index(name)


def _beyond(left: pl.DataFrame, right: pl.DataFrame) -> pl.Series:
    """The positions of the rows of `left` beyond those that `right` has too, repeats counted."""
    names = left.columns
    nth = pl.int_range(pl.len()).over(names).alias(_RIGHT)
    numbered = left.with_row_index(_LEFT).with_columns(nth)
    rest = numbered.join(right.with_columns(nth), on=[*names, _RIGHT], how="anti", nulls_equal=True)
    return rest[_LEFT].sort()


def _check_key(frame: pl.DataFrame, key: str, side: str) -> None:
    if key not in frame.columns:
        raise DataError(f"the table {side} has no column {key!r}", hint="diff without a key")
    nulls = frame[key].null_count()
    if nulls:
        raise DataError(f"key {key!r} is missing in {nulls} rows of the table {side}")
    again = frame[key].filter(~frame[key].is_first_distinct())
    if len(again):
        raise DataError(
            f"key {key!r} is not unique in the table {side}: {again[0]!r} and {len(again)} repeats",
            hint="diff without a key",
        )


def _sample(
    was: pl.DataFrame, now: pl.DataFrame, masks: dict[str, pl.Series], key: str, limit: int
) -> tuple[CellChange, ...]:
    places = sorted(
        (row, position, name)
        for position, (name, mask) in enumerate(masks.items())
        for row in mask.arg_true().head(limit).to_list()
    )
    return tuple(
        CellChange(
            key=_shown(now[key][row]),
            column=name,
            before=_shown(was[name][row]),
            after=_shown(now[name][row]),
        )
        for row, _, name in places[:limit]
    )


def _shown(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _SHOWN:
        return value[:_SHOWN] + "…"
    return schemas.plain(value)
