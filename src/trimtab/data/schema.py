"""The schema of a data version: inferred from its table, stored with it, held against the next.

A new column is accepted and counts as nullable; a removed or retyped one is refused unless
`[data.NAME] allow` names it; an integer column may widen to numbers. What is accepted is recorded.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec
import polars as pl

from trimtab import ids
from trimtab.data.columns import DTYPES, Type, infinite, type_of
from trimtab.errors import DataError


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column. `lo` and `hi` are observed, times as RFC 3339; `categories` counts distinct texts.

    `empty` says that no value was seen yet: such a column may still take any type.
    """

    name: str
    type: Type
    nullable: bool = False
    lo: int | float | str | None = None
    hi: int | float | str | None = None
    categories: int = 0
    empty: bool = False


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a table in their order."""

    columns: tuple[Column, ...]

    @property
    def types(self) -> dict[str, Type]:
        """Name -> type of every column."""
        return {column.name: column.type for column in self.columns}

    def get(self, name: str) -> Column | None:
        """A column by its name."""
        return next((column for column in self.columns if column.name == name), None)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between two schemas; `allowed` where it is harmless or named in `allow`."""

    column: str
    kind: Literal["added", "removed", "retyped", "widened", "nullable"]
    before: str = ""
    after: str = ""
    allowed: bool = True

    @property
    def text(self) -> str:
        """The change as a person reads it."""
        if self.kind == "added":
            return f"column {self.column!r} ({self.after}) is new"
        if self.kind == "removed":
            return f"column {self.column!r} ({self.before}) is gone"
        if self.kind == "nullable":
            return f"column {self.column!r} has missing values now"
        return f"column {self.column!r} was {self.before} and is {self.after}"


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A place where a table breaks a schema; `row` counts from 0, -1 for the whole column."""

    column: str
    message: str
    row: int = -1


def infer(frame: pl.DataFrame) -> Schema:
    """The schema of a table whose columns have the five types; raises DataError for another dtype."""
    ranges = _ranges(frame)
    return Schema(columns=tuple(_column(values, ranges) for values in frame.get_columns()))


def compare(before: Schema, after: Schema, allow: Collection[str] = ()) -> tuple[Change, ...]:
    """What changed, in the order of `before` and then of what is new."""
    changes: list[Change] = []
    for old in before.columns:
        new = after.get(old.name)
        allowed = old.name in allow
        if new is None:
            changes.append(
                Change(column=old.name, kind="removed", before=old.type, allowed=allowed)
            )
            continue
        if new.type != old.type and not (old.empty or new.empty):
            wider = (old.type, new.type) == ("integer", "number")
            changes.append(
                Change(
                    column=old.name,
                    kind="widened" if wider else "retyped",
                    before=old.type,
                    after=new.type,
                    allowed=wider or allowed,
                )
            )
        if new.nullable and not old.nullable:
            changes.append(Change(column=old.name, kind="nullable"))
    changes += [
        Change(column=new.name, kind="added", after=new.type)
        for new in after.columns
        if before.get(new.name) is None
    ]
    return tuple(changes)


def refuse(changes: Collection[Change], name: str) -> None:
    """Raise DataError where a change of data `name` is not allowed."""
    refused = [change for change in changes if not change.allowed]
    if refused:
        listed = ", ".join(f'"{change.column}"' for change in refused)
        raise DataError(
            f"the schema of {name} changed: " + "; ".join(change.text for change in refused),
            hint=f"if that is meant: [data.{name}] allow = [{listed}]",
        )


def follow(before: Schema | None, after: Schema) -> Schema:
    """The schema to store for a table seen after `before`.

    A column once nullable stays so, and one that earlier versions lack counts as nullable.
    """
    if before is None:
        return after
    columns = []
    for column in after.columns:
        old = before.get(column.name)
        nullable = column.nullable or old is None or old.nullable
        columns.append(msgspec.structs.replace(column, nullable=nullable))
    return Schema(columns=tuple(columns))


def validate(frame: pl.DataFrame, schema: Schema) -> list[Violation]:
    """Every way in which a table breaks a schema, at most one per column and rule.

    Checks that each column is there with its type, that only nullable columns have nulls and that
    no number is infinite. Columns beyond the schema are no violation.
    """
    found: list[Violation] = []
    for column in schema.columns:
        if column.name not in frame.columns:
            if not column.nullable:
                found.append(Violation(column=column.name, message="the column is missing"))
            continue
        values = frame[column.name]
        if values.dtype != DTYPES[column.type]:
            found.append(
                Violation(
                    column=column.name, message=f"holds {values.dtype}, should be {column.type}"
                )
            )
            continue
        nulls = values.null_count()
        if nulls and not column.nullable:
            row = values.is_null().arg_max() or 0
            found.append(
                Violation(column=column.name, row=row, message=f"{nulls} values are missing")
            )
        row = infinite(values)
        if row >= 0:
            found.append(Violation(column=column.name, row=row, message="a number is infinite"))
    return found


def _ranges(frame: pl.DataFrame) -> dict[str, Any]:
    wanted: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if type_of(dtype) in ("number", "integer", "time"):
            wanted += [
                pl.col(name).min().alias(f"{name}\0lo"),
                pl.col(name).max().alias(f"{name}\0hi"),
            ]
        else:
            wanted.append(pl.col(name).drop_nulls().n_unique().alias(f"{name}\0n"))
    return frame.select(wanted).row(0, named=True) if wanted and frame.height else {}


def _column(values: pl.Series, ranges: dict[str, Any]) -> Column:
    name, nulls = values.name, values.null_count()
    return Column(
        name=name,
        type=type_of(values.dtype),
        nullable=nulls > 0,
        lo=plain(ranges.get(f"{name}\0lo")),
        hi=plain(ranges.get(f"{name}\0hi")),
        categories=ranges.get(f"{name}\0n", 0),
        empty=nulls == len(values),
    )


def plain(value: Any) -> Any:
    """A cell as JSON holds it: a time as RFC 3339 text, anything else as it is."""
    return ids.iso(ids.from_datetime(value)) if hasattr(value, "tzinfo") else value
