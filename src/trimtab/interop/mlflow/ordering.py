"""Orders of search results: numbers before NaN, NaN before what is missing, whichever the direction.

Runs that tie are ordered by start time, the newest first, then by id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from trimtab.interop.mlflow import clauses, filters, table
from trimtab.interop.mlflow.clauses import Grammar
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.filters import Getter
from trimtab.interop.mlflow.state import LoggedModel
from trimtab.interop.mlflow.wire import Asked
from trimtab.track.search.order import By

Order = Callable[[Iterable[Any]], list[Any]]
_BY = re.compile(
    r"""\s*((?:`[^`]*`|"[^"]*"|[\w ]*?\w|\w+)(?:\.(?:`[^`]*`|"[^"]*"|[^\s`"]+))*)(?:\s+(asc|desc))?\s*\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_MOMENTS: Final = frozenset({"creation_timestamp", "last_updated_timestamp", "timestamp"})
_REGISTERED: Final = Grammar(
    entities={"attribute": "attribute"}, texts=frozenset({"name"}), numbers=_MOMENTS
)
_VERSIONS: Final = Grammar(
    entities={"attribute": "attribute"},
    texts=frozenset({"name"}),
    numbers=_MOMENTS | {"version_number"},
)


def runs(asked: list[str]) -> tuple[By, ...]:
    """The order of runs; a table's own order ends it."""
    keys = [_by(one, filters.RUNS) for one in asked]
    _check_once(keys, asked)
    for entity, _, _ in keys:
        if entity == "dataset":
            raise Fault(f"Invalid identifier type '{entity}'")
    return tuple(By(table.field(entity, key), not is_up) for entity, key, is_up in keys)


def experiments(asked: list[str]) -> Order:
    """The order of experiments, by default the newest first."""
    return _fields(asked, filters.EXPERIMENTS, filters.EXPERIMENT_FIELDS, _NEWEST)


def registered(asked: list[str]) -> Order:
    """The order of registered models, by default by name."""
    return _fields(asked, _REGISTERED, filters.REGISTERED_FIELDS, [("name", True)])


def versions(asked: list[str]) -> Order:
    """The order of model versions, by default those updated last first."""
    ends = [("name", True), ("version_number", False)]
    if not asked:
        ends = [("last_updated_timestamp", False), *ends]
    return _fields(asked, _VERSIONS, filters.VERSION_FIELDS, ends)


def models(asked: list[Asked]) -> Order:
    """The order of logged models: objects with a field, a direction and perhaps a data set."""
    steps: list[tuple[Getter, bool]] = []
    is_timed = False
    for one in asked:
        entity, key = clauses.identifier(one.text("field_name", needed=True), filters.MODELS)
        is_up = one.flag("ascending") if one.has("ascending") else True
        is_timed |= key == "creation_timestamp_ms"
        dataset = one.text("dataset_name"), one.text("dataset_digest")
        if dataset[1] and not dataset[0]:
            raise Fault(
                "`dataset_digest` can only be specified if `dataset_name` is also specified."
            )
        if entity == "metric":
            steps.append((_model_metric(key, dataset), is_up))
        elif entity == "attribute":
            steps.append((filters.MODEL_FIELDS[key], is_up))
        else:
            raise Fault(f"Invalid order by field name: {one.text('field_name')}")
    if not is_timed:
        steps.append((filters.MODEL_FIELDS["creation_timestamp_ms"], False))
    return _ordered([*steps, (filters.MODEL_FIELDS["model_id"], True)])


_NEWEST: Final = [("creation_time", False), ("experiment_id", True)]


def _fields(
    asked: list[str], grammar: Grammar, fields: dict[str, Getter], ends: list[tuple[str, bool]]
) -> Order:
    keys = [_by(one, grammar) for one in asked]
    for entity, key, _ in keys:
        if entity != "attribute":
            raise Fault(f"Invalid order_by entity: {entity} ({key})")
    _check_once(keys, asked)
    named = [(key, is_up) for _, key, is_up in keys]
    known = {key for key, _ in named}
    named += [(key, is_up) for key, is_up in ends if key not in known]
    return _ordered([(_number_of(fields, key), is_up) for key, is_up in named])


def _number_of(fields: dict[str, Getter], key: str) -> Getter:
    # experiments' ids are texts of numbers, and sort as numbers
    if key == "experiment_id":
        return lambda one: one.number
    return fields[key]


def _by(text: str, grammar: Grammar) -> tuple[str, str, bool]:
    found = _BY.match(text) if len(text) < clauses.MOST else None
    if found is None:
        raise Fault(f"Invalid order_by clause '{text[:500]}'. Could not be parsed.")
    name, direction = found[1], (found[2] or "asc").lower()
    entity, key = (
        clauses.identifier(name, grammar) if "." in name or _is_plain(name) else _odd(name, grammar)
    )
    return entity, key, direction == "asc"


def _is_plain(name: str) -> bool:
    return " " not in name or name[0] in '`"'


def _odd(name: str, grammar: Grammar) -> tuple[str, str]:
    if name in grammar.aliases:
        return "attribute", grammar.aliases[name]
    raise Fault(f"Invalid order_by clause '{name[:500]}'. Could not be parsed.")


def _check_once(keys: list[tuple[str, str, bool]], asked: list[str]) -> None:
    named = [(entity, key) for entity, key, _ in keys]
    if len(set(named)) < len(named):
        raise Fault(f"`order_by` contains duplicate fields: {asked}")


def _model_metric(key: str, dataset: tuple[str, str]) -> Getter:
    def metric(model: LoggedModel) -> float | None:
        found = [
            point
            for point in model.metrics
            if point["key"] == key
            and dataset[0] in ("", point.get("dataset_name"))
            and dataset[1] in ("", point.get("dataset_digest"))
        ]
        newest = max(found, key=lambda one: (one["timestamp"], one["step"]), default=None)
        return None if newest is None else float(newest["value"])

    return metric


def _ordered(steps: list[tuple[Getter, bool]]) -> Order:
    def order(found: Iterable[Any]) -> list[Any]:
        result = list(found)
        for get, is_up in reversed(steps):
            result = _sorted(result, get, is_up)
        return result

    return order


def _sorted(found: list[Any], get: Getter, is_up: bool) -> list[Any]:
    values = [get(one) for one in found]
    present, odd, absent = [], [], []
    for place, value in enumerate(values):
        if value is None:
            absent.append(place)
        elif value != value:  # noqa: PLR0124 - NaN, without a call
            odd.append(place)
        else:
            present.append(place)
    present.sort(key=values.__getitem__, reverse=not is_up)
    return [found[place] for part in (present, odd, absent) for place in part]
