"""The prediction log's bytes: a segment's header and its frames of length, checksum and columns.

docs/formats/prediction-log.md is the specification, tests/golden holds a segment that every later
version must read. Knows nothing of files or rotation.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError, StorageError
from trimtab.model.signature import Class

MAGIC: Final = b"trimtabP"
FORMAT: Final = 2
MAX_FRAME: Final = 64 << 20
_HEADER: Final = struct.Struct("<8sHHII")
_FRAME: Final = struct.Struct("<II")


class TooLongError(StorageError):
    """What is to be logged together is longer than a frame can be."""

    http_status = 413
    code = "too_long"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a segment: its endpoint, process and version of trimtab; microseconds."""

    endpoint: str
    pid: int
    created_at: int
    writer: str = ""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One request of several in a frame: its id, how many rows it has, when it came, its latency."""

    request: str
    rows: int
    received_at: int
    latency_us: int


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rows of one or more requests as one model answered them together; times in microseconds.

    `parts` tells the requests apart, in the order of their rows; it is empty where there is one
    only. `request`, `received_at` and `latency_us` are those of the first. `numbers` holds one
    little-endian float64 array per number or boolean column (NaN for null), `words` the texts with
    their nulls, `context` what was sent along and not scored. `score` is a little-endian float32
    matrix of `width` values per row. `event_times` is empty where they equal `received_at`. A
    request refused for its content has no rows, its HTTP status and an `error`.
    """

    ids: tuple[str, ...]
    request: str
    received_at: int
    endpoint: str
    role: str
    model: str
    label: str
    contract: str
    status: int = 200
    latency_us: int = 0
    event_times: tuple[int, ...] = ()
    numbers: dict[str, bytes] = {}
    words: dict[str, list[str | None]] = {}
    context: dict[str, list[Any]] = {}
    score: bytes = b""
    width: int = 1
    decision: list[Class] = []
    error: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return len(self.ids)

    def requests(self) -> tuple[Part, ...]:
        """The requests, in the order of their rows."""
        one = Part(self.request, len(self.ids), self.received_at, self.latency_us)
        return self.parts or (one,)

    def times(self) -> tuple[int, ...]:
        """The event time of each row."""
        return self.event_times or tuple(
            part.received_at for part in self.requests() for _ in range(part.rows)
        )

    def latencies(self) -> tuple[int, ...]:
        """The latency of each row's request."""
        return tuple(part.latency_us for part in self.requests() for _ in range(part.rows))

    def scores(self) -> NDArray[np.float32]:
        """The scores, [N] or [N, width]."""
        flat = np.frombuffer(self.score, dtype="<f4")
        return flat if self.width == 1 else flat.reshape(-1, self.width)

    def column(self, name: str) -> NDArray[np.float64] | list[Any]:
        """One input or context column; raises KeyError."""
        if name in self.numbers:
            return np.frombuffer(self.numbers[name], dtype="<f8")
        return self.words[name] if name in self.words else self.context[name]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Frame)


def pack_numbers(arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Float arrays as the frame holds them."""
    return {name: array.astype("<f8", copy=False).tobytes() for name, array in arrays.items()}


def pack(frame: Frame) -> bytes:
    """A frame's bytes; raises TooLongError above 64 MiB."""
    return seal(_encoder.encode(frame))


def seal(payload: bytes) -> bytes:
    """A frame's bytes from its MessagePack map; raises TooLongError above 64 MiB."""
    length = len(payload)
    if length > MAX_FRAME:
        raise TooLongError(
            f"a request's rows take {length:,} bytes in the prediction log",
            hint=f"{MAX_FRAME:,} is the limit: send fewer rows at once",
        )
    return _FRAME.pack(length, _checksum(length, payload)) + payload


def unpack(data: bytes | memoryview, start: int) -> tuple[Frame, int] | None:
    """The frame at `start` and where the next begins; None where it is not whole (yet).

    Raises IntegrityError where whole bytes do not match their checksum and more bytes follow. The
    same at the very end is a torn write.
    """
    if len(data) - start < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack_from(data, start)
    begin = start + _FRAME.size
    end = begin + length
    if length > MAX_FRAME:
        raise IntegrityError(f"a frame of {length:,} bytes is longer than a frame can be")
    if end > len(data):
        return None
    payload = memoryview(data)[begin:end]
    if _checksum(length, payload) != checksum:
        if end == len(data):
            return None
        raise IntegrityError("a frame does not match its checksum")
    try:
        return _decoder.decode(payload), end
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"a frame cannot be read: {error}") from error


def pack_header(header: Header) -> bytes:
    """The bytes that begin a segment."""
    text = msgspec.json.encode(header)
    return _HEADER.pack(MAGIC, FORMAT, 0, len(text), zlib.crc32(text)) + text


def unpack_header(data: bytes | memoryview) -> tuple[Header, int] | None:
    """The header and where the frames begin; None where it is not whole yet.

    Raises IntegrityError for bytes that are no segment, or of a newer format.
    """
    if len(data) < _HEADER.size:
        return None
    magic, version, _, length, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise IntegrityError("this is no segment of a prediction log")
    if version > FORMAT:
        raise IntegrityError(
            f"this prediction log has format {version}, this trimtab reads up to {FORMAT}",
            hint="upgrade trimtab where the log is read",
        )
    end = _HEADER.size + length
    if end > len(data):
        return None
    text = bytes(data[_HEADER.size : end])
    if zlib.crc32(text) != checksum:
        raise IntegrityError("the header of a prediction log segment does not match its checksum")
    return msgspec.json.decode(text, type=Header), end


def _checksum(length: int, payload: bytes | memoryview) -> int:
    """CRC-32 over length and payload, so that a damaged length is seen too."""
    return zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "little")))
