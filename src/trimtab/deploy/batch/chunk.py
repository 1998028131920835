"""What every source of rows gives, whatever its format: chunks, and where to go on after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

ROWS: Final = 20_000
"""Rows of a chunk of a typed file."""
BLOCK: Final = 4 << 20
"""Bytes of a chunk of a textual file."""

Place = tuple[int, int]


@dataclass(frozen=True)
class Broken:
    """A row that cannot be scored: its number from 1 in its file, the column or "", and why."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file.

    `columns` are the model's inputs as a JSON client would send them, `kept` what goes along to
    the output, and `rows` the number of each row, from 1. `broken` rows are in none of these.
    `place` is (byte or row, rows so far) behind this chunk.
    """

    columns: dict[str, list[Any]]
    kept: pl.DataFrame
    rows: list[int]
    place: Place
    broken: list[Broken] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What to read: `kinds` of the model's inputs by name, and the columns to `keep`."""

    kinds: dict[str, str]
    keep: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every column to read, once."""
        return list(dict.fromkeys((*self.kinds, *self.keep)))


class Source(Protocol):
    """One file. `size` is in the unit of a place's first number: bytes, or rows."""

    name: str
    path: Path

    @property
    def size(self) -> int:
        """How large the file is."""
        ...

    @property
    def columns(self) -> list[str]:
        """The columns of the file; raises DataError where it cannot be read."""
        ...

    def chunks(self, wanted: Wanted, after: Place) -> Iterator[Chunk]:
        """The rows behind a place, (0, 0) for all; raises DataError naming the file."""
        ...
