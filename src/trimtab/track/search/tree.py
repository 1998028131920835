"""A filter as a tree, and the tree as text again: `parse(written(tree)) == tree`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Entity = Literal["metric", "param", "tag", "attribute", "data"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Field:
    """What of a run is asked about: the `key` of an entity."""

    entity: Entity
    key: str


@dataclass(frozen=True)
class Span:
    """A length of time such as `7d`; `unit` is how it was written."""

    amount: float
    unit: str

    @property
    def micros(self) -> float:
        """Microseconds."""
        return self.amount * UNITS[self.unit]


@dataclass(frozen=True)
class Now:
    """The moment of asking, `sign` (-1 or 1) times a span away from it."""

    sign: int = 0
    span: Span | None = None


Value = float | str | Span | Now
UNITS: Final = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}


@dataclass(frozen=True)
class Compare:
    """A field beside a value."""

    field: Field
    op: Operator
    value: Value


@dataclass(frozen=True)
class Among:
    """Whether a field is one of some values."""

    field: Field
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True)
class Like:
    """Whether a text has a pattern: `%` stands for any characters, `_` for one."""

    field: Field
    pattern: str
    is_case_sensitive: bool = True
    negated: bool = False


@dataclass(frozen=True)
class Between:
    """Whether a field lies between two values, both included."""

    field: Field
    low: Value
    high: Value
    negated: bool = False


@dataclass(frozen=True)
class Null:
    """Whether a run lacks a field."""

    field: Field
    negated: bool = False


@dataclass(frozen=True)
class Not:
    """What does not satisfy the inner one."""

    inner: Node


@dataclass(frozen=True)
class And:
    """What satisfies all of two parts or more."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """What satisfies one of two parts or more."""

    parts: tuple[Node, ...]


Node = Compare | Among | Like | Between | Null | Not | And | Or
_PLURAL: Final[dict[Entity, str]] = {"metric": "metrics", "param": "params", "tag": "tags"}
_PLAIN = re.compile(r"\w+(?:[/\-:@]+\w+)*(?:\.\w+(?:[/\-:@]+\w+)*)*\Z")


def written(node: Node) -> str:
    """A tree as the text of a filter."""
    match node:
        case Compare(field, op, value):
            return f"{field_written(field)} {op} {_value(value)}"
        case Among(field, values, negated):
            inside = ", ".join(map(_value, values))
            return f"{field_written(field)} {'NOT ' if negated else ''}IN ({inside})"
        case Like(field, pattern, is_case_sensitive, negated):
            word = "LIKE" if is_case_sensitive else "ILIKE"
            return f"{field_written(field)} {'NOT ' if negated else ''}{word} {_value(pattern)}"
        case Between(field, low, high, negated):
            word = "NOT BETWEEN" if negated else "BETWEEN"
            return f"{field_written(field)} {word} {_value(low)} AND {_value(high)}"
        case Null(field, negated):
            return f"{field_written(field)} IS {'NOT ' if negated else ''}NULL"
        case Not(inner):
            return f"NOT {_inside(inner)}"
        case And(parts):
            return " AND ".join(map(_inside, parts))
        case Or(parts):
            return " OR ".join(map(_inside, parts))


def field_written(field: Field) -> str:
    """A field as text, quoted where its key needs it."""
    if field.entity == "attribute":
        return field.key
    if field.entity == "data":
        return f"data.{field.key}" if field.key else "data"
    key = field.key if _PLAIN.match(field.key) else "`" + field.key.replace("`", "``") + "`"
    return f"{_PLURAL[field.entity]}.{key}"


def _inside(node: Node) -> str:
    text = written(node)
    return f"({text})" if isinstance(node, And | Or | Not) else text


def _value(value: Value) -> str:
    match value:
        case str():
            return "'" + value.replace("'", "''") + "'"
        case Span(amount, unit):
            return f"{_number(amount)}{unit}"
        case Now(sign, span):
            return f"now() {'-' if sign < 0 else '+'} {_value(span)}" if span else "now()"
        case _:
            return _number(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    whole = int(value) if abs(value) < 2**53 else None
    return str(whole) if whole == value and str(value) != "-0.0" else repr(float(value))
