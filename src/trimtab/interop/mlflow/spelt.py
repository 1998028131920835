"""Runs as the bytes of their JSON: a page of runs that did not change is put together, not written anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST: Final = 8 << 20
"""Bytes that are kept; those asked for last stay."""


class Spelt:
    """The bytes of runs, by id."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def of(self, run: str, spell: Callable[[], bytes]) -> bytes:
        """The bytes of a run, made where they are not there."""
        found = self._kept.pop(run, None)
        if found is None:
            found = spell()
            self._size += len(found)
        self._kept[run] = found  # last
        while self._size > MOST and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))
        return found

    def drop(self, run: str) -> None:
        """Forget those of a run, which has changed."""
        self._size -= len(self._kept.pop(run, b""))
