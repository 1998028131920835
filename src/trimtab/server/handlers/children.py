"""Plan and run for callers that must not execute the project's code: a child process does it.

The child is the command line itself, so both ways give the same answer.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import msgspec

from trimtab import errors, ids
from trimtab.errors import TrimtabError
from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.server.answers import Planned, Submitted

_PLAN_SECONDS = 120


class _Failure(msgspec.Struct):
    code: str
    message: str
    hint: str = ""


class _Failed(msgspec.Struct):
    error: _Failure


def plan(project: Project, request: asked.Params) -> Planned:
    """What a run would do; raises what the child reports."""
    argv = _argv(project, "plan", request)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PLAN_SECONDS
    )
    if done.returncode:
        raise _error(done.stdout, done.stderr)
    return msgspec.json.decode(done.stdout, type=Planned)


def run(project: Project, request: asked.Params) -> Submitted:
    """Begin a run that outlives the server; what it says goes to a log file."""
    folder = project.ws.root / "logs"
    folder.mkdir(exist_ok=True)
    log = folder / f"run-{ids.new_id()}.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            _argv(project, "run", request),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    threading.Thread(target=child.wait, daemon=True).start()  # somebody must take its status
    return Submitted(pid=child.pid, log=str(log))


def _argv(project: Project, verb: str, request: asked.Params) -> list[str]:
    chosen = [f"{name}={_text(value)}" for name, value in request.params.items()]
    flags = [part for pair in chosen for part in ("-p", pair)]
    folder = str(project.folder)
    return [sys.executable, "-m", "trimtab", "-C", folder, verb, "--json", *flags]


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _error(stdout: bytes, stderr: bytes) -> TrimtabError:
    try:
        failure = msgspec.json.decode(stdout, type=_Failed).error
    except msgspec.MsgspecError:
        last = stderr.decode(errors="replace").strip().splitlines()[-1:]
        return TrimtabError("the plan could not be made", hint=" ".join(last))
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TrimtabError) and kind.code == failure.code:
            return kind(failure.message, hint=failure.hint)
    return TrimtabError(failure.message, hint=failure.hint)
