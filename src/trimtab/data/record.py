"""The source record: where a data version came from, noted when it is added.

What nobody stated is written as "unknown", never left out. A declared checksum is verified or the
bytes are refused. No password and no cell of the table is ever in a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from blake3 import blake3

from trimtab import hashing, ids
from trimtab.config import DataConfig
from trimtab.data.sources import Fetched, public, scheme
from trimtab.errors import DataError

UNKNOWN: Final = "unknown"
_CHUNK: Final = 1 << 20


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One source file: its name, bytes, blob digest, and mtime in microseconds."""

    name: str
    size: int
    digest: str
    mtime: int


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where bytes came from. `fetched_at` is in microseconds; "unknown" where nobody said.

    `provenance` is what a maker of the data adds: digests of what it was derived from.
    """

    uri: str
    scheme: str
    fetched_at: int
    files: tuple[FileRecord, ...]
    version: str = UNKNOWN
    licence: str = UNKNOWN
    collector: str = UNKNOWN
    method: str = UNKNOWN
    checksum: str = UNKNOWN
    checksum_verified: bool = False
    pii: tuple[str, ...] = ()
    retention: str = UNKNOWN
    provenance: dict[str, Any] = {}


def make(
    config: DataConfig, fetched: Fetched, files: tuple[FileRecord, ...], fetched_at: int
) -> SourceRecord:
    """The record of what was fetched; verifies a declared checksum and raises DataError."""
    if config.checksum:
        verify(config.checksum, {file.name: file.path for file in fetched.files})
    days = config.retention_days
    return SourceRecord(
        uri=public(fetched.uri),
        scheme=scheme(fetched.uri),
        fetched_at=fetched_at,
        files=files,
        version=fetched.version or UNKNOWN,
        licence=config.licence or UNKNOWN,
        collector=config.collector or UNKNOWN,
        method=config.method or UNKNOWN,
        checksum=config.checksum or UNKNOWN,
        checksum_verified=bool(config.checksum),
        pii=config.pii,
        retention=UNKNOWN if days is None else f"{days} days",
    )


def verify(declared: str, files: Mapping[str, Path]) -> None:
    """Hold files against a declared `sha256:HEX` or `blake3:HEX`; raises DataError.

    The checksum is that of the bytes as `sha256sum` and `b3sum` print it. Of several files it is
    that of their contents one after the other in the byte order of their names, as `cat` gives
    them. trimtab's own blob digest is accepted for a single file too.
    """
    algorithm, _, wanted = declared.partition(":")
    if algorithm not in ("sha256", "blake3") or len(wanted) != 64:
        raise DataError(
            f"checksum {declared!r} is not one that can be verified",
            hint='write "sha256:" or "blake3:" and 64 hex digits',
        )
    state = hashlib.sha256() if algorithm == "sha256" else blake3()
    ordered = [files[name] for name in sorted(files, key=str.encode)]
    for path in ordered:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                state.update(chunk)
    found = state.hexdigest()
    own = hashing.file_digest(ordered[0]) if len(ordered) == 1 else ""
    if wanted.lower() != found and declared != own:
        raise DataError(
            f"{', '.join(sorted(files))}: the checksum is {algorithm}:{found}, "
            f"declared is {declared}",
            hint="the bytes changed on their way here, or the declaration is of other bytes",
        )


def shown(record: SourceRecord) -> dict[str, str]:
    """A record as a person reads it: every field has a text, "unknown" included."""
    checksum = f"{record.checksum} (verified)" if record.checksum_verified else record.checksum
    return {
        "uri": record.uri,
        "fetched": ids.iso(record.fetched_at),
        "files": str(len(record.files)),
        "bytes": str(sum(file.size for file in record.files)),
        "version": record.version,
        "licence": record.licence,
        "collector": record.collector,
        "method": record.method,
        "checksum": checksum,
        "personal data": ", ".join(record.pii) or UNKNOWN,
        "retention": record.retention,
    }
