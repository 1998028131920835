"""Endings of local endpoints: from answering to refusing, and from refusing to a free port.

`retire.json` says what is wanted; everything here may be done again and again and ends in the same
state, whichever process of it was killed before.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import ConflictError, TrimtabError
from trimtab.serve import notice, tombstone
from trimtab.serve.folder import read_state
from trimtab.serve.notice import Notice
from trimtab.serve.process import alive, started
from trimtab.store import operations
from trimtab.store.records import Endpoint
from trimtab.store.workspace import Workspace

GONE: Final = "gone"
RETIRED: Final = "retired"
ENDED: Final = (GONE, RETIRED)
_TURN_SECONDS: Final = 20.0
_START_SECONDS: Final = 15.0


def announce(ws: Workspace, told: Notice) -> None:
    """Let an endpoint tell its clients, running or not."""
    place = local.folder(ws, told.name)
    place.mkdir(parents=True, exist_ok=True)
    notice.write(place, told)


def bury(ws: Workspace, told: Notice) -> Endpoint:
    """Have an endpoint's requests refused from now on; its process answers what it had begun.

    The process that serves becomes the one that refuses; where none runs, one is started on its
    port. Raises ConflictError where the port is somebody else's by now.
    """
    announce(ws, told)
    place, row = local.folder(ws, told.name), operations.endpoint(ws, told.name)
    if _refuses(place):
        return _adopt(ws, told.name)
    state = read_state(place)
    for pid, since in {
        (row.pid, row.pid_started),
        *([(state.pid, state.pid_started)] if state else []),
    }:
        if alive(pid, since) and _turns(place, pid, since):
            return _adopt(ws, told.name)
        local.end(pid, since)
    port = row.port or (state.port if state else 0)
    if not port:  # it never answered anybody
        return _save(ws, msgspec.structs.replace(row, state=GONE, pid=0))
    return _launch(ws, place, row, port)


def stop(ws: Workspace, name: str) -> Endpoint:
    """End the refusals: the port is free afterwards."""
    place, row = local.folder(ws, name), operations.endpoint(ws, name)
    state = read_state(place)
    local.end(row.pid, row.pid_started)
    if state is not None:
        local.end(state.pid, state.pid_started)
    return _save(ws, msgspec.structs.replace(row, state=RETIRED, pid=0, pid_started=0.0))


def is_refusing(ws: Workspace, name: str) -> bool:
    """Whether a process refuses for this endpoint."""
    return _refuses(local.folder(ws, name))


def refused(ws: Workspace, name: str) -> int:
    """How many requests were refused so far, to five seconds."""
    state = read_state(local.folder(ws, name))
    return state.refused if state else 0


def memory(pid: int) -> int:
    """The proportional set size of a process and its children in bytes (proc(5)).

    0 where it cannot be read.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(found[0]) * 1024 + sum(memory(int(one)) for one in children) if found else 0


def _refuses(place: Path) -> bool:
    state = read_state(place)
    return state is not None and state.gone and alive(state.pid, state.pid_started)


def _turns(place: Path, pid: int, since: float) -> bool:
    """Wait until the process that serves has become the one that refuses."""
    until = time.monotonic() + _TURN_SECONDS
    while time.monotonic() < until and alive(pid, since):
        if _refuses(place):
            return True
        time.sleep(0.02)
    return _refuses(place)


def _adopt(ws: Workspace, name: str) -> Endpoint:
    state = read_state(local.folder(ws, name))
    row = operations.endpoint(ws, name)
    if state is None:
        return row
    new = msgspec.structs.replace(
        row, state=GONE, pid=state.pid, pid_started=state.pid_started, host=state.host,
        port=state.port,
    )  # fmt: skip
    return new if new == row else _save(ws, new)


def _launch(ws: Workspace, place: Path, row: Endpoint, port: int) -> Endpoint:
    with (place / "endpoint.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", tombstone.MODULE, str(place), f"{row.host}:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=place,
        )
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if _refuses(place):
            return _adopt(ws, row.name)
        code = process.poll()
        if code is not None:
            _save(ws, msgspec.structs.replace(row, state=GONE, pid=0))
            if code == ConflictError.exit_code:
                raise ConflictError(
                    f"port {port} is another process's by now: nobody is told that {row.name} is gone"
                )
            raise TrimtabError(f"what refuses for {row.name} ended with code {code} as it started")
        time.sleep(0.02)
    local.end(process.pid, started(process.pid))
    raise TrimtabError(f"what refuses for {row.name} was not ready after {_START_SECONDS:.0f} s")


def _save(ws: Workspace, row: Endpoint) -> Endpoint:
    row = msgspec.structs.replace(row, updated_at=ids.now())
    operations.save_endpoint(ws, row)
    return row
