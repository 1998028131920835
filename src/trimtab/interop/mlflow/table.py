"""The runs of a board as the table that `track.search` asks, with the fields of MLflow's filters.

All texts are texts here, numbers or not, as in MLflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from trimtab.interop.mlflow.clauses import Clause
from trimtab.interop.mlflow.state import TrackedRun
from trimtab.store import packed
from trimtab.store.packed import Points
from trimtab.track.search.fields import Kind
from trimtab.track.search.table import Table
from trimtab.track.search.tree import Among, And, Compare, Field, Like, Node, Null, Operator

EXPERIMENT: Final = Field("attribute", "experiment")
_ATTRIBUTES: Final[dict[str, Callable[[TrackedRun], Any]]] = {
    "experiment": lambda one: one.experiment,
    "run_id": lambda one: one.id,
    "run_name": lambda one: one.name,
    "status": lambda one: one.status,
    "user_id": lambda one: one.user,
    "artifact_uri": lambda one: one.location,
    "start_time": lambda one: one.start,
    "end_time": lambda one: one.end,
}
_NUMBERS: Final = ("experiment", "start_time", "end_time")
_OPERATORS: Final[dict[str, Operator]] = {
    "=": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip


class BoardTable(Table):
    """The runs that clients see."""

    records: Sequence[TrackedRun]

    def kind(self, field: Field) -> Kind:
        """What a field is compared as."""
        if field.entity == "data":
            return "several"
        is_number = field.entity == "metric" or (
            field.entity == "attribute" and field.key in _NUMBERS
        )
        return "number" if is_number else "text"

    def values(self, field: Field, records: Sequence[TrackedRun]) -> Sequence[Any]:
        """What runs have of a field."""
        key = field.key
        match field.entity:
            case "metric":
                return _measured(key, records)
            case "param":
                return [one.params.get(key) for one in records]
            case "tag":
                return [one.tags.get(key) for one in records]
            case "data":
                return [list(_of_inputs(one, key)) for one in records]
        return list(map(_ATTRIBUTES[key], records))


def node(clauses: Sequence[Clause]) -> Node | None:
    """Conditions that must all hold, None where there is none."""
    found = [_node(one) for one in clauses]
    return And(tuple(found)) if len(found) > 1 else found[0] if found else None


def field(entity: str, key: str) -> Field:
    """The field that a clause or an order names."""
    match entity:
        case "metric" | "param" | "tag" | "attribute":
            return Field(entity, key)
    return Field("data", key)


def _node(clause: Clause) -> Node:
    mine, op, value = field(clause.entity, clause.key), clause.op, clause.value
    if value is None:
        return Null(mine, negated=op == "IS NOT NULL")
    if isinstance(value, tuple):
        return Among(mine, value, negated=op == "NOT IN")
    if op in _OPERATORS:
        return Compare(mine, _OPERATORS[op], value)
    return Like(mine, str(value), is_case_sensitive=op == "LIKE")


def _measured(key: str, records: Sequence[TrackedRun]) -> list[float | None]:
    last = [one.metrics for one in records]
    found = packed.values(key, (one if isinstance(one, Points) else None for one in last))
    for row, mine in enumerate(last):
        if isinstance(mine, dict) and key in mine:  # it is running
            found[row] = mine[key][0]
    return found


def _of_inputs(one: TrackedRun, key: str) -> Iterator[str]:
    """What the data sets of a run have of `name`, `digest` or `context`."""
    for data in one.inputs:
        if key == "context":
            tags = data.get("tags", ())
            yield from (tag.get("value", "") for tag in tags if tag["key"] == "mlflow.data.context")
        else:
            yield data["dataset"].get(key, "")
