"""The table of stored runs: what each field of them is, and what they have of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from trimtab.store import packed
from trimtab.store.packed import Numbers
from trimtab.track.search import fields
from trimtab.track.search.columns import Mask
from trimtab.track.search.fields import Kind
from trimtab.track.search.record import Record
from trimtab.track.search.table import Table, picked
from trimtab.track.search.tree import Entity, Field


class Held(Protocol):
    """What is read once a filter asks for it."""

    def latest(self) -> Mapping[str, Numbers]:
        """The last value of each series of each run."""

    def lasts(self, runs: Sequence[str]) -> Mapping[str, Numbers]:
        """Those of some runs; what has no series is left out."""

    def used(self) -> tuple[dict[str, list[tuple[str, str]]], dict[str, list[str]]]:
        """What each run read, as (part, text) with part a key of data, and what it made."""


class RunTable(Table):
    """The runs of a project."""

    records: Sequence[Record]

    def __init__(self, records: Sequence[Record], deleted: Mask | None, held: Held) -> None:
        super().__init__(records, deleted)
        self._held = held

    def latest(self) -> Mapping[str, Numbers]:
        """The last value of each series of each run."""
        return self._held.latest()

    def lasts(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        """Those of some runs; what has no series is left out."""
        return {run: mine.plain() for run, mine in self._held.lasts(runs).items()}

    def without_data(self) -> RunTable:
        """The same without the columns of what runs read and made."""
        held = self._columns.copy()
        return self._with(
            _columns={key: one for key, one in held.items() if self.kind(key) != "several"}
        )

    def kind(self, field: Field) -> Kind:
        """What a field is compared as."""
        return fields.kind(field)

    def values(self, field: Field, records: Sequence[Record]) -> Sequence[Any]:
        """What runs have of a field."""
        key = field.key
        match field.entity:
            case "metric":
                latest = self._held.latest()
                return packed.values(key, (latest.get(one.id) for one in records))
            case "param":
                return picked(key, [(one.param_keys, one.params) for one in records])
            case "tag":
                return picked(key, [(one.tag_keys, one.tags) for one in records])
            case "data":
                read, _ = self._held.used()
                return [
                    [text for part, text in read.get(one.id, ()) if key in ("", part)]
                    for one in records
                ]
        if key == "made":
            _, made = self._held.used()
            return [made.get(one.id, ()) for one in records]
        return _attribute(key, records)

    def keys(self, entity: Entity) -> list[str]:
        """The keys that any run has, sorted."""
        if entity == "metric":
            return sorted({key for mine in self.latest().values() for key in mine})
        shapes = {one.param_keys if entity == "param" else one.tag_keys for one in self.records}
        return sorted({key for shape in shapes for key in shape})


def _attribute(key: str, records: Sequence[Record]) -> list[Any]:
    if key == "duration":
        return [one.ended - one.started if one.ended and one.started else None for one in records]
    name = _NAMES.get(key, key)
    return [getattr(one, name) or None for one in records]


_NAMES: Final = {"peak_memory": "peak"}
