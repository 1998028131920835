"""A batch of points as the bytes of one row, as they arrived.

Version 2: `b"TTM2"`, a CRC-32 of the rest, and one zstd frame of the keys as MessagePack, their
length before them, and four columns. Version 1 is read. docs/formats/metric-batch.md specifies both.
"""

from __future__ import annotations

import struct
from typing import Annotated, Final

import msgspec
import numpy as np
import zstandard

from trimtab.errors import IntegrityError
from trimtab.store.series.frame import opened, packed, sealed, unpacked
from trimtab.store.series.points import (
    Columns,
    Series,
    grown,
    grown_values,
    shrunk,
    shrunk_values,
)

_NAME: Final = b"TTM"
_POINT: Final = 4 + 3 * 8
_DAMAGED: Final = (msgspec.DecodeError, zstandard.ZstdError, struct.error, ValueError, LookupError)


class _First(msgspec.Struct, frozen=True):
    keys: list[str]
    key: list[Annotated[int, msgspec.Meta(ge=0)]]
    step: list[int]
    time: list[int]
    value: bytes


def encode(columns: Columns) -> bytes:
    """Points as the bytes of one row."""
    keys = msgspec.msgpack.encode(columns.keys)
    points = columns.points
    plain = b"".join(
        (
            struct.pack("<I", len(keys)),
            keys,
            columns.key.astype("<u4", copy=False).tobytes(),
            shrunk(points.step),
            shrunk(points.time),
            shrunk_values(points.value),
        )
    )
    return sealed(_NAME + b"2", packed(plain))


def decode(data: bytes) -> Columns:
    """The points of a row; raises IntegrityError where the bytes are not a batch."""
    version, body = opened(data, _NAME, b"12", "batch")
    try:
        plain = unpacked(body)
        return _first(plain) if version == b"1" else _second(plain)
    except _DAMAGED as error:
        raise IntegrityError(f"a metric batch in the store cannot be read: {error}") from error


def _second(plain: bytes) -> Columns:
    (length,) = struct.unpack_from("<I", plain)
    begin = 4 + length
    keys = tuple(msgspec.msgpack.decode(plain[4:begin], type=list[str]))
    count, rest = divmod(len(plain) - begin, _POINT)
    if rest:
        raise ValueError("its columns have different lengths")
    numbers = np.frombuffer(plain, dtype="<u4", count=count, offset=begin)
    if count and int(numbers.max()) >= len(keys):
        raise LookupError("a point is of no key")
    at = [begin + 4 * count + place * 8 * count for place in range(4)]
    return Columns(
        keys,
        numbers.astype(np.uint32, copy=False),
        Series(
            grown(plain[at[0] : at[1]]), grown(plain[at[1] : at[2]]),
            grown_values(plain[at[2] : at[3]]),
        ),
    )  # fmt: skip


def _first(plain: bytes) -> Columns:
    found = msgspec.msgpack.decode(plain, type=_First)
    count = len(found.key)
    if {len(found.step), len(found.time), len(found.value) / 8} - {count}:
        raise ValueError("its columns have different lengths")
    if count and max(found.key) >= len(found.keys):
        raise LookupError("a point is of no key")
    try:
        steps, times = (np.array(part, dtype=np.int64) for part in (found.step, found.time))
    except OverflowError as error:
        raise ValueError(str(error)) from error
    values = np.frombuffer(found.value, dtype="<f8").astype(np.float64)
    return Columns(
        tuple(found.keys), np.array(found.key, dtype=np.uint32), Series(steps, times, values)
    )
