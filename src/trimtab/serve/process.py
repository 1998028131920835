"""When a process began, so that a recycled pid is not taken for an endpoint that has died."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path


def started(pid: int) -> float:
    """A number that is the same for the whole life of a process, 0.0 where there is none.

    Seconds between boot and the process's start (proc(5), field 22), or where there is no /proc,
    the start as ps prints it; compare for equality only.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0.0 if Path("/proc/self/stat").exists() else _by_ps(pid)
    except ProcessLookupError:
        return 0.0
    # The second field is the command in brackets and may hold spaces.
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":
        return 0.0
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def alive(pid: int, pid_started: float) -> bool:
    """Whether the process that had this pid and start is still running."""
    return pid > 0 and pid_started > 0 and started(pid) == pid_started


def _by_ps(pid: int) -> float:
    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    line = done.stdout.strip()
    return time.mktime(time.strptime(line, "%a %b %d %H:%M:%S %Y")) if line else 0.0
