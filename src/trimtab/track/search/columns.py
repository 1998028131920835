"""One field of all runs as a column: asked by comparing numbers and places of words, not runs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
_BEGINS: Final = frozenset("+-.0123456789")


@dataclass(frozen=True, eq=False)
class Column:
    """A value of each of n runs, as a number, a text, both or neither.

    `number` (n,) counts where `is_number` (n,); `code` (n,) is the place of a run's text among the
    sorted `words`, -1 where it has none. The text "6" is the number 6 too.
    """

    number: NDArray[np.float64]
    is_number: Mask
    code: NDArray[np.int32]
    words: Sequence[str]

    @cached_property
    def present(self) -> Mask:
        """Which runs have it."""
        return self.is_number | (self.code >= 0)

    def numbers(self, test: Callable[[Any], Any]) -> Mask:
        """The runs whose number passes a test of arrays."""
        return self.is_number & np.asarray(test(self.number), dtype=np.bool_)

    def texts(self, hits: Mask) -> Mask:
        """The runs whose word is hit; `hits` has a place for each word."""
        if not len(self.words):
            return np.zeros(len(self.code), dtype=np.bool_)
        return (self.code >= 0) & hits[self.code]

    def value(self, row: int) -> float | str | None:
        """What a run has, a number where it is one."""
        if self.is_number[row]:
            return float(self.number[row])
        return str(self.words[self.code[row]]) if self.code[row] >= 0 else None

    def text(self, row: int) -> str:
        """What a run has as it is written, "" for nothing."""
        if self.code[row] >= 0:
            return str(self.words[self.code[row]])
        return repr(float(self.number[row])) if self.is_number[row] else ""


@dataclass(frozen=True, eq=False)
class Several:
    """Any number of texts of each of `size` runs: text `code[i]` of `words` is of run `row[i]`."""

    size: int
    row: NDArray[np.int64]
    code: NDArray[np.int32]
    words: Sequence[str]

    @property
    def present(self) -> Mask:
        """Which runs have any."""
        found = np.zeros(self.size, dtype=np.bool_)
        found[self.row] = True
        return found

    def texts(self, hits: Mask) -> Mask:
        """The runs of which a word is hit."""
        found = np.zeros(self.size, dtype=np.bool_)
        if len(self.words):
            found[self.row[hits[self.code]]] = True
        return found


def of_numbers(values: Iterable[float | None], size: int) -> Column:
    """Numbers, None where there is none."""
    kept = list(values)
    number = np.array(kept, dtype=np.float64)  # None becomes NaN
    has = ~np.isnan(number)
    if not has.all():
        has = np.array([value is not None for value in kept], dtype=np.bool_)
    return Column(number, has, np.full(size, -1, dtype=np.int32), ())


def of_texts(values: Sequence[str | None]) -> Column:
    """Texts that are no numbers whatever they look like, None where there is none."""
    words, code = _coded(values)
    size = len(values)
    return Column(np.full(size, np.nan), np.zeros(size, dtype=np.bool_), code, words)


def of_either(values: Sequence[str | None]) -> Column:
    """Texts, of which some are numbers too; None where there is none."""
    words, code = _coded(values)
    by_word = np.array([*map(as_number, words), math.nan], dtype=np.float64)
    number = by_word[code]  # -1 is the last
    return Column(number, ~np.isnan(number), code, words)


def of_several(values: Iterable[tuple[int, str]], size: int) -> Several:
    """Pairs of a run's place and a text."""
    pairs = list(values)
    words, code = _coded([text for _, text in pairs])
    return Several(size, np.array([row for row, _ in pairs], dtype=np.int64), code, words)


def as_number(text: str) -> float:
    """The number that a text is, NaN for any other."""
    if text[:1] not in _BEGINS or "_" in text:
        return math.nan
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def place(words: Sequence[str], text: str) -> tuple[int, bool]:
    """Where a text is among sorted words, or would be; and whether it is."""
    found = bisect_left(words, text)
    return found, found < len(words) and words[found] == text


def _coded(values: Sequence[str | None]) -> tuple[list[str], NDArray[np.int32]]:
    words = sorted({value for value in values if value is not None})
    index: dict[str | None, int] = {word: number for number, word in enumerate(words)}
    index[None] = -1
    code = np.fromiter((index[value] for value in values), dtype=np.int32, count=len(values))
    return words, code
