"""Content-addressed bytes: the port, and the local folder behind it by default.

A blob appears under its digest only when it is whole: it is written to `tmp/`, hashed on the way
and renamed. Objects are read-only (0444). A write survives the death of the process; `flush` also
makes what was written before it survive a loss of power.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from trimtab import hashing, ids
from trimtab.errors import IntegrityError, NotFoundError, StorageError

_CHUNK: Final = 1 << 20


class Blobs(Protocol):
    """A place for immutable bytes known by their digest.

    `put` and `put_file` are idempotent and return the digest; the bytes are visible whole or not
    at all. `read`, `path` and `size` raise NotFoundError for an unknown digest. `path` is a local
    read-only file. `verify` re-reads the bytes and raises IntegrityError where they changed.
    `trimtab.testing.blobs.BlobsConformance` is the contract as tests.
    """

    def put(self, data: bytes) -> str:
        """Store bytes."""
        ...

    def put_file(self, path: Path) -> str:
        """Store a file's bytes."""
        ...

    def read(self, digest: str) -> bytes:
        """A blob's bytes."""
        ...

    def path(self, digest: str) -> Path:
        """A local read-only file with the blob's bytes."""
        ...

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        ...

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        ...

    def digests(self) -> Iterator[str]:
        """Every digest here, in order."""
        ...

    def verify(self, digest: str) -> None:
        """Re-read a blob and compare."""
        ...

    def flush(self) -> None:
        """Make everything put so far survive a loss of power."""
        ...


class LocalBlobs:
    """Blobs as files `aa/bbbb…` under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs"
        self._staging = folder / "tmp"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store bytes; raises StorageError where the disk refuses."""
        digest = hashing.digest("blob", data)
        if not self.has(digest):
            with self._staged() as (stream, name):
                stream.write(data)
                stream.flush()
                self._publish(name, digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes, hashed while they are copied."""
        state = hashing.hasher("blob")
        with self._staged() as (stream, name):
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    state.update(chunk)
                    stream.write(chunk)
            stream.flush()
            digest = hashing.text(state)
            if not self.has(digest):
                self._publish(name, digest)
        return digest

    def read(self, digest: str) -> bytes:
        """A blob's bytes."""
        return self.path(digest).read_bytes()

    def path(self, digest: str) -> Path:
        """The file that holds a blob."""
        where = self._where(digest)
        if not where.is_file():
            raise NotFoundError(
                f"the store has no blob {digest}", hint="`trimtab doctor` lists what is missing"
            )
        return where

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self._where(digest).is_file()

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        return self.path(digest).stat().st_size

    def digests(self) -> Iterator[str]:
        """Every digest here, in order."""
        for folder in sorted(self._folder.iterdir()):
            for file in sorted(folder.iterdir()):
                yield f"{hashing.PREFIX}{folder.name}{file.name}"

    def verify(self, digest: str) -> None:
        """Re-read a blob; raises IntegrityError where its bytes are not those of its digest."""
        found = hashing.file_digest(self.path(digest))
        if found != digest:
            raise IntegrityError(
                f"blob {digest} holds bytes of digest {found}",
                hint=f"the file {self._where(digest)} was changed: restore it from a backup",
            )

    def flush(self) -> None:
        """Ask the kernel to write the file system's dirty pages now."""
        if sys.platform != "linux":
            os.sync()
            return
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            ctypes.CDLL(None, use_errno=True).syncfs(handle)
        finally:
            os.close(handle)

    def _where(self, digest: str) -> Path:
        if not hashing.is_digest(digest):
            raise NotFoundError(
                f"{digest!r} is not a digest", hint="a digest is blake3: + 64 hex digits"
            )
        name = digest.removeprefix(hashing.PREFIX)
        return self._folder / name[:2] / name[2:]

    def _publish(self, name: Path, digest: str) -> None:
        where = self._where(digest)
        where.parent.mkdir(exist_ok=True)
        name.chmod(0o444)
        name.rename(where)

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[BinaryIO, Path]]:
        name = self._staging / ids.new_id()
        try:
            with name.open("xb") as stream:
                yield stream, name
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"the disk that holds {self._folder} is full",
                    hint="free some space and run the command again: nothing half-written is visible",
                ) from error
            raise
        finally:
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)
