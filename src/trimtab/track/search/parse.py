"""The text of a filter as a tree. `docs/search.md` has the grammar.

It is MLflow's, with OR, NOT, parentheses and BETWEEN, with moments and spans, and with params that
may be compared as numbers. NOT binds closest, then AND, then OR.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, cast

from trimtab.track.search import fields, moments, tokens
from trimtab.track.search.fault import QueryError, near
from trimtab.track.search.tokens import Token
from trimtab.track.search.tree import (
    UNITS,
    Among,
    And,
    Between,
    Compare,
    Field,
    Like,
    Node,
    Not,
    Now,
    Null,
    Operator,
    Or,
    Span,
    Value,
)

_DEEP: Final = 60
MOST_LIKE: Final = 100
"""LIKEs of a filter: each looks at a text of every run."""
_WORDS: Final = ("AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "BETWEEN", "IS", "NULL")
_TRUE: Final = {"TRUE": "true", "FALSE": "false"}


@lru_cache(maxsize=256)
def parse(text: str) -> Node | None:
    """The tree of a filter, None for an empty one; raises QueryError."""
    reader = _Reader(text)
    if not reader.here.kind:
        return None
    found = _either(reader, 0)
    if reader.here.kind:
        hint = near(reader.here.value.upper(), ("AND", "OR")) if reader.here.word else ""
        raise reader.wrong("AND or OR is expected here", hint=hint if "mean" in hint else "")
    return found


def field(text: str) -> Field:
    """The one field that a text names; raises QueryError."""
    reader = _Reader(text)
    found = _field(reader)
    if reader.here.kind:
        raise reader.wrong("this is more than the name of a field")
    return found


class _Reader:
    """The words of a text and how many of them were read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokens.read(text)
        self._place = 0
        self.likes = 0

    @property
    def here(self) -> Token:
        return self._tokens[self._place]

    def next(self) -> Token:
        found = self._tokens[self._place]
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return found

    def take(self, *words: str) -> bool:
        """Whether the next word is one of these; it is read then."""
        is_it = self.here.word in words or (self.here.kind == "mark" and self.here.value in words)
        if is_it:
            self.next()
        return is_it

    def wrong(self, what: str, *, at: int | None = None, hint: str = "") -> QueryError:
        return QueryError(what, self.text, self.here.at if at is None else at, hint=hint)


def _either(reader: _Reader, depth: int) -> Node:
    parts = [_every(reader, depth)]
    while reader.take("OR"):
        parts.append(_every(reader, depth))
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _every(reader: _Reader, depth: int) -> Node:
    parts = [_one(reader, depth)]
    while reader.take("AND"):
        parts.append(_one(reader, depth))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _one(reader: _Reader, depth: int) -> Node:
    if depth > _DEEP:
        raise reader.wrong(f"this is nested more than {_DEEP} deep")
    if reader.take("NOT"):
        return Not(_one(reader, depth + 1))
    if reader.take("("):
        found = _either(reader, depth + 1)
        if not reader.take(")"):
            raise reader.wrong("a closing parenthesis, AND or OR is expected here")
        return found
    return _clause(reader)


def _clause(reader: _Reader) -> Node:
    begin = reader.here.at
    about = _field(reader)
    at = reader.here
    if reader.take("IS"):
        negated = reader.take("NOT")
        if not reader.take("NULL"):
            raise reader.wrong("NULL is expected after IS")
        return Null(about, negated)
    negated = reader.take("NOT")
    kind = fields.kind(about)
    if reader.take("IN"):
        return Among(about, _list(reader, about), negated)
    if reader.here.word in ("LIKE", "ILIKE"):
        if kind in ("number", "moment", "span"):
            raise reader.wrong(
                f"LIKE asks about texts, and {reader.text[begin : at.at].strip()} is none"
            )
        reader.likes += 1
        if reader.likes > MOST_LIKE:
            raise reader.wrong(
                f"a filter has at most {MOST_LIKE} LIKEs",
                hint="IN (...) asks about many values at once",
            )
        is_case_sensitive = reader.next().word == "LIKE"
        return Like(about, _text(reader), is_case_sensitive, negated)
    if reader.take("BETWEEN"):
        if kind in ("several", "status"):
            raise reader.wrong("BETWEEN asks about what has an order", at=at.at)
        low = _value(reader, about)
        if not reader.take("AND"):
            raise reader.wrong("AND is expected here: BETWEEN low AND high")
        return Between(about, low, _value(reader, about), negated)
    if negated:
        raise reader.wrong("IN, LIKE, ILIKE or BETWEEN is expected after NOT")
    return _comparison(reader, about)


def _comparison(reader: _Reader, about: Field) -> Compare:
    sign = reader.here
    if sign.kind != "op":
        hint = near(sign.word, _WORDS[3:8]) if sign.word else ""
        raise reader.wrong(
            "a comparison is expected here: = != < <= > >= IN LIKE ILIKE BETWEEN IS NULL",
            hint=hint if "mean" in hint else "",
        )
    reader.next()
    op = {"<>": "!=", "==": "="}.get(sign.value, sign.value)
    if fields.kind(about) in ("several", "status") and op not in ("=", "!="):
        raise reader.wrong("this has no order: = != IN LIKE ILIKE ask about it", at=sign.at)
    return Compare(about, cast("Operator", op), _value(reader, about))


