"""Metric series of runs: a batch is one row of columnar bytes.

A row's body is `b"TTM1"`, a CRC-32 of the rest, and zstd-compressed MessagePack of
`{keys, key, step, time, value}`, where `key` indexes `keys`, the integers are int64 and the values
are raw IEEE-754 little-endian bytes, so NaN and infinities keep their bits.
docs/formats/metric-batch.md is the specification.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
import sqlalchemy as sa
import zstandard

from trimtab.errors import DataError, IntegrityError
from trimtab.store import tables
from trimtab.store.records import Point
from trimtab.store.workspace import Workspace

_MAGIC: Final = b"TTM1"
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1


class _Batch(msgspec.Struct, frozen=True):
    keys: list[str]
    key: list[Annotated[int, msgspec.Meta(ge=0)]]
    step: list[int]
    time: list[int]
    value: bytes


def encode(points: Sequence[Point]) -> bytes:
    """Points as the bytes of one row; raises DataError for a step or time outside of int64."""
    keys = sorted({point.key for point in points})
    index = {key: number for number, key in enumerate(keys)}
    for point in points:
        if not (_LEAST <= point.step <= _MOST and _LEAST <= point.time <= _MOST):
            raise DataError(
                f"metric {point.key!r} has step {point.step} at {point.time}: both are 64-bit integers"
            )
    batch = _Batch(
        keys,
        [index[point.key] for point in points],
        [point.step for point in points],
        [point.time for point in points],
        struct.pack(f"<{len(points)}d", *(point.value for point in points)),
    )
    body = zstandard.compress(msgspec.msgpack.encode(batch))
    return _MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def decode(data: bytes) -> list[Point]:
    """The points of a row; raises IntegrityError where the bytes are not a batch."""
    if data[:3] == _MAGIC[:3] and data[:4] != _MAGIC:
        raise IntegrityError(
            f"a metric batch in the store has format {data[3:4]!r}, this trimtab reads 1",
            hint="a newer trimtab wrote it: upgrade trimtab",
        )
    body = data[8:]
    if data[:4] != _MAGIC or data[4:8] != struct.pack("<I", zlib.crc32(body)):
        raise IntegrityError("a metric batch in the store was changed", hint="see `trimtab doctor`")
    try:
        batch = msgspec.msgpack.decode(_unpacked(body), type=_Batch)
        values = struct.unpack(f"<{len(batch.key)}d", batch.value)
        columns = zip(batch.key, batch.step, batch.time, values, strict=True)
        return [Point(key=batch.keys[k], step=s, time=t, value=v) for k, s, t, v in columns]
    except (
        msgspec.DecodeError,
        zstandard.ZstdError,
        struct.error,
        ValueError,
        LookupError,
    ) as error:
        raise IntegrityError(f"a metric batch in the store cannot be read: {error}") from error


def _unpacked(body: bytes) -> bytes:
    # Any conforming frame will do: one that does not state its length has to be streamed.
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


def append(ws: Workspace, run: str, points: Sequence[Point]) -> None:
    """Store points; they are there once this returns."""
    if not points:
        return
    table = tables.metric_batches
    with ws.transaction() as tx:
        last = tx.execute(
            sa.select(sa.func.max(table.c.seq)).where(
                table.c.project == ws.project, table.c.run == run
            )
        ).scalar()
        tx.execute(
            table.insert().values(
                project=ws.project, run=run, seq=(last or 0) + 1, body=encode(points)
            )
        )


def read(ws: Workspace, run: str, key: str | None = None) -> list[Point]:
    """The points of a run, or of one series of it, by step and time."""
    found = [point for point in _all(ws, run) if key is None or point.key == key]
    return sorted(found, key=lambda point: (point.key, point.step, point.time))


def latest(ws: Workspace, run: str) -> dict[str, float]:
    """The last value of each series: the one of the highest step, then time."""
    return {point.key: point.value for point in read(ws, run)}


def keys(ws: Workspace, run: str) -> list[str]:
    """The names of a run's series, sorted."""
    return sorted({point.key for point in _all(ws, run)})


def _all(ws: Workspace, run: str) -> Iterator[Point]:
    table = tables.metric_batches
    query = sa.select(table.c.body).where(table.c.project == ws.project, table.c.run == run)
    with ws.reading() as db:
        for (body,) in db.execute(query.order_by(table.c.seq)):
            yield from decode(body)
