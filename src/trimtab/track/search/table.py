"""Runs at one moment, newest first, and their fields as columns.

A table never changes. A column is made when it is first asked for and kept, unless there are too
many. Where some runs have changed the next table takes the columns over, and only those are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Final, Protocol, Self

import numpy as np

from trimtab.track.search import columns
from trimtab.track.search.columns import Column, Mask, Places, Several
from trimtab.track.search.fields import Kind
from trimtab.track.search.tree import Field

_CELLS: Final = 4_000_000  # values of columns that are kept: 13 bytes each
_FEWEST: Final = 16
_TAKEN: Final = 64  # columns that the next table gets: those that were asked for last
_FEW: Final = 256  # runs that changed, above which columns are made anew
_WORDS: Final = 1_000


class OfRun(Protocol):
    """What a row is made of."""

    @property
    def id(self) -> str:
        """Names the run."""

    @property
    def started(self) -> int:
        """What rows are ordered by, the highest first."""

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted it."""


class Table:
    """Runs as rows: `records` newest first, then by id; `deleted` (n,) those that somebody deleted.

    Who makes one says what a field is compared as (`kind`) and what runs have of it (`values`).
    """

    def __init__(self, records: Sequence[Any], deleted: Mask | None = None) -> None:
        self.records = records
        if deleted is None:
            deleted = np.fromiter(
                (one.is_deleted for one in records), dtype=np.bool_, count=len(records)
            )
        self.deleted = deleted
        self._columns: dict[Field, Column | Several] = {}
        self._rows: dict[str, int] | None = None

    def kind(self, field: Field) -> Kind:
        """What a field is compared as."""
        raise NotImplementedError

    def values(self, field: Field, records: Sequence[Any]) -> Sequence[Any]:
        """What runs have of a field: a number, a text or None; texts where it may be several."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.records)

    def row(self, run: str) -> int | None:
        """The place of a run."""
        if self._rows is None:
            self._rows = {one.id: place for place, one in enumerate(self.records)}
        return self._rows.get(run)

    def any_column(self, field: Field) -> Column | Several:
        """A field of all runs."""
        found = self._columns.pop(field, None)  # the last one asked for stands last
        if found is None:
            if len(self._columns) >= max(_FEWEST, _CELLS // max(1, len(self))):
                self._columns = {}  # whoever asks about thousands of keys asks about each once
            found = self._made(field)
        self._columns[field] = found
        return found

    def column(self, field: Field) -> Column:
        """A field that a run has once; raises TypeError for others."""
        found = self.any_column(field)
        if isinstance(found, Several):
            raise TypeError(field.key)
        return found

    def changed(self, pairs: Iterable[tuple[Any | None, Any | None]]) -> Self:
        """The table where runs were one thing and now are another; None is one that is not there."""
        gone, come, same = _sorted_out(self.records, pairs)
        rows = dict(same)
        take = None
        records, deleted = list(self.records), self.deleted
        if gone or come:
            take, records = _moved(self.records, gone, come)
            # where -1 stands is filled in below; an empty table has nothing to be taken
            deleted = deleted[take] if len(deleted) else np.zeros(len(take), dtype=np.bool_)
            rows = _places(take, rows) | {
                int(row): records[row] for row in np.flatnonzero(take < 0)
            }
        for row, one in rows.items():
            records[row] = one
        if any(deleted[row] != one.is_deleted for row, one in rows.items()):
            deleted = deleted.copy()
            deleted[list(rows)] = [one.is_deleted for one in rows.values()]
        kept = {}
        if len(self) and len(rows) <= _FEW:
            held = list(self._columns.copy().items())  # another thread may add one meanwhile
            kept = {
                field: column.changed(take, list(rows), self.values(field, list(rows.values())))
                for field, column in held[-_TAKEN:]
                if len(column.words) <= 2 * len(records) + _WORDS  # else most are of runs before
            }
        return self._with(
            records=records,
            deleted=deleted,
            _columns=kept,
            _rows=self._rows if take is None else None,
        )

    def _with(self, **changes: Any) -> Self:
        found = copy(self)
        vars(found).update(changes)
        return found

    def _made(self, field: Field) -> Column | Several:
        values, size = self.values(field, self.records), len(self)
        match self.kind(field):
            case "number" | "moment" | "span":
                return columns.of_numbers(values, size)
            case "either":
                return columns.of_either(values)
            case "several":
                pairs = ((row, text) for row, mine in enumerate(values) for text in mine)
                return columns.of_several(pairs, size)
        return columns.of_texts(values)


def newest(one: OfRun) -> tuple[int, str]:
    """What rows are sorted by."""
    return -one.started, one.id


def _sorted_out(
    records: Sequence[Any], pairs: Iterable[tuple[Any | None, Any | None]]
) -> tuple[list[int], list[Any], list[tuple[int, Any]]]:
    """The places of runs that go, the runs that come, and those that stay where they are, with places."""
    gone: list[int] = []
    come: list[Any] = []
    same: list[tuple[int, Any]] = []
    for before, now in pairs:
        place = -1 if before is None else bisect_left(records, newest(before), key=newest)
        if before is not None and now is not None and newest(before) == newest(now):
            same.append((place, now))
            continue
        if before is not None:
            gone.append(place)
        if now is not None:
            come.append(now)
    return gone, come, same


def _moved(records: Sequence[Any], gone: list[int], come: list[Any]) -> tuple[Places, list[Any]]:
    """Of each row of the next table its row in this one, -1 where it is new; and the records."""
    take = np.delete(np.arange(len(records)), gone)
    kept = [records[row] for row in take.tolist()]
    come = sorted(come, key=newest)
    at = [bisect_left(kept, newest(one), key=newest) for one in come]
    for place, one in zip(reversed(at), reversed(come), strict=True):
        kept.insert(place, one)
    return np.insert(take, at, -1), kept


def _places(take: Places, rows: Mapping[int, Any]) -> dict[int, Any]:
    """Runs by their rows in the next table."""
    old = list(rows)
    order = np.argsort(take, kind="stable")
    found = order[np.searchsorted(take[order], old)].tolist()
    return dict(zip(found, rows.values(), strict=True))


def picked(key: str, pairs: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[str | None]:
    """The value of a key in each row; rows of one shape share the work of finding it."""
    places: dict[int, int] = {}
    found: list[str | None] = []
    for shape, values in pairs:
        place = places.get(id(shape))
        if place is None:
            place = places[id(shape)] = shape.index(key) if key in shape else -1
        found.append(None if place < 0 else values[place])
    return found
