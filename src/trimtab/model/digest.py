"""The digest of a package folder without a store: what a serving machine checks before it loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trimtab import hashing
from trimtab.errors import IntegrityError, NotFoundError
from trimtab.store import trees
from trimtab.store.blobs import Kind


def folder_digest(folder: Path) -> str:
    """The tree digest that `store.trees.put_folder` gives this folder; raises NotFoundError."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no model package at {folder}")
    return trees.put_folder(_Digesting(), folder)


def check_digest(folder: Path, expected: str) -> None:
    """Raises IntegrityError unless the folder's tree digest is `expected`."""
    found = folder_digest(folder)
    if found != expected:
        raise IntegrityError(
            f"the model package at {folder} has digest {found}, not {expected}",
            hint="its files were changed: delete that folder and deploy again, or copy it anew",
        )


class _Digesting:
    """Blobs that keep nothing but the small nodes that a tree is made of."""

    def __init__(self) -> None:
        self._nodes: dict[str, bytes] = {}

    def put(self, data: bytes, *, kind: Kind = "blob") -> str:
        name = hashing.digest(kind, data)
        self._nodes[name] = data
        return name

    def put_file(self, path: Path) -> str:
        return hashing.file_digest(path)

    def read(self, digest: str) -> bytes:
        return self._nodes[digest]

    def path(self, digest: str) -> Path:
        raise NotFoundError(f"{digest} is not kept here")

    def has(self, digest: str) -> bool:
        return digest in self._nodes

    def again(self, digest: str) -> bool:
        return self.has(digest)

    def size(self, digest: str) -> int:
        return len(self._nodes[digest])

    def digests(self) -> Iterator[str]:
        return iter(self._nodes)

    def verify(self, digest: str) -> None:
        raise NotFoundError(f"{digest} is not kept here")

    def remove(self, digest: str) -> None:
        self._nodes.pop(digest, None)

    def flush(self) -> None:
        """Nothing is kept, nothing is to flush."""
