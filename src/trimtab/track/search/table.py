"""All runs of a project at one moment, newest first, and their fields as columns.

A table never changes. A column is made when it is first asked for and kept, unless there are too
many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from trimtab.store.listing import Latest
from trimtab.track.search import columns
from trimtab.track.search.columns import Column, Mask, Several
from trimtab.track.search.record import Record, Shape
from trimtab.track.search.tree import Entity, Field

_CELLS: Final = 4_000_000  # values of columns that are kept: 13 bytes each
_FEWEST: Final = 16
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
        self.has_series = False
        """Whether the series of all runs were read already."""
        self.has_data = False
        """Whether somebody asked what runs read or made, which a new row may change."""
        self._columns: dict[Field, Column | Several] = {}
        self._rows: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def keep(self, last: Table, *, without: set[Entity]) -> None:
        """Take over the columns of a table of the same runs, but those of some entities."""
        for field, column in last._columns.copy().items():  # another thread may add one meanwhile
            if field.entity not in without and not isinstance(column, Several):
                self._columns[field] = column
        self.has_series = last.has_series

    def row(self, run: str) -> int | None:
        """The place of a run."""
        if self._rows is None:
            self._rows = {one.id: place for place, one in enumerate(self.records)}
        return self._rows.get(run)

    def any_column(self, field: Field) -> Column | Several:
        """A field of all runs."""
        found = self._columns.get(field)
        if found is None:
            if self._too_many():
                self._columns = {}  # whoever asks about thousands of keys asks about each once
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

    def _too_many(self) -> bool:
        return len(self._columns) >= max(_FEWEST, _CELLS // max(1, len(self)))

    def _made(self, field: Field) -> Column | Several:
        key = field.key
        match field.entity:
            case "metric":
                latest, self.has_series = self.latest(), True
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
        self.has_data = (
            True  # before it is read: what is stored meanwhile is read by the next table
        )
        read, _ = self.used()
        pairs = (
            (row, text)
            for row, one in enumerate(self.records)
            for name, text in read.get(one.id, ())
            if part in ("", name)
        )
        return columns.of_several(pairs, len(self.records))

    def _outputs(self) -> Several:
        self.has_data = True
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
