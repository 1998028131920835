"""How far long work is, on stderr: one line that is written over on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

_TERMINAL: Final = 0.2
_ELSEWHERE: Final = 10.0


class Counter(AbstractContextManager["Counter"]):
    """Use as a context manager; call it with what to say, as often as there is news."""

    def __init__(self) -> None:
        self._moves = sys.stderr.isatty()
        self._every = _TERMINAL if self._moves else _ELSEWHERE
        self._said = time.monotonic() - self._every  # the first news is said at once
        self._width = 0

    def __call__(self, text: str) -> None:
        """Say it, unless something was said a moment ago."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        if not self._moves:
            sys.stderr.write(text + "\n")
        else:
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
