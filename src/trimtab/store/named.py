"""Which blobs anything in the store still names: the marks of a collection.

Every text of every table is searched for digests, and so are the small files beside the database;
what is found is followed through trees. So a blob stays whoever names it, also in a way that this
module has not heard of. Rows that are about to go are left out by the caller.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from trimtab.errors import IntegrityError, NotFoundError
from trimtab.store import tables, trees
from trimtab.store.blobs import Blobs
from trimtab.store.workspace import Workspace

Leaves = Callable[[str, Any], bool]
"""Whether a row of a table, by the table's name, does not count."""
_DIGEST: Final = re.compile(rb"blake3:[0-9a-f]{64}")
_NUMBERS: Final = frozenset(
    {"metric_batches", "metric_chunks", "metric_marks", "leases", "changes"}
)
_FOLDERS: Final = frozenset({"blobs", "tmp", "cache", "models", "logs"})
_NO_NAMES: Final = frozenset({".parquet", ".predictions", ".log"})
_CHUNK: Final = 1 << 20
_LENGTH: Final = 71
"""Characters of a digest."""
_TEXT: Final = 1 << 20
"""Blobs of at most so many bytes are searched for digests too: a record may be one."""


class Marks:
    """What is named, found again and again: a tree is read once, because it never changes."""

    def __init__(self, ws: Workspace, without: Collection[Path] = ()) -> None:
        """`without` are files that are to go."""
        self._ws = ws
        self._without = frozenset(without)
        self._children: dict[str, tuple[str, ...]] = {}

    def all(self, leaves: Leaves) -> set[str]:
        """Every digest that a row or a file names, and all that is in the trees among them."""
        found: set[str] = set()
        ahead = [
            *digests_of_rows(self._ws, leaves),
            *digests_of_files(self._ws.root, self._without),
        ]
        self._follow(ahead, found)
        return found

    def below(self, digests: Iterable[str]) -> set[str]:
        """The digests and all that is in the trees among them."""
        found: set[str] = set()
        self._follow(list(digests), found)
        return found

    def _follow(self, ahead: list[str], found: set[str]) -> None:
        while ahead:
            digest = ahead.pop()
            if digest in found:
                continue
            found.add(digest)
            if digest not in self._children:
                self._children[digest] = _inside(self._ws.blobs, digest)
            ahead.extend(self._children[digest])


def digests_of_rows(ws: Workspace, leaves: Leaves) -> set[str]:
    """The digests in the texts of all tables, of every project of the store."""
    found: set[str] = set()
    with ws.reading() as db:
        for table in tables.metadata.sorted_tables:
            if table.name in _NUMBERS:
                continue
            columns = [sa.type_coerce(one, sa.Text).label(one.name) for one in table.columns]
            for row in db.execute(sa.select(*columns)):
                texts = [str(value) for value in row if value is not None]
                named = [match for text in texts for match in _DIGEST.findall(text.encode())]
                if named and not leaves(table.name, row):
                    found.update(digest.decode() for digest in named)
    return found


def digests_of_files(root: Path, without: Collection[Path] = ()) -> set[str]:
    """The digests in the files of a workspace that are no blobs: endpoints, spools."""
    found: set[str] = set()
    for path in _files(root):
        if path in without:
            continue
        tail = b""
        with contextlib.suppress(OSError), path.open("rb") as stream:
            while data := stream.read(_CHUNK):
                found.update(digest.decode() for digest in _DIGEST.findall(tail + data))
                tail = (tail + data)[1 - _LENGTH :]
    return found


def _files(root: Path) -> Iterator[Path]:
    for item in root.iterdir():
        if item.is_dir() and item.name not in _FOLDERS:
            # a folder that goes meanwhile is passed over, which `rglob` does not do
            for folder, _, names in os.walk(item):
                inner = (Path(folder, name) for name in names)
                yield from (one for one in inner if one.suffix not in _NO_NAMES and one.is_file())
        elif item.is_file() and not item.name.startswith("store.db"):
            yield item


def _inside(blobs: Blobs, digest: str) -> tuple[str, ...]:
    """What a blob names: the entries of a tree, or the digests in a small file."""
    try:
        if trees.is_tree(blobs, digest):
            return tuple(entry.digest for entry in trees.entries(blobs, digest))
        if blobs.size(digest) <= _TEXT:
            return tuple(one.decode() for one in set(_DIGEST.findall(blobs.read(digest))))
    except (IntegrityError, NotFoundError):
        pass  # the doctor says so
    return ()
