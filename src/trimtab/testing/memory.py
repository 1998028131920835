"""Ports kept in memory, for tests that want no disk."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from trimtab import hashing
from trimtab.errors import IntegrityError, NotFoundError, StorageError
from trimtab.store.blobs import Kind


class MemoryBlobs:
    """Blobs in a dictionary; a file is made only for whoever asks for a path."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="trimtab-blobs-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def put(self, data: bytes, *, kind: Kind = "blob") -> str:
        """Store bytes."""
        digest = hashing.digest(kind, data)
        self._data.setdefault(digest, bytes(data))
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes."""
        try:
            return self.put(path.read_bytes())
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {path}") from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def read(self, digest: str) -> bytes:
        """A blob's bytes."""
        try:
            return self._data[digest]
        except KeyError:
            raise NotFoundError(f"there is no blob {digest}") from None

    def path(self, digest: str) -> Path:
        """A file with the blob's bytes, there until the port is closed."""
        data = self.read(digest)
        file = self._folder / digest.removeprefix(hashing.PREFIX)
        if not file.exists():
            file.write_bytes(data)
            file.chmod(0o444)
        return file

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return digest in self._data

    def again(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self.has(digest)

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        return len(self.read(digest))

    def digests(self) -> Iterator[str]:
        """Every digest here, in order."""
        return iter(sorted(self._data))

    def verify(self, digest: str) -> None:
        """Hash a blob again."""
        data = self.read(digest)
        if digest not in (hashing.digest("blob", data), hashing.digest("tree", data)):
            raise IntegrityError(f"blob {digest} holds other bytes")

    def remove(self, digest: str) -> None:
        """Take a blob away."""
        if self._data.pop(digest, None) is not None:
            (self._folder / digest.removeprefix(hashing.PREFIX)).unlink(missing_ok=True)

    def flush(self) -> None:
        """Nothing: memory survives no loss of power."""

    def close(self) -> None:
        """Remove the files that were made."""
        self._remove()
