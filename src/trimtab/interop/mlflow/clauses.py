"""MLflow's filter grammar: `clause (AND clause)*`, a clause being `identifier comparator value`.

An identifier is `key` or `entity.key`, its parts bare, in backticks or in double quotes; a value is a
number, a text in single or double quotes or a list of texts. What an entity is called and which
attributes there are differs from one search to the next: a `Grammar` says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, NoReturn

from trimtab.interop.mlflow.fault import Fault

Entity = Literal["metric", "param", "tag", "attribute", "dataset"]
Value = str | float | tuple[str, ...] | None
NUMERIC: Final = (">", ">=", "!=", "=", "<", "<=")
TEXTUAL: Final = ("=", "!=", "LIKE", "ILIKE")
LISTED: Final = ("IN", "NOT IN")
NULLED: Final = ("IS NULL", "IS NOT NULL")
MOST: Final = 20_000
"""Characters of a filter."""
MOST_CLAUSES: Final = 100
"""Stock MLflow on SQLite joins a table for each, at most 64, and says beyond that to try again later."""


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """What can be asked: entities by their names, attributes by their kinds.

    `lists` are attributes that take IN, `nulls` entities that take IS NULL. `aliases` are other
    names of attributes.
    """

    entities: Mapping[str, Entity]
    texts: frozenset[str]
    numbers: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    nulls: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    datasets: frozenset[str] = frozenset({"name", "digest", "context"})


@dataclass(frozen=True)
class Clause:
    """One condition; `value` is None for IS NULL and IS NOT NULL."""

    entity: Entity
    key: str
    op: str
    value: Value


_TOKEN = re.compile(
    r"""\s*(?:
    (?P<name>(?:`[^`]*`|"[^"]*"|[^\W\d][\w]*)(?:\.(?:`[^`]*`|"[^"]*"|\w+))*)
    |(?P<text>'(?:[^']|'')*')
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<op>>=|<=|!=|<>|=|<|>)
    |(?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_PART = re.compile(r"`[^`]*`|\"[^\"]*\"|\w+")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place, end)
            if found is None or found.lastgroup is None:
                raise _wrong(text)
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        self.place = 0

    def next(self) -> tuple[str, str]:
        """The next token, ("", "") at the end."""
        found = self.peek()
        self.place += 1
        return found

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("", "")

    def word(self) -> str:
        """The next token as an upper-case word, where it is one."""
        kind, value = self.next()
        return value.upper() if kind == "name" else ""


@lru_cache(maxsize=256)
def parse(text: str, grammar_id: int) -> tuple[Clause, ...]:
    """The clauses of a filter by a registered grammar; raises a fault for what is no filter."""
    if len(text) > MOST:
        raise Fault(f"A filter string has at most {MOST} characters.")
    grammar = _GRAMMARS[grammar_id]
    if not text.strip():
        return ()
    reader = _Reader(text)
    clauses = [_clause(reader, grammar)]
    while reader.peek()[0]:
        if reader.word() != "AND":
            raise _wrong(text)
        if len(clauses) == MOST_CLAUSES:
            raise Fault(f"A filter string has at most {MOST_CLAUSES} clauses.")
        clauses.append(_clause(reader, grammar))
    return tuple(clauses)


_GRAMMARS: list[Grammar] = []


def register(grammar: Grammar) -> int:
    """A number for a grammar, by which `parse` knows it."""
    _GRAMMARS.append(grammar)
    return len(_GRAMMARS) - 1


def identifier(text: str, grammar: Grammar, whole: str = "") -> tuple[Entity, str]:
    """The entity and key that `entity.key` or `key` means."""
    parts = _PART.findall(text)
    entity: Entity = "attribute"
    if len(parts) > 1:
        named = grammar.entities.get(_bare(parts[0]))
        if named is None:
            raise Fault(
                f"Invalid entity type '{_bare(parts[0])}'. "
                f"Valid values are {sorted(set(grammar.entities.values()))}"
            )
        entity, rest = named, text[len(parts[0]) + 1 :]
        key = _bare(rest) if len(parts) == 2 else _joined(rest)
    else:
        key = _bare(text)
    if entity == "attribute":
        key = grammar.aliases.get(key, key)
        if key not in grammar.texts and key not in grammar.numbers:
            known = sorted(grammar.texts | grammar.numbers)
            raise Fault(f"Invalid attribute key '{key}' specified. Valid keys are '{known}'")
    elif entity == "dataset" and key not in grammar.datasets:
        raise Fault(
            f"Invalid dataset key '{key}' specified. Valid keys are '{sorted(grammar.datasets)}'"
        )
    return entity, key


