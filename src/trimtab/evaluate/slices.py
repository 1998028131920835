"""Cutting a scored table into the groups of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluate.policy import MAX_GROUPS, MIN_ROWS
from trimtab.evaluate.scored import Scored


@dataclass(frozen=True, eq=False)
class Group:
    """The rows that hold one value of a column; `index` (rows,) are positions in arrival order."""

    column: str
    value: str
    index: NDArray[np.intp]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.index)

    @property
    def name(self) -> str:
        """The slice as evidence names it: `column=value`."""
        return f"{self.column}={self.value}"

    @property
    def is_judged(self) -> bool:
        """Whether it has rows enough to be held to a requirement."""
        return self.rows >= MIN_ROWS


def groups(scored: Scored, column: str) -> list[Group]:
    """The groups of a column that the table has, by name; at most the `MAX_GROUPS` largest.

    Values are told apart as text; a missing value is the group "null".
    """
    if not scored.rows:
        return []
    names = np.array([_text(value) for value in scored.slices[column]])
    values, code = np.unique(names, return_inverse=True)
    order = np.argsort(code, kind="stable")
    ends = np.bincount(code).cumsum()[:-1]
    found = [
        Group(column, str(value), index)
        for value, index in zip(values, np.split(order, ends), strict=True)
    ]
    largest = sorted(found, key=lambda group: (-group.rows, group.value))[:MAX_GROUPS]
    return sorted(largest, key=lambda group: group.value)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "null"
    return str(value)
