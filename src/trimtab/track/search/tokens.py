"""The words of a filter with their places."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from trimtab.track.search.fault import QueryError

MOST: Final = 20_000
"""Characters of a filter."""
_QUOTED = r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\""
_KEY = r"\w+(?:[/\-:@]+\w+)*"
_TOKEN = re.compile(
    rf"""
    (?P<name>(?:{_QUOTED}|[^\W\d]\w*)(?:\.(?:{_QUOTED}|{_KEY}))*)
    |(?P<text>'(?:[^']|'')*')
    |(?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?P<unit>[^\W\d_]+)?
    |(?P<op>>=|<=|!=|<>|==|=|<|>)
    |(?P<mark>[(),+*-])
    """,
    re.VERBOSE,
)
_PART = re.compile(rf"{_QUOTED}|{_KEY}")
_SPACE = re.compile(r"\s*")


class Token(NamedTuple):
    """A word: its kind ("" at the end), itself, where it begins, and a number's unit."""

    kind: str
    value: str
    at: int
    unit: str = ""

    @property
    def word(self) -> str:
        """A bare word in capitals, "" for anything else."""
        return self.value.upper() if self.kind == "name" else ""


def read(text: str) -> list[Token]:
    """The words of a text, an empty one at the end; raises QueryError for what is none."""
    if len(text) > MOST:
        raise QueryError(f"a filter has at most {MOST:,} characters", text, MOST)
    found: list[Token] = []
    place = _space(text, 0)
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise _unread(text, place)
        kind = token.lastgroup or ""
        kind = "number" if kind == "unit" else kind
        found.append(Token(kind, token[kind], place, token["unit"] or ""))
        place = _space(text, token.end())
    return [*found, Token("", "", len(text.rstrip()))]


def parts(name: str) -> list[str]:
    """The parts of a dotted name, without their quotes."""
    return [
        one[1:-1].replace(one[0] * 2, one[0]) if one[0] in '`"' else one
        for one in _PART.findall(name)
    ]


def _space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _unread(text: str, place: int) -> QueryError:
    mark = text[place]
    if mark in "'`\"":
        return QueryError(
            "this quote is never closed", text, place, hint="a quote inside is doubled"
        )
    hints = {"!": "not equal is !=", "&": "write AND", "|": "write OR", ".": "a key follows a name"}
    return QueryError(f"{mark!r} means nothing here", text, place, hint=hints.get(mark, ""))
