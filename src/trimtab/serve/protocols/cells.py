"""Cells from formats that say less than JSON: rows without names, arrays of one type, no null.

What is done here is done for every such format alike; what a cell may hold stays `parse.Checker`'s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError
from trimtab.model.signature import Column, Signature

Columns = dict[str, list[Any]]


def positional(signature: Signature, width: int, row: int | None = 0) -> tuple[Column, ...]:
    """The columns of rows without names: the inputs in order, or those and the context."""
    whole = (*signature.inputs, *signature.context)
    if width == len(signature.inputs):
        return signature.inputs
    if width == len(whole):
        return whole
    names = [c.name[:80] for c in signature.inputs[:20]]
    raise InputError(
        f"a row has {width} cells, the model takes {len(signature.inputs)}",
        hint=f"in this order: {', '.join(names)}{', …' if len(signature.inputs) > 20 else ''}",
        row=row,
    )


def by_position(rows: list[Any], signature: Signature) -> Columns:
    """Rows without names as columns; 0 and 1 are booleans where the model takes one."""
    width = -1
    for row, cells in enumerate(rows):
        if not isinstance(cells, list):
            raise InputError(f"row {row} is not a list like the rows before it", row=row)
        if len(cells) != width:
            if row:
                raise InputError(f"row {row} has {len(cells)} cells, row 0 has {width}", row=row)
            width = len(cells)
    columns = positional(signature, width)
    return {
        column.name: booleans(column, list(values))
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    }


def booleans(column: Column, values: list[Any]) -> list[Any]:
    """Cells of an array of one type: 0 and 1 are true and false where the model takes a boolean."""
    if column.kind != "boolean":
        return values
    return [bool(x) if type(x) in (int, float) and x in (0, 1) else x for x in values]


def missing(column: Column, values: list[Any]) -> list[Any]:
    """Texts from a format without null: an empty one is missing where the model knows of nulls."""
    if column.kind != "text" or not column.nullable:
        return values
    return [x if x != "" else None for x in values]


def without_nan(array: NDArray[Any]) -> list[Any]:
    """Numbers as a list, None for NaN: the forms that carry NaN have no other null."""
    values: list[Any] = array.tolist()
    if array.dtype.kind == "f" and np.isnan(array).any():
        return [None if x != x else x for x in values]  # noqa: PLR0124 - NaN differs from itself
    return values
