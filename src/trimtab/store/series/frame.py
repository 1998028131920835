"""Bytes with a magic, a checksum and zstd: what batches, chunks and summaries have in common."""

from __future__ import annotations

import struct
import threading
import zlib
from typing import Final

import zstandard

from trimtab.errors import IntegrityError

_HEAD: Final = 8
_own = threading.local()


def packed(plain: bytes) -> bytes:
    """One zstd frame; making a compressor anew costs more than a small frame itself."""
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor()
    found: bytes = _own.compressor.compress(plain)
    return found


def unpacked(body: bytes) -> bytes:
    """A zstd frame's content; one that does not state its length is streamed. Raises ZstdError."""
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor()
    try:
        found: bytes = _own.decompressor.decompress(body)
    except zstandard.ZstdError:
        found = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return found


def sealed(magic: bytes, body: bytes) -> bytes:
    """Magic (4 bytes, the last one the version), the CRC-32 of the body, the body."""
    return magic + struct.pack("<I", zlib.crc32(body)) + body


def opened(data: bytes, name: bytes, versions: bytes, what: str) -> tuple[bytes, bytes]:
    """The version and body of sealed bytes; raises IntegrityError for others and for newer ones."""
    version = data[3:4]
    if data[:3] == name and version and version not in versions:
        raise IntegrityError(
            f"a metric {what} in the store has format {version!r}, this trimtab reads "
            f"{' and '.join(versions.decode())}",
            hint="a newer trimtab wrote it: upgrade trimtab",
        )
    body = data[_HEAD:]
    if data[:3] != name or data[4:_HEAD] != struct.pack("<I", zlib.crc32(body)):
        raise IntegrityError(
            f"a metric {what} in the store was changed", hint="see `trimtab doctor`"
        )
    return version, body
