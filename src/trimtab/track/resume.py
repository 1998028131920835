"""An earlier run that is taken up again, or one that goes on elsewhere and is joined."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import sqlalchemy as sa

from trimtab.errors import ConflictError
from trimtab.store import params as set_once
from trimtab.store import runs
from trimtab.store.records import Run
from trimtab.store.series import reading
from trimtab.store.workspace import Workspace
from trimtab.track import merge, process


def taken_up(ws: Workspace, run: Run) -> tuple[Run, bool, dict[str, int]]:
    """The run of that id as it goes on, whether this process ends it, and the next step of each
    series; where there is no such run yet, it begins.

    Parameters stay as they were first set, which is said on stderr where another value was given;
    new ones are added, tags are replaced.
    """
    merge.leftovers(ws, process.is_alive)
    known, is_joined = None, False
    while known is None:
        with ws.transaction() as tx:  # others that take it up at this moment add to the same row
            known, is_joined = _goes_on(tx, ws, run)
        if known is None:
            try:
                runs.record(ws, run)
            except ConflictError:  # another process began it meanwhile
                continue
            return run, True, {}
    for name in set_once.changed(known.params, run.params):
        print(  # noqa: T201 - whoever looks at the run would think that the new value was used
            f"trimtab: run {known.name}: parameter {name!r} stays {known.params[name]!r}, "
            f"{run.params[name]!r} is left out: a parameter is set once",
            file=sys.stderr,
        )
    steps = {key: step + 1 for key, (step, _, _) in reading.latest(ws, run.id).items()}
    return known, not is_joined, steps


def _goes_on(tx: sa.Connection, ws: Workspace, run: Run) -> tuple[Run | None, bool]:
    """The run with what is new, and whether a live process is at it; None where there is none."""
    known = runs.held(tx, ws, run.id)
    if known is None:
        return None, False
    is_joined = known.status == "running" and process.is_alive(known)
    fields: dict[str, Any] = {
        "params": {**run.params, **known.params},
        "tags": {**known.tags, **run.tags},
    }
    if is_joined:
        fields["tags"][process.TAG] = known.tags.get(process.TAG)
    else:
        fields |= {
            "status": "running",
            "pid": run.pid,
            "ended_at": 0,
            "error": None,
            "heartbeat_at": run.heartbeat_at,
        }
    runs.update(ws, run.id, **fields)
    return msgspec.structs.replace(known, **fields), is_joined
