"""Actions that are done in a process of their own: begun, looked after, ended.

An action's row is everything its job is told and where it says how it ended. A job holds a lock on a
file of its own, so whether it lives is known even where the pass that began it died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from trimtab import ids
from trimtab.config import duration
from trimtab.loop import children
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.serve.process import started
from trimtab.store import operations
from trimtab.store.records import Action

MAX_ATTEMPTS: Final = 3
"""How often a job that died or whose flow failed is started before a person is asked."""
_FIRST_WAIT: Final = 60_000_000
_END_SECONDS: Final = 5.0


def launch(project: Project, action: Action) -> Action:
    """Start the job's process; its arguments are all that it is told."""
    ws = project.ws
    log = ws.root / "jobs" / f"{action.id}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output, _lock_file(project, action).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pid = children.start(
            [sys.executable, "-P", "-m", "trimtab.loop.job", str(project.path), action.id],
            output=output,
            cwd=project.folder,
            env={
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
                "PYTHONUNBUFFERED": "1",
            },
            pass_fds=(lock.fileno(),),
        )
    with ws.transaction():
        # The job may have said already how it ended.
        now = next(one for one in operations.actions(ws, kind=action.kind) if one.id == action.id)
        operations.update_action(
            ws,
            action.id,
            "running" if now.state == "planned" else now.state,
            attempts=now.result.get("attempts", 0) + 1,
            log=str(log.relative_to(project.folder)),
            pid=pid,
            pid_started=started(pid),
        )
    return action


def at_work(project: Project, action: Action) -> bool:
    """Whether a process of the job lives."""
    path = _lock_file(project, action)
    if not path.exists():
        return False
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def look_after(project: Project, action: Action, limit: str, notes: Notes) -> int:
    """See to a job that has not ended: 1 while it is at work or will be, 0 where it was given up.

    `limit` is how long it may be at work, such as "6h". One that died is begun again, one whose flow
    failed after a wait that doubles, and none more than `MAX_ATTEMPTS` times.
    """
    name = str(action.cause.get("trigger", "retraining"))
    if at_work(project, action):
        if _seconds(action) * 1e6 <= duration(limit):
            notes.waiting.append(f"{name} at work since {ids.iso(action.updated_at)}")
            return 1
        stop(project, action)
        said = f"it was at work for longer than {limit} (timeout) and was stopped"
        operations.update_action(project.ws, action.id, "failed", reason=said)
        return 0
    if action.result.get("attempts", 0) >= MAX_ATTEMPTS:
        operations.update_action(project.ws, action.id, "failed", reason=died(project, action))
        return 0
    left = wait(action) - (ids.now() - int(action.result.get("failed_at", 0)))
    # A clock that was set back may make a wait longer, but never longer than it was to be.
    if 0 < left <= wait(action):
        notes.waiting.append(f"{name} failed: {_tried(action)}; again in {left // 1_000_000} s")
        return 1
    notes.acted.append(launch(project, action))
    return 1


def wait(action: Action) -> int:
    """How long a job whose flow failed waits for its next attempt, in microseconds; doubles."""
    if not action.result.get("failed_at"):
        return 0
    return _FIRST_WAIT << max(int(action.result.get("attempts", 1)) - 1, 0)


def _tried(action: Action) -> str:
    return f"{action.result.get('reason', '')} (attempt {action.result.get('attempts', 1)})"


def _seconds(action: Action) -> float:
    """How long a job's process has lived; by the machine's own count, so no set clock changes it."""
    since = float(action.result.get("pid_started", 0.0))
    if since and hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - since
    return max(ids.now() - action.updated_at, 0) / 1e6


def stop(project: Project, action: Action) -> None:
    """End the job's process and what it started; what it has finished stays cached."""
    pid, since = action.result.get("pid", 0), action.result.get("pid_started", 0.0)
    for what in (signal.SIGTERM, signal.SIGKILL):
        if not pid or started(pid) != since:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, what)
        end = time.monotonic() + _END_SECONDS
        while at_work(project, action) and time.monotonic() < end:
            time.sleep(0.02)


def died(project: Project, action: Action) -> str:
    """Why a job is given up, with the last line that it said."""
    log = project.folder / action.result.get("log", "")
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    if action.result.get("failed_at"):
        return f"it failed {action.result['attempts']} times: {action.result['reason']}"
    said = f": {lines[-1]}" if lines else ""
    return f"the job died {action.result['attempts']} times{said}"


def _lock_file(project: Project, action: Action) -> Path:
    return project.ws.root / "jobs" / f"{action.id}.lock"
