"""All runs of a project at one moment, newest first, and their fields as columns.

A table never changes. A column is made when it is first asked for and kept with the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from trimtab.store.listing import Latest
from trimtab.track.search import columns
from trimtab.track.search.columns import Column, Mask, Several
from trimtab.track.search.record import Record, Shape
from trimtab.track.search.tree import Entity, Field

Used = tuple[dict[str, list[tuple[str, str]]], dict[str, list[str]]]
"""Of each run what it read, as (part, text) with part a key of data, and what it made."""


class Table:
    """The runs of a project: `records` newest first, `deleted` those that somebody deleted.

    `latest` and `used` are asked for series and data when a filter first needs them.
    """

    def __init__(
        self,
        records: Sequence[Record],
        deleted: Mask,
        latest: Callable[[], dict[str, Latest]],
        used: Callable[[], Used],
    ) -> None:
        self.records = records
        self.deleted = deleted
        self.latest = latest
        self.used = used
        self._columns: dict[Field, Column | Several] = {}
        self._rows: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def has_series(self) -> bool:
        """Whether the series of all runs were read already."""
        return any(one.entity == "metric" for one in self._columns)

    @property
    def has_data(self) -> bool:
        """Whether a column holds what runs read or made, which a new row may change."""
        return any(isinstance(one, Several) for one in self._columns.values())

    def keep(self, last: Table, *, without: set[Entity]) -> None:
        """Take over the columns of a table of the same runs, but those of some entities."""
        for field, column in last._columns.items():
            if field.entity not in without and not isinstance(column, Several):
                self._columns[field] = column

    def row(self, run: str) -> int | None:
        """The place of a run."""
        if self._rows is None:
            self._rows = {one.id: place for place, one in enumerate(self.records)}
        return self._rows.get(run)

    def any_column(self, field: Field) -> Column | Several:
        """A field of all runs."""
        found = self._columns.get(field)
        if found is None:
            found = self._columns[field] = self._made(field)
        return found

    def column(self, field: Field) -> Column:
        """A field that a run has once; raises TypeError for others."""
        found = self.any_column(field)
        if isinstance(found, Several):
            raise TypeError(field.key)
        return found

    def keys(self, entity: Entity) -> list[str]:
        """The keys that any run has, sorted."""
        if entity == "metric":
            return sorted({key for mine in self.latest().values() for key in mine})
        shapes = {one.param_keys if entity == "param" else one.tag_keys for one in self.records}
        return sorted({key for shape in shapes for key in shape})

    def _made(self, field: Field) -> Column | Several:
        key = field.key
        match field.entity:
            case "metric":
                latest = self.latest()
                found = [
                    mine.get(key) if (mine := latest.get(one.id)) else None for one in self.records
                ]
                return columns.of_numbers(found, len(found))
            case "param":
                return columns.of_either(
                    _picked(key, [(one.param_keys, one.params) for one in self.records])
                )
            case "tag":
                return columns.of_either(
                    _picked(key, [(one.tag_keys, one.tags) for one in self.records])
                )
            case "data":
                return self._read(key)
        return self._outputs() if key == "made" else _attribute(self.records, key)

    def _read(self, part: str) -> Several:
        read, _ = self.used()
        pairs = (
            (row, text)
            for row, one in enumerate(self.records)
            for name, text in read.get(one.id, ())
            if part in ("", name)
        )
        return columns.of_several(pairs, len(self.records))

    def _outputs(self) -> Several:
        _, made = self.used()
        pairs = (
            (row, text) for row, one in enumerate(self.records) for text in made.get(one.id, ())
        )
        return columns.of_several(pairs, len(self.records))


def _picked(key: str, pairs: Iterable[tuple[Shape, tuple[str, ...]]]) -> list[str | None]:
    """The value of a key in each row; rows of one shape share the work of finding it."""
    places: dict[int, int] = {}
    found: list[str | None] = []
    for shape, values in pairs:
        place = places.get(id(shape))
        if place is None:
            place = places[id(shape)] = shape.index(key) if key in shape else -1
        found.append(None if place < 0 else values[place])
    return found


def _attribute(records: Sequence[Record], key: str) -> Column:
    size = len(records)
    if key in _MOMENTS:
        return columns.of_numbers([getattr(one, key) or None for one in records], size)
    if key == "peak_memory":
        return columns.of_numbers([one.peak or None for one in records], size)
    if key == "duration":
        return columns.of_numbers(
            [one.ended - one.started if one.ended and one.started else None for one in records],
            size,
        )
    return columns.of_texts([getattr(one, key) or None for one in records])


_MOMENTS: Final = ("started", "ended")


def rows_of(mask: Mask) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The places of the runs that a mask has, in order."""
    return np.flatnonzero(mask)
