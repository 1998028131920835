"""What is to be scored: a file, the files of a folder, or the rows of a query; with a digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trimtab import hashing
from trimtab.data.reader import TABLES
from trimtab.deploy.batch.chunk import Source
from trimtab.deploy.batch.delimited import DelimitedSource
from trimtab.deploy.batch.documents import DocumentSource
from trimtab.deploy.batch.frames import FrameSource
from trimtab.errors import ConflictError, DataError, NotFoundError


@dataclass(frozen=True)
class Input:
    """The files in the order they are scored, and the digest of their names and bytes.

    `sizes` are those of the files as they were found, and `stamps` tell whether one was changed.
    """

    files: tuple[Source, ...]
    digest: str
    sizes: tuple[int, ...]
    stamps: tuple[tuple[int, int], ...]

    def check_unchanged(self) -> None:
        """Raises ConflictError where a file is not the one whose digest was taken."""
        for one, stamp in zip(self.files, self.stamps, strict=True):
            if not one.path.is_file() or _stamp(one.path) != stamp:
                raise ConflictError(
                    f"{one.name} was changed while it was scored", hint="run it again"
                )


def open_input(path: Path) -> Input:
    """A file, or every file of a known format directly in a folder, in the order of their names.

    Raises NotFoundError, DataError for an unknown format or an empty folder.
    """
    paths = _paths(path)
    stamps = tuple(_stamp(one) for one in paths)
    files = tuple(open_file(one, one.name) for one in paths)
    digest = hashing.object_digest("key", [[p.name, hashing.file_digest(p)] for p in paths])
    # A file that grows while it is read must not make the work endless: its size is kept now.
    sizes = tuple(one.size for one in files)
    return Input(files=files, digest=digest, sizes=sizes, stamps=stamps)


def open_file(path: Path, name: str) -> Source:
    """One file by its suffix; raises DataError."""
    form = format_of(name)
    if form == "csv":
        return DelimitedSource(path, name)
    if form == "ndjson":
        return DocumentSource(path, name)
    return FrameSource(path, name, form)


def format_of(name: str) -> str:
    """The format that a name's suffix stands for: one of `TABLES`; raises DataError."""
    found = TABLES.get(Path(name).suffix.lower())
    if found is None:
        raise DataError(
            f"{name} is of no format that is read or written",
            hint=f"known suffixes: {', '.join(TABLES)}",
        )
    return found


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFoundError(f"there is no file or folder {path}")
    found = [
        one
        for one in path.iterdir()
        if one.is_file() and one.suffix.lower() in TABLES and not one.name.startswith((".", "_"))
    ]
    if not found:
        raise DataError(
            f"{path} holds no file of a known format", hint=f"known: {', '.join(TABLES)}"
        )
    return sorted(found, key=lambda one: one.name.encode())


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
