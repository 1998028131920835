"""Which runs of a table satisfy a filter.

A comparison with what a run lacks is not satisfied, so its NOT is; a NaN is only unequal. Numbers
are compared as numbers and texts as texts, by what is written in the filter.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import numpy as np

from trimtab.track.search import columns, moments
from trimtab.track.search.columns import Column, Mask, Several
from trimtab.track.search.fields import Kind
from trimtab.track.search.pattern import like
from trimtab.track.search.table import Table
from trimtab.track.search.tree import (
    Among,
    And,
    Between,
    Compare,
    Field,
    Like,
    Node,
    Not,
    Null,
    Operator,
    Or,
    Span,
    Value,
)

_COMPARE: Final[dict[Operator, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def keep(table: Table, node: Node, now: int) -> Mask:
    """A mask (n,) of the runs that satisfy a filter; `now` is the moment of `now()`."""
    match node:
        case And(parts):
            return reduce(np.logical_and, (keep(table, part, now) for part in parts))
        case Or(parts):
            return reduce(np.logical_or, (keep(table, part, now) for part in parts))
        case Not(inner):
            return np.logical_not(keep(table, inner, now))
        case Null(field, negated):
            present = table.any_column(field).present
            return present if negated else ~present
        case Compare(field, op, value):
            return _compared(table.any_column(field), op, plain(table.kind(field), value, now))
        case Like(field, pattern, is_case_sensitive, negated):
            return _like(table.any_column(field), pattern, is_case_sensitive, negated)
        case Among(field, values, negated):
            return _among(
                table, field, [plain(table.kind(field), one, now) for one in values], negated
            )
        case Between(field, low, high, negated):
            column, kind = table.any_column(field), table.kind(field)
            inside = _compared(column, ">=", plain(kind, low, now))
            inside &= _compared(column, "<=", plain(kind, high, now))
            if not negated:
                return inside
            is_text = isinstance(low, str) and kind != "moment"
            return _comparable(column, is_text=is_text) & ~inside


def plain(kind: Kind, value: Value, now: int) -> float | str:
    """A value as a column of a kind has it: moments and spans in microseconds."""
    if kind == "moment":
        return moments.micros(value, now)
    if isinstance(value, Span):
        return value.micros
    if kind == "span" and isinstance(value, float | int):
        return value * 1_000_000.0
    return value if isinstance(value, str | float | int) else float("nan")


def _comparable(column: Column | Several, *, is_text: bool) -> Mask:
    if isinstance(column, Several):
        return column.present
    return column.code >= 0 if is_text else column.is_number


def _compared(column: Column | Several, op: Operator, value: float | str) -> Mask:
    if isinstance(value, str):
        return column.texts(_hits(column, op, value))
    if isinstance(column, Several):
        return np.zeros(column.size, dtype=np.bool_)
    compare = _COMPARE[op]
    return column.numbers(lambda numbers: compare(numbers, value))


def _hits(column: Column | Several, op: Operator, text: str) -> Mask:
    """Which words compare so with a text, by their places."""
    place, is_there = columns.place(column.words, text)
    code = np.arange(len(column.words))
    match op:
        case "=":
            return _mask((code == place) & is_there)
        case "!=":
            return _mask((code != place) | (not is_there))
        case "<":
            return code < place
        case ">=":
            return code >= place
        case "<=":
            return code < place + is_there
        case ">":
            return code >= place + is_there


def _mask(found: Any) -> Mask:
    return np.asarray(found, dtype=np.bool_)


def _like(column: Column | Several, pattern: str, is_case_sensitive: bool, negated: bool) -> Mask:
    test = like(pattern, is_case_sensitive=is_case_sensitive)
    hits = np.fromiter(map(test, column.words), dtype=np.bool_, count=len(column.words))
    return column.texts(~hits if negated else hits)


def _among(table: Table, field: Field, values: list[float | str], negated: bool) -> Mask:
    column = table.any_column(field)
    texts = {one for one in values if isinstance(one, str)}
    numbers = [one for one in values if not isinstance(one, str)]
    found = np.zeros(len(table), dtype=np.bool_)
    if isinstance(column, Several):
        hits = np.array([word in texts for word in column.words], dtype=np.bool_)
        return column.texts(~hits if negated else hits)
    if texts:
        found |= column.texts(np.array([word in texts for word in column.words], dtype=np.bool_))
    if numbers:
        found |= column.numbers(lambda mine: np.isin(mine, numbers))
    return column.present & ~found if negated else found
