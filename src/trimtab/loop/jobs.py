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

from trimtab.loop import children
from trimtab.loop.project import Project
from trimtab.serve.process import started
from trimtab.store import operations
from trimtab.store.records import Action

MAX_ATTEMPTS: Final = 3
"""How often a job whose process died is started before a person is asked."""
_END_SECONDS: Final = 5.0


def launch(project: Project, action: Action) -> Action:
    """Start the job's process; its arguments are all that it is told."""
    ws = project.ws
    log = ws.root / "jobs" / f"{action.id}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output, _lock_file(project, action).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        children.start(
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
    said = f": {lines[-1]}" if lines else ""
    return f"the job died {action.result['attempts']} times{said}"


def _lock_file(project: Project, action: Action) -> Path:
    return project.ws.root / "jobs" / f"{action.id}.lock"
