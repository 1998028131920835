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
from typing import BinaryIO, Final, Literal, Protocol

from trimtab import hashing, ids
from trimtab.errors import IntegrityError, NotFoundError, StorageError

Kind = Literal["blob", "tree"]
_CHUNK: Final = 1 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Blobs(Protocol):
    """A place for immutable bytes known by their digest.

    `put` and `put_file` are idempotent and return the digest; the bytes are visible whole or not
    at all. `kind` "tree" is for the nodes of `store.trees`, whose digests never meet those of other
    bytes. `read`, `path` and `size` raise NotFoundError for an unknown digest. `path` is a local
    read-only file. `verify` re-reads the bytes and raises IntegrityError where they are not those of
    the digest, as a blob or as a tree. `trimtab.testing.blobs.BlobsConformance` is the contract as
    tests.
    """

    def put(self, data: bytes, *, kind: Kind = "blob") -> str:
        """Store bytes; raises StorageError where the place refuses."""
        ...

    def put_file(self, path: Path) -> str:
        """Store a file's bytes; raises NotFoundError where there is no such file."""
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

    def again(self, digest: str) -> bool:
        """Whether the blob is here; it counts as stored now, so that no collection takes it meanwhile."""
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

    def remove(self, digest: str) -> None:
        """Take a blob away for good; one that is not here stays so."""
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

    def put(self, data: bytes, *, kind: Kind = "blob") -> str:
        """Store bytes; raises StorageError where the disk refuses."""
        digest = hashing.digest(kind, data)
        where = self._where(digest)
        if not _again(where):
            with self._staged() as name:
                _write(name, data)
                _publish(name, where)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes, hashed while they are copied."""
        state = hashing.hasher("blob")
        with _source(path) as source, self._staged() as name:
            with open(name, "xb", opener=_read_only) as stream:
                while chunk := _read(source, path):
                    state.update(chunk)
                    stream.write(chunk)
            # A file system may refuse the last bytes only now, at the end of the block.
            digest = hashing.text(state)
            where = self._where(digest)
            if not _again(where):
                _publish(name, where)
        return digest

    def read(self, digest: str) -> bytes:
        """A blob's bytes."""
        return self.path(digest).read_bytes()

    def path(self, digest: str) -> Path:
        """The file that holds a blob."""
        where = Path(self._where(digest))
        if not where.is_file():
            raise _missing(digest)
        return where

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return hashing.is_digest(digest) and os.path.isfile(self._where(digest))

    def again(self, digest: str) -> bool:
        """Whether the blob is here; it is dated anew."""
        return hashing.is_digest(digest) and _again(self._where(digest))

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        try:
            return os.stat(self._where(digest)).st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def digests(self) -> Iterator[str]:
        """Every digest here, in order; files that are not named by a digest are passed over."""
        for folder in sorted(self._folder.iterdir()):
            if not folder.is_dir():
                continue
            for file in sorted(folder.iterdir()):
                digest = f"{hashing.PREFIX}{folder.name}{file.name}"
                if len(folder.name) == 2 and hashing.is_digest(digest):
                    yield digest

    def verify(self, digest: str) -> None:
        """Re-read a blob; raises IntegrityError where its bytes are not those of its digest."""
        where = self.path(digest)
        try:
            found = hashing.file_digest(where)
            if found == digest or hashing.digest("tree", where.read_bytes()) == digest:
                return
        except OSError as error:
            raise IntegrityError(
                f"blob {digest} cannot be read: {error.strerror}",
                hint=f"the file {where} is on a failing disk: restore it from a backup",
            ) from error
        raise IntegrityError(
            f"blob {digest} holds bytes of digest {found}",
            hint=f"the file {where} was changed: restore it from a backup",
        )

    def remove(self, digest: str) -> None:
        """Take a blob away for good; one that is not here stays so."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._where(digest))

    def flush(self) -> None:
        """Ask the kernel to write the file system's dirty pages now; raises StorageError."""
        if sys.platform != "linux":
            os.sync()
            return
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            failed = ctypes.CDLL(None, use_errno=True).syncfs(handle)
        finally:
            os.close(handle)
        if failed:
            raise StorageError(f"{self._folder} could not be written to disk in full")

    def _where(self, digest: str) -> str:
        # Text, not a Path: this is asked for every step, and a Path costs more than the disk.
        if not hashing.is_digest(digest):
            raise NotFoundError(
                f"{digest!r} is not a digest", hint="a digest is blake3: + 64 hex digits"
            )
        name = digest.removeprefix(hashing.PREFIX)
        return f"{self._folder}{os.sep}{name[:2]}{os.sep}{name[2:]}"

    @contextlib.contextmanager
    def _staged(self) -> Iterator[str]:
        """A name to write under; what is still there in the end is removed."""
        name = f"{self._staging}{os.sep}{ids.new_id()}"
        try:
            yield name
        except StorageError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise StorageError(
                    f"the disk that holds {self._folder} is full",
                    hint="free some space and run the command again: nothing half-written is visible",
                ) from error
            raise StorageError(f"cannot write {self._folder}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name)


def _missing(digest: str) -> NotFoundError:
    return NotFoundError(
        f"the store has no blob {digest}", hint="`trimtab doctor` lists what is missing"
    )


def _read_only(name: str, flags: int) -> int:
    return os.open(name, flags, 0o444)


def _write(name: str, data: bytes) -> None:
    handle = _read_only(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _again(where: str) -> bool:
    """Whether a blob is here already; it is dated anew then, so that nobody sweeps it meanwhile."""
    try:
        os.utime(where)
    except FileNotFoundError:
        return False
    except OSError:  # another owner's file, or one that cannot be dated
        return os.path.isfile(where)
    return True


def _publish(name: str, where: str) -> None:
    try:
        os.rename(name, where)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(where), exist_ok=True)
        os.rename(name, where)


def _source(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _read(source: BinaryIO, path: Path) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
