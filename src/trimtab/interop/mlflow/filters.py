"""Filters as predicates over the records of `state`; those of runs, of which there are many, over columns."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, TypeVar

from trimtab.interop.mlflow import clauses
from trimtab.interop.mlflow.clauses import Clause, Grammar
from trimtab.interop.mlflow.state import (
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
)
from trimtab.interop.mlflow.table import node
from trimtab.track.search.pattern import like
from trimtab.track.search.tree import Node

T = TypeVar("T")
Predicate = Callable[[T], bool]
Getter = Callable[[Any], Any]
PROMPT: Final = "mlflow.prompt.is_prompt"
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
}

RUNS: Final = Grammar(
    entities={
        **dict.fromkeys(("metric", "metrics"), "metric"),
        **dict.fromkeys(("parameter", "parameters", "param", "params"), "param"),
        **dict.fromkeys(("tag", "tags"), "tag"),
        **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
        **dict.fromkeys(("dataset", "datasets"), "dataset"),
    },
    texts=frozenset({"run_id", "run_name", "status", "user_id", "artifact_uri"}),
    numbers=frozenset({"start_time", "end_time"}),
    lists=frozenset({"run_id"}),
    nulls=frozenset({"tag", "param"}),
    aliases={
        "created": "start_time",
        "Created": "start_time",
        "run name": "run_name",
        "Run name": "run_name",
        "Run Name": "run_name",
    },
)
_NAMED: Final[dict[str, clauses.Entity]] = {"attribute": "attribute", "tag": "tag", "tags": "tag"}
EXPERIMENTS: Final = Grammar(
    entities=_NAMED,
    texts=frozenset({"name", "experiment_id"}),
    numbers=frozenset({"creation_time", "last_update_time"}),
    lists=frozenset({"experiment_id"}),
    nulls=frozenset({"tag"}),
)
REGISTERED: Final = Grammar(entities=_NAMED, texts=frozenset({"name"}), lists=frozenset({"name"}))
VERSIONS: Final = Grammar(
    entities=_NAMED,
    texts=frozenset({"name", "run_id", "source_path"}),
    numbers=frozenset({"version_number"}),
    lists=frozenset({"name", "run_id"}),
)
MODELS: Final = Grammar(
    entities={"attributes": "attribute", "metrics": "metric", "params": "param", "tags": "tag"},
    texts=frozenset({"name", "model_id", "model_type", "status", "source_run_id", "experiment_id"}),
    numbers=frozenset({"creation_timestamp_ms", "last_updated_timestamp_ms"}),
    lists=frozenset({"name", "model_id", "model_type", "status", "source_run_id", "experiment_id"}),
    aliases={
        "creation_time": "creation_timestamp_ms",
        "creation_timestamp": "creation_timestamp_ms",
        "last_updated_timestamp": "last_updated_timestamp_ms",
        "last_updated_time": "last_updated_timestamp_ms",
    },
)
_NUMBERS: Final = {
    id(one): clauses.register(one) for one in (RUNS, EXPERIMENTS, REGISTERED, VERSIONS, MODELS)
}
EXPERIMENT_FIELDS: Final[dict[str, Getter]] = {
    "name": lambda one: one.name,
    "experiment_id": lambda one: str(one.number),
    "creation_time": lambda one: one.created,
    "last_update_time": lambda one: one.updated,
}
REGISTERED_FIELDS: Final[dict[str, Getter]] = {
    "name": lambda one: one.name,
    "creation_timestamp": lambda one: one.created,
    "last_updated_timestamp": lambda one: one.updated,
    "timestamp": lambda one: one.updated,
}
VERSION_FIELDS: Final[dict[str, Getter]] = {
    **REGISTERED_FIELDS,
    "run_id": lambda one: one.run or None,
    "source_path": lambda one: one.source,
    "version_number": lambda one: one.number,
}
MODEL_FIELDS: Final[dict[str, Getter]] = {
    "name": lambda one: one.name,
    "model_id": lambda one: one.id,
    "model_type": lambda one: one.kind or None,
    "status": lambda one: one.status.removeprefix("LOGGED_MODEL_"),
    "source_run_id": lambda one: one.run or None,
    "experiment_id": lambda one: str(one.experiment),
    "creation_timestamp_ms": lambda one: one.created,
    "last_updated_timestamp_ms": lambda one: one.updated,
}


def runs(text: str) -> Node | None:
    """Which runs a filter keeps, as a question to a `BoardTable`."""
    return node(_parse(text, RUNS))


def experiments(text: str) -> Predicate[Experiment]:
    """Which experiments a filter keeps."""
    return _all([_plain(one, EXPERIMENT_FIELDS) for one in _parse(text, EXPERIMENTS)])


def registered(text: str) -> Predicate[Registered]:
    """Which registered models a filter keeps; prompts only where it asks for them."""
    found = _parse(text, REGISTERED)
    predicates = [_registry(one, REGISTERED_FIELDS) for one in found]
    return _all(predicates if _asks_prompts(found) else [_is_no_prompt, *predicates])


def versions(text: str) -> Predicate[RegisteredVersion]:
    """Which model versions a filter keeps; those of prompts only where it asks for them."""
    found = _parse(text, VERSIONS)
    predicates = [_registry(one, VERSION_FIELDS) for one in found]
    return _all(predicates if _asks_prompts(found) else [_is_no_prompt, *predicates])


def models(text: str, datasets: list[tuple[str, str]] | None = None) -> Predicate[LoggedModel]:
    """Which logged models a filter keeps; its metrics are those on one of the data sets, if any."""

    def measured(key: str, compare: Predicate[Any]) -> Predicate[LoggedModel]:
        return lambda one: any(
            point["key"] == key and compare(point["value"])
            for point in one.metrics
            if not datasets or _is_on(point, datasets)
        )

    found: list[Predicate[LoggedModel]] = []
    for clause in _parse(text, MODELS):
        if clause.entity == "metric":
            found.append(measured(clause.key, _comparison(clause)))
        else:
            found.append(_plain(clause, MODEL_FIELDS))
    if datasets and all(one.entity != "metric" for one in _parse(text, MODELS)):
        found.append(lambda one: any(_is_on(point, datasets) for point in one.metrics))
    return _all(found)


def _parse(text: str, grammar: Grammar) -> tuple[Clause, ...]:
    return clauses.parse(text, _NUMBERS[id(grammar)])


def _is_on(point: dict[str, Any], datasets: list[tuple[str, str]]) -> bool:
    return any(
        point.get("dataset_name") == name and digest in ("", point.get("dataset_digest"))
        for name, digest in datasets
    )


def _all(predicates: list[Predicate[Any]]) -> Predicate[Any]:
    match predicates:
        case []:
            return lambda _: True
        case [one]:
            return one
        case [first, second]:
            return lambda one: first(one) and second(one)
    return lambda one: all(predicate(one) for predicate in predicates)


def _plain(clause: Clause, fields: dict[str, Getter]) -> Predicate[Any]:
    key, op = clause.key, clause.op
    if clause.entity == "attribute":
        get = fields[key]
    elif clause.entity == "param":

        def get(one: Any) -> Any:
            return one.params.get(key)
    else:

        def get(one: Any) -> Any:
            return one.tags.get(key)

    if op == "IS NULL":
        return lambda one: get(one) is None
    if op == "IS NOT NULL":
        return lambda one: get(one) is not None
    test = _comparison(clause)
    return lambda one: (found := get(one)) is not None and test(found)


def _registry(clause: Clause, fields: dict[str, Getter]) -> Predicate[Any]:
    if (clause.entity, clause.key) == ("tag", PROMPT):  # what lacks the tag is no prompt
        test = _comparison(clause)
        return lambda one: test(one.tags.get(PROMPT, "false"))
    return _plain(clause, fields)


def _comparison(clause: Clause) -> Predicate[Any]:
    op, value = clause.op, clause.value
    if op in _COMPARE:
        compare = _COMPARE[op]
        return lambda found: compare(found, value)
    if op in ("IN", "NOT IN"):
        among = frozenset(value) if isinstance(value, tuple) else frozenset()
        return (lambda found: found in among) if op == "IN" else (lambda found: found not in among)
    return like(str(value), is_case_sensitive=op == "LIKE")


def _asks_prompts(found: tuple[Clause, ...]) -> bool:
    return any(
        one.entity == "tag"
        and one.key == PROMPT
        and (one.op, str(one.value).lower()) in (("=", "true"), ("!=", "false"))
        for one in found
    )


def _is_no_prompt(one: Registered | RegisteredVersion) -> bool:
    return one.tags.get(PROMPT, "").lower() != "true"
