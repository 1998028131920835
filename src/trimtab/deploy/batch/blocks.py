"""A textual file in blocks of whole records, each found again by the byte behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError

MOST: Final = 64 << 20
"""Bytes that one record may have: a quote that never closes must not fill the memory."""


def lines(path: Path, name: str, start: int, end: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines of about `size` bytes up to `end`, and the byte behind each.

    Raises DataError where a line is longer than can be kept.
    """
    with path.open("rb") as stream:
        stream.seek(start)
        rest = b""
        at = start
        while data := stream.read(min(size, end - at)):
            at += len(data)
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            start += cut
            if cut:
                yield data[:cut], start
            elif len(rest) > MOST:
                raise DataError(f"{name} has a line of more than {MOST >> 20} MiB")
        if rest:
            yield rest, start + len(rest)


def records(path: Path, name: str, start: int, end: int, size: int) -> Iterator[tuple[bytes, int]]:
    """The same of CSV records, where a line end inside of quotes is part of its field."""
    with path.open("rb") as stream:
        while block := _records(stream, name, start, end, size):
            start += len(block)
            yield block, start


def ends_of(data: bytes) -> NDArray[np.intp]:
    """Where the records of CSV bytes end: at line ends outside of quotes."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw == 10)
    quotes = np.flatnonzero(raw == 34)
    # A quote flips inside and outside: an even number before means outside.
    return ends[np.searchsorted(quotes, ends) % 2 == 0] if len(quotes) else ends


def _records(stream: BinaryIO, name: str, start: int, end: int, size: int) -> bytes:
    want = size
    while True:
        stream.seek(start)
        data = stream.read(min(want, end - start))
        if len(data) < want:
            return data
        ends = ends_of(data)
        if len(ends):
            return data[: int(ends[-1]) + 1]
        if want > MOST:
            raise DataError(
                f"{name} has no record end in {want >> 20} MiB behind byte {start:,}",
                hint="a quote opens and never closes",
            )
        want *= 2
