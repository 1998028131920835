"""The frame of every profile file: magic, version, length, payload, checksum; and packed arrays.

A reader accepts its own version and the one before, refuses newer ones, and notices any changed
byte. docs/formats/profile.md is the specification.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError

VERSION: Final = 2
_HEAD: Final = 8 + 2 + 8
_SUM: Final = 16
_NARROW: Final = ("<u1", "<u2", "<u4", "<i8")
_DTYPES: Final = frozenset({*_NARROW, "<f4", "<f8"})


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """An array: numpy dtype text (little-endian), shape, C-order bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def frame(magic: bytes, payload: bytes) -> bytes:
    """`payload` under an 8-byte `magic`, version, length and BLAKE2b-128 checksum."""
    head = magic + VERSION.to_bytes(2, "little") + len(payload).to_bytes(8, "little")
    return head + payload + checksum(head + payload)


def unframe(magic: bytes, data: bytes) -> bytes:
    """The payload of a frame. Raises IntegrityError with what is wrong with the bytes."""
    kind = magic.decode("ascii")
    if len(data) < _HEAD + _SUM or data[:8] != magic:
        raise IntegrityError(
            f"these {len(data)} bytes are not a {kind!r} file",
            hint="the file is cut short or of another kind",
        )
    version = int.from_bytes(data[8:10], "little")
    if version > VERSION:
        raise IntegrityError(
            f"a {kind!r} file of version {version} is newer than this trimtab reads ({VERSION})",
            hint="upgrade trimtab",
        )
    length = int.from_bytes(data[10:_HEAD], "little")
    if version < 1 or len(data) != _HEAD + length + _SUM or checksum(data[:-_SUM]) != data[-_SUM:]:
        raise IntegrityError(
            f"a {kind!r} file has changed since it was written",
            hint="restore it from another copy; `trimtab doctor` lists what else is damaged",
        )
    return data[_HEAD:-_SUM]


def checksum(data: bytes) -> bytes:
    """BLAKE2b with a 16-byte digest (RFC 7693), which the standard library has."""
    return hashlib.blake2b(data, digest_size=_SUM).digest()


def pack(array: NDArray[Any]) -> Packed:
    """An array for the wire; integers take the narrowest width that holds them all."""
    if array.dtype.kind in "iu":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        fits = [d for d in _NARROW[:3] if low >= 0 and high <= np.iinfo(d).max]
        dtype = fits[0] if fits else "<i8"
    else:
        dtype = "<f4" if array.dtype.itemsize == 4 else "<f8"
    return Packed(dtype, array.shape, np.ascontiguousarray(array, dtype=dtype).tobytes())


def integers(packed: Packed) -> NDArray[np.int64]:
    """A packed array as int64."""
    return _unpack(packed).astype(np.int64)


def floats(packed: Packed) -> NDArray[np.float64]:
    """A packed array as float64."""
    return _unpack(packed).astype(np.float64)


def decode_payload(payload: bytes, kind: type[Any]) -> Any:
    """The msgpack payload as a `kind`. Raises IntegrityError where it is not one."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"a profile's content cannot be read: {error}") from error


def _unpack(packed: Packed) -> NDArray[Any]:
    if packed.dtype not in _DTYPES:
        raise IntegrityError(f"a profile holds an array of unknown type {packed.dtype!r}")
    try:
        return np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape)
    except ValueError as error:
        raise IntegrityError(f"a profile's array cannot be read: {error}") from error
