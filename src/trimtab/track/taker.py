"""Takes what this process and its forks have spooled for a run into the store."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Final

from trimtab import ids
from trimtab.errors import IntegrityError
from trimtab.store import runs
from trimtab.store.workspace import Workspace
from trimtab.track import merge, process, spool
from trimtab.track.frames import Reader

BEAT: Final = 10.0
"""Seconds between two heartbeats."""


class Taker:
    """Takes in the spools of one run, from wherever it was before."""

    def __init__(self, ws: Workspace, run: str) -> None:
        self.ws = ws
        self.run = run
        self._readers: dict[Path, Reader] = {}
        self._busy = threading.Lock()
        self._beaten = time.monotonic()

    def take(self, own: Path | None, *, left: list[Path], last: bool = False) -> None:
        """Take in this process's spool and those of its forks; `last` when the run has ended."""
        if not self._busy.acquire(blocking=False):
            # The thread may wait for the very transaction that this is called in.
            self._take({}, own, left, last=last)
            return
        try:
            self._take(self._readers, own, left, last=last)
        finally:
            self._busy.release()

    def beat(self) -> None:
        """Say every few seconds that the process is there."""
        if time.monotonic() - self._beaten > BEAT:
            self._beaten = time.monotonic()
            runs.update(self.ws, self.run, heartbeat_at=ids.now())

    def _take(
        self, readers: dict[Path, Reader], own: Path | None, left: list[Path], *, last: bool
    ) -> None:
        for path in spool.found(self.ws.root / merge.FOLDER, self.run):
            is_own = path == own or path in left
            with contextlib.suppress(FileNotFoundError, IntegrityError):
                reader = readers.get(path) or Reader(path)
                readers[path] = reader
                goes_on = not (is_own and last) and (is_own or self._lives(reader))
                if merge.take_in(self.ws, reader, self.ws.blobs, goes_on=goes_on)[1]:
                    readers.pop(path, None)

    def _lives(self, reader: Reader) -> bool:
        return process.is_alive(merge.row(reader.begin, seen_at=ids.now()))
