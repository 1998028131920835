"""Which process does a run, whether it is still there, and how much memory it took.

A run whose process is gone is over, whatever its row says. On the same machine that is certain (pid
and start time); of another machine only its heartbeat is known.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trimtab import ids
from trimtab.store.records import Run

if TYPE_CHECKING:  # a machine that only writes spools has no database
    from trimtab.store.workspace import Workspace

TAG: Final = "process"
SILENCE: Final = 60_000_000  # microseconds without a heartbeat before another machine is given up


def mark() -> dict[str, Any]:
    """This process, to be stored under the tag `TAG` of a run that it does."""
    return {"host": _host(), "started": _own_start(os.getpid())}


def is_alive(run: Run) -> bool:
    """Whether the process of a running run is still there."""
    if not run.pid:  # logged from elsewhere, by a process that nobody named
        return True
    about = run.tags.get(TAG) or {}
    if about.get("host", _host()) != _host():
        return ids.now() - run.heartbeat_at < SILENCE
    now = started(run.pid)
    return now is not None and about.get("started", now) == now


def reap(ws: Workspace) -> list[Run]:
    """Mark runs whose process is gone as failed, with all that they had logged, and return them."""
    # The database and numpy: this module is also used where only spools are written.
    from trimtab.store import outside, runs  # noqa: PLC0415
    from trimtab.track import merge  # noqa: PLC0415

    dead = [run for run in runs.find(ws, status="running", limit=10_000) if not is_alive(run)]
    merge.leftovers(ws, is_alive)
    for run in dead:
        with ws.transaction():
            runs.finish(ws, run.id, "failed", error=merge.died(run.pid))
            outside.note_run(ws, run.id)
    return dead


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def started(pid: int) -> str | None:
    """A mark of when the process began, which no later process with its pid shares; None if gone."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # from field 3 on, see proc_pid_stat(5)
    return None if fields[0] in "ZX" else fields[19]


@lru_cache(1)
def _own_start(pid: int) -> str | None:
    return started(pid)


@lru_cache(1)
def _host() -> str:
    return socket.gethostname()