def _field(reader: _Reader) -> Field:
    token = reader.here
    if token.kind != "name" or token.word in _WORDS:
        hint = "such as metrics.loss, params.depth, tags.team, status or started"
        raise reader.wrong("the name of a field is expected here", hint=hint)
    reader.next()
    entity, *rest = tokens.parts(token.value)
    if not rest:
        if entity in ("data", "dataset", "datasets"):
            return Field("data", "")
        return _attribute(reader, entity, token.at)
    named = fields.ENTITIES.get(entity)
    if named is None:
        hint = near(entity, ("metrics", "params", "tags", "attributes", "data"))
        raise reader.wrong(f"there is no {entity[:60]!r} to ask about", at=token.at, hint=hint)
    key = ".".join(rest)
    if not key:
        raise reader.wrong(f"the key of {entity} is empty", at=token.at)
    if named == "attribute":
        return _attribute(reader, key, token.at)
    if named == "data" and key not in fields.DATA:
        raise reader.wrong(f"data has no {key!r}", at=token.at, hint=near(key, fields.DATA))
    return Field(named, key)


def _attribute(reader: _Reader, name: str, at: int) -> Field:
    known = fields.ALIASES.get(name, name)
    if known not in fields.ATTRIBUTES:
        short = name[:60]
        hint = near(name, (*fields.ATTRIBUTES, *fields.ALIASES))
        if "did you mean" not in hint:
            hint = f"metrics.{short}, params.{short}? Every run has: {', '.join(fields.ATTRIBUTES)}"
        raise reader.wrong(f"a run has no {short!r}", at=at, hint=hint)
    return Field("attribute", known)


def _list(reader: _Reader, about: Field) -> tuple[Value, ...]:
    if not reader.take("("):
        raise reader.wrong("a list in parentheses is expected after IN")
    found = [_value(reader, about)]
    while reader.take(","):
        found.append(_value(reader, about))
    if not reader.take(")"):
        raise reader.wrong("a comma or a closing parenthesis is expected here")
    return tuple(found)


def _text(reader: _Reader) -> str:
    token = reader.next()
    if token.kind == "text" or (token.kind == "name" and token.value[0] == '"'):
        return _unquoted(token.value)
    raise reader.wrong("a text in quotes is expected here", at=token.at)


def _value(reader: _Reader, about: Field) -> Value:
    token, kind = reader.here, fields.kind(about)
    value = _literal(reader)
    match kind, value:
        case ("number", float() | int()) | ("span", float() | int() | Span()):
            return value
        case ("moment", float() | int() | Now()) | ("either", float() | int() | str()):
            return value
        case ("moment", str()):
            if moments.read(value) is None:
                hint = "such as '2026-01-31', '2026-01-31T12:00:00' or now() - 7d"
                raise reader.wrong("this is no date", at=token.at, hint=hint)
            return value
        case ("text" | "several", str()):
            return value
        case ("status", str()):
            found = fields.status(value)
            if found is None:
                hint = near(value.lower(), (*fields.STATUSES, "finished", "killed"))
                raise reader.wrong(f"there is no status {value!r}", at=token.at, hint=hint)
            return found
    wanted = {
        "number": "a number",
        "text": "a text in quotes",
        "several": "a text in quotes",
        "status": f"a status in quotes ({', '.join(fields.STATUSES)})",
        "either": "a number or a text in quotes",
        "moment": "a date in quotes, or now() - 7d,",
        "span": "a span such as 90s, 5m or 2h",
    }[kind]
    raise reader.wrong(f"{wanted} is expected here", at=token.at)


def _literal(reader: _Reader) -> Value:
    token = reader.next()
    if token.kind == "number":
        return _number(reader, token)
    if token.kind == "text" or (token.kind == "name" and _is_quoted(token.value)):
        return _unquoted(token.value)
    if token.word in _TRUE:
        return _TRUE[token.word]
    if token.word == "NOW":
        return _now(reader)
    hint = f"write '{token.value}'" if token.kind == "name" else ""
    raise reader.wrong("a value is expected here", at=token.at, hint=hint)


def _is_quoted(name: str) -> bool:
    return name[0] == '"' and len(tokens.parts(name)) == 1


def _number(reader: _Reader, token: Token) -> float | Span:
    # an int64 has 19 digits; what is longer is no number that anything is compared with exactly
    whole = len(token.value) <= 20 and token.value.lstrip("+-").isdecimal()
    amount = int(token.value) if whole else float(token.value)
    if math.isinf(amount):
        raise reader.wrong("this number is too large", at=token.at)
    if not token.unit:
        return amount
    if token.unit not in UNITS:
        hint = f"units are {', '.join(UNITS)}"
        raise reader.wrong(f"there is no unit {token.unit!r}", at=token.at, hint=hint)
    return Span(amount, token.unit)


def _now(reader: _Reader) -> Now:
    if not (reader.take("(") and reader.take(")")):
        raise reader.wrong("now is written now()")
    sign = {"-": -1, "+": 1}.get(reader.here.value, 0)
    if reader.here.kind == "number" and reader.here.value[0] in "+-":  # now() -7d
        token = reader.next()
        sign = -1 if token.value[0] == "-" else 1
        span = _number(reader, token._replace(value=token.value[1:]))
    elif sign:
        reader.next()
        token = reader.next()
        if token.kind != "number" or token.value[0] in "+-":
            raise reader.wrong("a span such as 7d is expected here", at=token.at)
        span = _number(reader, token)
    else:
        return Now()
    if not isinstance(span, Span):
        raise reader.wrong("a span needs a unit: 90s, 5m, 12h, 7d, 2w", at=token.at)
    return Now(sign, span)


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])
