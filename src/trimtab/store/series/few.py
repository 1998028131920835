"""A few points as the bytes of a batch: the same bytes that `batch.encode` makes, without arrays.

For one point an array library costs ten times what there is to do; from `MOST` points on it is quicker.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from trimtab.store.series.frame import packed, sealed

Row = tuple[str, float, int, int]
"""Key, value, time in microseconds and step."""
MOST: Final = 32
MAGIC: Final = b"TTM2"
_ALL: Final = (1 << 64) - 1


def encode(rows: Sequence[Row]) -> bytes:
    """Rows as the bytes of one row of the store; times and steps are 64-bit integers."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(row[0], len(index)) for row in rows]
    keys = msgspec.msgpack.encode(tuple(index))
    count = len(rows)
    bits = struct.unpack(f"<{count}Q", struct.pack(f"<{count}d", *[row[1] for row in rows]))
    plain = b"".join(
        (
            struct.pack("<I", len(keys)),
            keys,
            struct.pack(f"<{count}I", *numbers),
            _planes([_folded(now - before) for before, now in _pairs([row[3] for row in rows])]),
            _planes([_folded(now - before) for before, now in _pairs([row[2] for row in rows])]),
            _planes([now ^ before for before, now in _pairs(bits)]),
        )
    )
    return sealed(MAGIC, packed(plain))


def _pairs(values: Sequence[int]) -> zip[tuple[int, int]]:
    """Each value after the one before it, 0 before the first."""
    return zip((0, *values), values, strict=False)


def _folded(step: int) -> int:
    """A difference modulo 2^64 with its sign in the last bit (zigzag)."""
    step &= _ALL
    return ((step << 1) & _ALL) ^ (_ALL if step >> 63 else 0)


def _planes(values: Sequence[int]) -> bytes:
    """The bytes of equal weight together."""
    raw = struct.pack(f"<{len(values)}Q", *values)
    return raw if len(values) == 1 else b"".join(raw[place::8] for place in range(8))
