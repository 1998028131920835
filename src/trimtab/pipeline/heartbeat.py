"""A thread that says of the runs of this process, every few seconds, that they are still going on."""

from __future__ import annotations

import threading
from typing import Final, Self

from trimtab import ids
from trimtab.errors import TrimtabError
from trimtab.store import runs
from trimtab.store.workspace import Workspace

SECONDS: Final = 5.0


class Heartbeat:
    """Beats for the runs that were added, until it is left."""

    def __init__(self, ws: Workspace, seconds: float = SECONDS) -> None:
        self._ws = ws
        self._seconds = seconds
        self._runs: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def add(self, run: str) -> None:
        """Beat for a run."""
        self._runs.add(run)

    def remove(self, run: str) -> None:
        """Beat for it no more."""
        self._runs.discard(run)

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            for run in tuple(self._runs):
                try:
                    runs.update(self._ws, run, heartbeat_at=ids.now())
                except TrimtabError:
                    continue  # a missed beat: the next one says the same
