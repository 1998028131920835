"""The thread that takes what this process spools into its store, and looks at the machine meanwhile.

One daemon thread for all runs of a process. It never holds what `log` waits for; where the store is
locked or full it tries again, and the spool keeps the points.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final, Protocol

from trimtab.errors import TrimtabError

SECONDS: Final = 0.5


class Tended(Protocol):
    """A run that is to be looked after."""

    def tend(self) -> None:
        """Take in what has arrived, and look at the machine."""
        ...


_lock = threading.Lock()
_runs: set[Tended] = set()
_thread: threading.Thread | None = None
_wake = threading.Event()


def add(run: Tended) -> None:
    """Take in what a run spools, from now on."""
    global _thread
    with _lock:
        _runs.add(run)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="trimtab-sender", daemon=True)
            _thread.start()


def remove(run: Tended) -> None:
    """The run has ended."""
    with _lock:
        _runs.discard(run)
    _wake.set()


def _work() -> None:
    global _thread
    here = os.getpid()
    while os.getpid() == here:
        _wake.wait(SECONDS)
        _wake.clear()
        with _lock:
            waiting = list(_runs)
            if not waiting:
                _thread = None
                return
        for run in waiting:
            with contextlib.suppress(TrimtabError, OSError):
                run.tend()
        del waiting


def _forget() -> None:
    """In a fork's child there is no such thread, and the runs are the parent's."""
    global _lock, _wake, _thread
    _lock, _wake, _thread = threading.Lock(), threading.Event(), None
    _runs.clear()


os.register_at_fork(after_in_child=_forget)
