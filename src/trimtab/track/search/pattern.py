"""SQL's LIKE in time that grows with the text alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=256)
def like(text: str, *, is_case_sensitive: bool) -> Callable[[str], bool]:
    """SQL's LIKE: `%` stands for any characters, `_` for one.

    Every part between two `%` has a fixed length and is found where it comes first, so that no
    pattern takes long.
    """
    flags = re.DOTALL | (0 if is_case_sensitive else re.IGNORECASE)
    sources = [
        "".join("." if mark == "_" else re.escape(mark) for mark in part)
        for part in text.split("%")
    ]
    if len(sources) == 1:
        whole = re.compile(sources[0] + r"\Z", flags)
        return lambda value: whole.match(value) is not None
    first, *middle, last = [re.compile(source, flags) for source in sources]
    length = len(text.rpartition("%")[2])

    def test(value: str) -> bool:
        found = first.match(value)
        for part in middle:
            found = found and part.search(value, found.end())
        end = len(value) - length
        return found is not None and found.end() <= end and last.match(value, end) is not None

    return test
