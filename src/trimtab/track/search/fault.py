"""What is wrong with a filter, an order or a grouping, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

from trimtab.errors import UsageError

_AROUND = 36


class QueryError(UsageError):
    """A filter, an order or a grouping is wrong as written.

    `what` is the sentence, `text` what was written and `at` the first character that is wrong; the
    message shows the place with a caret.
    """

    code: ClassVar[str] = "query"

    def __init__(self, what: str, text: str, at: int, *, hint: str = "") -> None:
        self.what, self.text, self.at = what, text, min(at, len(text))
        super().__init__(f"{what}\n{excerpt(text, self.at)}", hint=hint)


def excerpt(text: str, at: int) -> str:
    """The surroundings of a place on one line, and a caret below it on the next."""
    begin = max(0, at - _AROUND)
    end = min(len(text), at + _AROUND)
    before = ("…" if begin else "") + text[begin:at]
    after = text[at:end] + ("…" if end < len(text) else "")
    line = "".join(mark if mark.isprintable() else " " for mark in before + after)
    return f"  {line}\n  {' ' * len(before)}^"


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` where something known is near, else what is known."""
    names = sorted(set(known))
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if found:
        return f"did you mean {found[0]!r}?"
    return f"there is: {', '.join(names[:24])}" if names else ""