def _clause(reader: _Reader, grammar: Grammar) -> Clause:
    kind, name = reader.next()
    if kind != "name":
        raise _wrong(reader.text)
    entity, key = identifier(name, grammar)
    kind, op = reader.next()
    if kind == "op":
        op = "!=" if op == "<>" else op
    else:
        op = _worded(op.upper() if kind == "name" else "", reader)
    if op in NULLED:
        if entity not in grammar.nulls:
            raise Fault(f"IS NULL / IS NOT NULL is not supported for '{entity}' '{key}'")
        return Clause(entity, key, op, None)
    _check_op(entity, key, op, grammar)
    return Clause(entity, key, op, _value(reader, entity, key, op, grammar))


def _worded(word: str, reader: _Reader) -> str:
    if word == "IS":
        second = reader.word()
        if second == "NOT":
            return "IS NOT NULL" if reader.word() == "NULL" else _stop(reader.text)
        return "IS NULL" if second == "NULL" else _stop(reader.text)
    if word == "NOT":
        return "NOT IN" if reader.word() == "IN" else _stop(reader.text)
    if word in ("LIKE", "ILIKE", "IN"):
        return word
    return _stop(reader.text)


def _check_op(entity: Entity, key: str, op: str, grammar: Grammar) -> None:
    if entity == "metric" or (entity == "attribute" and key in grammar.numbers):
        valid: tuple[str, ...] = NUMERIC
    elif entity == "dataset" or (entity == "attribute" and key in grammar.lists):
        valid = TEXTUAL + LISTED
    elif op in LISTED and entity == "attribute":
        raise Fault(
            f"Only {sorted(grammar.lists)} attributes support comparison with a list of "
            "quoted string values."
        )
    else:
        valid = TEXTUAL
    if op not in valid:
        raise Fault(f"Invalid comparator '{op}' not one of '{sorted(valid)}'")


def _value(reader: _Reader, entity: Entity, key: str, op: str, grammar: Grammar) -> Value:
    kind, text = reader.next()
    if entity == "metric" or (entity == "attribute" and key in grammar.numbers):
        if kind != "number":
            raise Fault(f"Expected numeric value type for {entity}: {key}. Found {text}")
        return _number(text)
    if op in LISTED:
        return _list(reader) if text == "(" else _stop(reader.text)
    if kind == "text":
        return text[1:-1]
    if kind == "name" and len(text) >= 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        return text[1:-1]
    raise Fault(f"Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {text}")


def _list(reader: _Reader) -> tuple[str, ...]:
    found = []
    while True:
        kind, text = reader.next()
        is_quoted = kind == "name" and text[0] == text[-1] == '"'
        if kind != "text" and not is_quoted:
            raise Fault("While parsing a list in the query, expected string value or punctuation")
        found.append(text[1:-1])
        _, mark = reader.next()
        if mark == ")":
            return tuple(found)
        if mark != ",":
            _stop(reader.text)


def _number(text: str) -> float:
    # more digits than any number that is compared with has
    return int(text) if len(text) < 20 and text.lstrip("+-").isdecimal() else float(text)


def _bare(part: str) -> str:
    return part[1:-1] if len(part) >= 2 and part[0] == part[-1] and part[0] in '`"' else part


def _joined(rest: str) -> str:
    return ".".join(_bare(part) for part in _PART.findall(rest))


def _wrong(text: str) -> Fault:
    return Fault(
        f"Invalid clause(s) in filter string: '{text[:500]}'. Expected 'identifier comparator value', "
        "several joined by AND."
    )


def _stop(text: str) -> NoReturn:
    raise _wrong(text)
