"""What of a batch job is done: a header that says of what, and one line per finished chunk.

A line is appended only when its part is whole on disk, so a job that was killed goes on behind the
last line. A torn last line is dropped. docs/serving.md describes the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from trimtab import hashing
from trimtab.deploy.batch.chunk import Place
from trimtab.errors import ConflictError

FORMAT: Final = 1
FILE: Final = "manifest.jsonl"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts are of: they are of no use to a job whose header differs."""

    input: str
    model: str
    label: str
    form: str
    keep: tuple[str, ...]
    invalid: dict[str, str] = {}
    format: int = FORMAT


class Done(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished chunk: of file number `file`, up to `place`; `digest` is of its part.

    `rows` were read, `scored` of them are in the part, and `unseen` counts categories that training
    did not see.
    """

    part: str
    digest: str
    file: int
    place: Place
    rows: int
    scored: int
    broken: str = ""
    broken_digest: str = ""
    unseen: dict[str, int] = {}


class Manifest:
    """The folder of an unfinished output; use `held`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[Done] = []

    def resume(self, header: Header) -> bool:
        """Take up finished chunks of the same job; whatever else is there is thrown away."""
        known = self._read(header)
        if known is None:
            for one in self.folder.iterdir():
                if one.name != "lock" and not one.name.startswith("query."):
                    shutil.rmtree(one) if one.is_dir() else one.unlink()
            self._write([msgspec.json.encode(header)])
            return False
        self.done = known
        # The file is written anew: lines behind a damaged part must not come back.
        self._write([msgspec.json.encode(header), *(msgspec.json.encode(one) for one in known)])
        return bool(known)

    def add(self, done: Done) -> None:
        """A chunk is finished."""
        with (self.folder / FILE).open("ab") as stream:
            stream.write(msgspec.json.encode(done) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.done.append(done)

    def _read(self, header: Header) -> list[Done] | None:
        try:
            lines = (self.folder / FILE).read_bytes().split(b"\n")[:-1]
            if not lines or msgspec.json.decode(lines[0], type=Header) != header:
                return None
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        found: list[Done] = []
        for line in lines[1:]:
            try:
                one = msgspec.json.decode(line, type=Done)
            except msgspec.MsgspecError:
                break
            if not (
                self._whole(one.part, one.digest) and self._whole(one.broken, one.broken_digest)
            ):
                break
            found.append(one)
        return found

    def _whole(self, name: str, digest: str) -> bool:
        path = self.folder / name
        return not name or (path.is_file() and hashing.file_digest(path) == digest)

    def _write(self, lines: list[bytes]) -> None:
        staged = self.folder / f".{FILE}"
        staged.write_bytes(b"".join(line + b"\n" for line in lines))
        staged.replace(self.folder / FILE)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Manifest]:
    """The folder, held by this process alone; raises ConflictError."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink == 0:  # another has just finished and taken it away
                raise BlockingIOError
        except OSError:
            raise ConflictError(
                f"another process is writing {folder.name.removesuffix('.parts').lstrip('.')}",
                hint="wait for it, or choose another output",
            ) from None
        yield Manifest(folder)
    finally:
        os.close(handle)
