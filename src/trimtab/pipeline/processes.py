"""The executor that gives each job a process: started anew, never forked from this one.

A job's folder `.trimtab/jobs/ID/` holds `job.json`, `log.txt` and, when it is over, `result.json`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

import trimtab
from trimtab.errors import NotFoundError, PipelineError
from trimtab.pipeline.job import Job, State
from trimtab.pipeline.session import Session
from trimtab.store import runs

JOB: Final = "job.json"
RESULT: Final = "result.json"
LOG: Final = "log.txt"
_GRACE: Final = 5.0


class Processes:
    """Runs jobs by `python -m trimtab.pipeline.worker`, as many at once as there are CPUs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._folder = session.ws.root / "jobs"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._states: dict[str, State] = {}
        self.slots = (
            len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        )

    def submit(self, job: Job) -> str:
        """Start the job's process."""
        folder = self._folder / job.id
        folder.mkdir(parents=True)
        path = folder / JOB
        argv = (sys.executable, "-m", "trimtab.pipeline.worker", str(path))
        try:
            path.write_bytes(msgspec.json.encode(msgspec.structs.replace(job, argv=argv)))
        except TypeError as error:
            raise PipelineError(
                f"a parameter of flow {job.flow} is not JSON-able: {error}",
                hint="give run parameters that are numbers, text, lists and dicts",
            ) from error
        with (folder / LOG).open("wb") as log:
            self._running[job.id] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=job.project_dir,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the driver's to pass on
            )
        return job.id

    def poll(self, handles: Sequence[str]) -> dict[str, State]:
        """How jobs stand."""
        return {handle: self._poll(handle) for handle in handles}

    def cancel(self, handle: str) -> None:
        """Ask the process to stop, then make it."""
        if self._poll(handle).is_over:
            return
        process = self._running[handle]
        _signal(process, signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
        runs.finish(self._session.ws, handle, "cancelled")
        self._states[handle] = State(status="cancelled", run=handle)

    def logs(self, handle: str) -> str:
        """What the process printed so far."""
        path = self._folder / handle / LOG
        if handle not in self._running or not path.exists():
            raise NotFoundError(f"there is no job {handle}")
        return path.read_text(encoding="utf-8", errors="replace")

    def failure(self, handle: str) -> BaseException | None:
        """None: it happened in another process."""
        return None

    def close(self) -> None:
        """Remove the folders of jobs that are over."""
        for handle in self._states:
            shutil.rmtree(self._folder / handle, ignore_errors=True)

    def _poll(self, handle: str) -> State:
        if handle in self._states:
            return self._states[handle]
        process = self._running.get(handle)
        if process is None:
            raise NotFoundError(f"there is no job {handle}")
        if process.poll() is None:
            return State(status="running", run=handle)
        self._states[handle] = self._result(handle, process.returncode)
        return self._states[handle]

    def _result(self, handle: str, code: int) -> State:
        path = self._folder / handle / RESULT
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=State)
        last = self.logs(handle).strip()[-2000:]
        error = {
            "type": "Died",
            "message": f"its process ended with {_ending(code)} and left no result",
            "hint": "out of memory is a common reason" if code == -signal.SIGKILL else "",
            "traceback": last,
        }
        runs.finish(self._session.ws, handle, "failed", error=error)
        return State(status="failed", run=handle, error=error)


def _environment() -> dict[str, str]:
    """This environment, with the folder that trimtab is imported from on the path."""
    home = str(Path(trimtab.__file__).parents[1])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
