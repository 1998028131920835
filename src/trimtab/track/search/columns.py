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
Places = NDArray[np.intp]
_BEGINS: Final = frozenset("+-.0123456789")


@dataclass(frozen=True, eq=False)
class Column:
    """A value of each of n runs, as a number, a text, both or neither.

    `number` (n,) counts where `is_number` (n,); `code` (n,) is the place of a run's text among the
    sorted `words`, -1 where it has none. Where it `reads`, the text "6" is the number 6 too.
    """

    number: NDArray[np.float64]
    is_number: Mask
    code: NDArray[np.int32]
    words: Sequence[str]
    reads: bool = False

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

    def changed(
        self, take: Places | None, rows: Sequence[int], values: Sequence[float | str | None]
    ) -> Column:
        """The column where row i is what row `take[i]` was, and some rows have other values.

        A row whose `take` is -1 is new: it is among `rows`.
        """
        if take is None and all(self._has(row, one) for row, one in zip(rows, values, strict=True)):
            return self
        at: Any = slice(None) if take is None else take
        number, is_number, code = (
            one[at].copy() for one in (self.number, self.is_number, self.code)
        )
        words = _with_words(self.words, code, (one for one in values if isinstance(one, str)))
        for row, value in zip(rows, values, strict=True):
            code[row] = place(words, value)[0] if isinstance(value, str) else -1
            if isinstance(value, str):
                number[row] = as_number(value) if self.reads else math.nan
                is_number[row] = not math.isnan(number[row])
            else:
                number[row] = math.nan if value is None else value
                is_number[row] = value is not None
        return Column(number, is_number, code, words, self.reads)

    def _has(self, row: int, value: float | str | None) -> bool:
        if isinstance(value, str):
            return bool(self.code[row] >= 0) and self.words[self.code[row]] == value
        if value is None or not self.is_number[row]:
            return value is None and not self.is_number[row] and bool(self.code[row] < 0)
        mine = float(self.number[row])
        return mine.hex() == float(value).hex()  # -0 is not 0, NaN is NaN

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

    def changed(
        self, take: Places | None, rows: Sequence[int], values: Sequence[Sequence[str]]
    ) -> Several:
        """As that of a `Column`; `values` are all texts of a row."""
        size = self.size if take is None else len(take)
        new = np.arange(size)
        if take is not None:
            new = np.full(self.size, -1)
            new[take[take >= 0]] = np.flatnonzero(take >= 0)
        now = new[self.row]
        stays = (now >= 0) & ~np.isin(now, rows)
        code = self.code[stays]
        pairs = [(row, text) for row, mine in zip(rows, values, strict=True) for text in mine]
        words = _with_words(self.words, code, (text for _, text in pairs))
        places = [place(words, text)[0] for _, text in pairs]
        return Several(
            size,
            np.concatenate([now[stays], np.array([row for row, _ in pairs], dtype=np.int64)]),
            np.concatenate([code, np.array(places, dtype=np.int32)]),
            words,
        )


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
    return Column(number, ~np.isnan(number), code, words, reads=True)


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


def _with_words(
    words: Sequence[str], code: NDArray[np.int32], more: Iterable[str]
) -> Sequence[str]:
    """The words with some more, still sorted; `code` is changed to name the same words as before."""
    new = sorted({word for word in more if not place(words, word)[1]})
    if not new:
        return words
    found = list(words)
    for word in new:
        at = bisect_left(found, word)
        found.insert(at, word)
        code += code >= at
    return found


def _coded(values: Sequence[str | None]) -> tuple[list[str], NDArray[np.int32]]:
    words = sorted({value for value in values if value is not None})
    index: dict[str | None, int] = {word: number for number, word in enumerate(words)}
    index[None] = -1
    code = np.fromiter((index[value] for value in values), dtype=np.int32, count=len(values))
    return words, code
