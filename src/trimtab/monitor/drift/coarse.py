"""Rows as small integers: each feature cut into up to 32 groups of the reference's own cells.

What must be known of rows one by one (how likely a withheld row is under today's inputs, which
leaf of a tree it falls into) is known of these groups alone. No value is kept, only group numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.profile.bins import Bins
from trimtab.profile.cells import Cells, NumberCells
from trimtab.profile.coder import coder
from trimtab.profile.columns import Columns, wanted

Groups = NDArray[np.uint8]

_RUNS: Final = 24
_LEVELS: Final = 24
_ENDS: Final = NumberCells.FIRST
"""So many codes lie below the reference's minimum, and as many above its maximum."""


_OTHERS: Final = 3
"""A number's last codes: missing, NaN and mistyped."""


class Coarse(msgspec.Struct, frozen=True, kw_only=True):
    """A feature's groups: byte i is the group of code i; of a number the first `ends` of them lie below
    the reference, and as many above it, next to those that are no numbers.
    """

    feature: str
    groups: bytes
    ends: int = 0

    @property
    def count(self) -> int:
        """How many groups there are."""
        return max(self.groups, default=0) + 1


def fit(bins: Bins, columns: Columns, without: Collection[str] = ()) -> tuple[Coarse, ...]:
    """The groups of every feature, by the mass of these rows."""
    found, values, left = [], bins.expanded(columns), bins.made_of(without)
    for cells in bins.features:
        if cells.name in left:
            continue
        codes = coder(cells)(values[cells.name])
        mass = np.bincount(codes, minlength=cells.size).astype(np.float64)
        ends = _ENDS if isinstance(cells, NumberCells) and cells.inner else 0
        groups = _groups(cells, mass).tobytes()
        found.append(Coarse(feature=cells.name, groups=groups, ends=ends))
    return tuple(found)


def table(coarse: Sequence[Coarse], bins: Bins, columns: Columns) -> Groups:
    """The groups (rows, features) of a table. Raises DataError on an absent or ragged column."""
    mine = wanted(bins.expanded(columns), [one.feature for one in coarse])
    rows = len(next(iter(mine.values()))) if mine else 0
    found = np.empty((rows, len(coarse)), dtype=np.uint8)
    for place, one in enumerate(coarse):
        codes = coder(bins.feature(one.feature))(mine[one.feature])
        found[:, place] = np.frombuffer(one.groups, dtype=np.uint8)[codes]
    return found


def within(coarse: Sequence[Coarse], groups: Groups) -> Groups:
    """The same rows with what lies outside of a number's reference counted to the run beside it."""
    found = groups.copy()
    for place, one in enumerate(coarse):
        if one.ends:
            mine, last = found[:, place], one.count - _OTHERS - 1
            near = np.clip(mine, one.ends, last - one.ends)
            found[:, place] = np.where(mine <= last, near, mine)
    return found


def _groups(cells: Cells, mass: NDArray[np.float64]) -> Groups:
    """Runs of about equal mass on a number line, a group for each way to lie outside of it, the most
    frequent levels of a category one by one; and one group for each code beyond.
    """
    end = cells.ordered.stop
    ordered: NDArray[Any] = mass[:end]
    if hasattr(cells, "levels"):
        runs = np.minimum(np.arange(end), _LEVELS)
    else:
        middle = (np.cumsum(ordered) - ordered / 2) / max(float(ordered.sum()), 1.0)
        runs = np.minimum((middle * _RUNS).astype(np.int64), _RUNS - 1)
        runs[:_ENDS] = np.arange(-_ENDS, 0)
        runs[end - _ENDS :] = _RUNS + np.arange(_ENDS)
        runs = np.unique(runs, return_inverse=True)[1]
    last = int(runs.max()) + 1 if end else 0
    return np.concatenate([runs, last + np.arange(cells.size - end)]).astype(np.uint8)
