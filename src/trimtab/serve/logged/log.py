"""The prediction log of an endpoint: append-only segments, one writer each, any number of readers.

An append is one write before the answer leaves, so an answered request survives the death of the
process (not of the machine's power). A torn last frame is dropped by readers; a write that the
disk refuses leaves nothing visible behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import trimtab
from trimtab import ids
from trimtab.errors import IntegrityError, StorageError
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged.frame import Frame, Header

SUFFIX: Final = ".predictions"
SEGMENT_BYTES: Final = 64 << 20
READ_BYTES: Final = 8 << 20

Cursor = Mapping[str, int]


class Log:
    """The writing end; one per process, never shared between processes.

    A process begins a segment of its own at its first append, so a segment that a killed process
    left torn is never written again.
    """

    def __init__(self, folder: Path, endpoint: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.segment_bytes = segment_bytes
        self.written = 0
        self._file = -1
        self._begin = 0
        self._size = 0

    def append(self, frames: Sequence[Frame]) -> None:
        """Write frames as one batch: all of them are readable afterwards, or none.

        Raises StorageError where the disk takes less than all of it.
        """
        self.put(b"".join(map(bytes_of.pack, frames)))

    def put(self, data: bytes) -> None:
        """The same of the bytes of whole frames."""
        if (
            self._file >= 0
            and self._size + len(data) > self.segment_bytes
            and self._size > self._begin
        ):
            self.close()
        if self._file < 0:
            self._open()
        self._write(data)
        self.written += len(data)

    def close(self) -> None:
        """End the segment; the next append begins another."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        path = self.folder / f"{ids.new_id()}{SUFFIX}"
        header = Header(
            endpoint=self.endpoint,
            pid=os.getpid(),
            created_at=ids.now(),
            writer=trimtab.__version__,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o640)
        except OSError as error:
            raise _refused(error) from error
        self._size = 0
        try:
            self._write(bytes_of.pack_header(header))
        except StorageError:
            self.close()
            path.unlink(missing_ok=True)
            raise
        self._begin = self._size

    def _write(self, data: bytes) -> None:
        try:
            done = os.write(self._file, data)
            if done == len(data):
                self._size += done
                return
            error = OSError(f"{done} of {len(data)} bytes were written")
        except OSError as refused:
            error = refused
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self.close()  # what cannot be taken back stays a torn tail that nobody writes behind
        raise _refused(error) from error


def read(
    folder: Path, cursor: Cursor | None = None, *, max_bytes: int = READ_BYTES
) -> tuple[list[Frame], dict[str, int]]:
    """Frames after `cursor` (segment name -> offset) in the order of their segments, and the new one.

    Reads whole frames up to about `max_bytes`; call again until nothing comes back. A frame that is
    still being written, or was torn, stays unread. Segments that were removed leave the cursor.
    Raises IntegrityError naming the segment whose bytes were changed.
    """
    old = cursor or {}
    frames: list[Frame] = []
    new: dict[str, int] = {}
    for path in segments(folder):
        start = old.get(path.name, 0)
        new[path.name] = start
        waiting = path.stat().st_size - start
        if max_bytes > 0 and waiting > 0:
            found, new[path.name] = read_segment(path, start, max_bytes)
            frames += found
            # A segment left in the middle is finished before the next one begins.
            max_bytes = max_bytes - waiting if waiting < max_bytes else 0
    return frames, new


def read_all(folder: Path) -> Iterator[Frame]:
    """Every whole frame of a log, in the order of its segments."""
    cursor: dict[str, int] = {}
    while True:
        found, cursor = read(folder, cursor)
        if not found:
            return
        yield from found


def segments(folder: Path) -> list[Path]:
    """The segments of a log, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_segment(path: Path, start: int, max_bytes: int) -> tuple[list[Frame], int]:
    """Whole frames of one segment from `start`, up to about `max_bytes`, and where they end.

    Nothing moves where no whole frame follows. Raises IntegrityError, FileNotFoundError.
    """
    with path.open("rb") as stream:
        while True:
            stream.seek(start)
            data = stream.read(max_bytes)
            frames, place = _frames(data, start, path)
            if frames or len(data) < max_bytes:
                return frames, start + place
            max_bytes *= 2  # one frame is longer than the limit, and must be read whole


def _frames(data: bytes, start: int, path: Path) -> tuple[list[Frame], int]:
    frames: list[Frame] = []
    place = 0
    try:
        if start == 0:
            header = bytes_of.unpack_header(data)
            if header is None:
                return [], 0
            place = header[1]
        while (found := bytes_of.unpack(data, place)) is not None:
            frame, place = found
            frames.append(frame)
    except IntegrityError as error:
        raise IntegrityError(
            f"{path} at byte {start + place}: {error.message}", hint=error.hint
        ) from error
    return frames, place


def _refused(error: OSError) -> StorageError:
    said = error.strerror or str(error)
    return StorageError(
        f"the prediction log cannot be written: {said}",
        hint="make room on the disk; the endpoint answers again as soon as a write succeeds",
    )
