"""Chosen columns of a table of runs: what a run has of a field, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab import ids
from trimtab.server import words
from trimtab.store.records import Run
from trimtab.track.search import fields, groups, order
from trimtab.track.search.record import flat
from trimtab.track.search.tree import Field, field_written

_NAMES = {"peak_memory": "peak memory"}


@dataclass(frozen=True)
class Shown:
    """A column: a field, and how its values are written."""

    field: Field

    @property
    def name(self) -> str:
        """The field as a filter and an order have it."""
        return field_written(self.field)

    @property
    def title(self) -> str:
        """What stands above the column."""
        return _NAMES.get(self.field.key, self.field.key)

    @property
    def is_number(self) -> bool:
        """Whether its values stand right."""
        return fields.kind(self.field) in ("number", "span")

    def value(self, run: Run, metrics: Mapping[str, float]) -> Any:
        """What a run has, None for nothing."""
        key = self.field.key
        match self.field.entity:
            case "metric":
                return metrics.get(key)
            case "param":
                return dict(flat(run.params)).get(key)
            case "tag":
                return dict(flat(run.tags)).get(key)
        return _attribute(run, key)

    def text(self, run: Run, metrics: Mapping[str, float]) -> str:
        """The same as people read it."""
        value = self.value(run, metrics)
        return written(self.field, value)


def columns(text: str) -> list[Shown]:
    """The columns of `metrics.auc, params.depth`; raises QueryError."""
    return [Shown(one.field) for one in order.read(text)]


def paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested params or tags by their paths, which are what a filter asks for."""
    return dict(flat(dict(values)))


def written(field: Field, value: Any) -> str:
    """A value of a field as people read it; moments and spans are microseconds."""
    if value is None:
        return "–"
    match fields.kind(field):
        case "moment":
            return words.moment(int(value))
        case "span":
            return words.span(int(value))
    if field.key == "peak_memory" and field.entity == "attribute":
        return words.size(int(value))
    return words.cell(value)


def number(one: groups.Shown, value: float | None) -> str:
    """A number of a group as people read it."""
    if one.field is None or one.function == "count":
        return words.number(value)
    if one.function == "std" and fields.kind(one.field) == "moment":
        return "–" if value is None else words.span(int(value))
    return written(one.field, value)


def _attribute(run: Run, key: str) -> Any:
    match key:
        case "started":
            return run.started_at or None
        case "ended":
            return run.ended_at or None
        case "duration":
            return (run.ended_at or ids.now()) - run.started_at if run.started_at else None
        case "peak_memory":
            return run.peak_bytes or None
        case "experiment":
            return run.cause.get("experiment")
        case "cause":
            return words.cause(run)
        case "user":
            return run.tags.get("mlflow.user", run.tags.get("user"))
        case "error":
            error = run.error or {}
            said = [str(error[name]) for name in ("type", "message") if error.get(name)]
            return ": ".join(said) or None
    return getattr(run, key, None) or None
