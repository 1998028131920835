"""An earlier run that is taken up again, or one that goes on elsewhere and is joined."""

from __future__ import annotations

import msgspec

from trimtab.errors import NotFoundError
from trimtab.store import runs
from trimtab.store.records import Run
from trimtab.store.series import reading
from trimtab.store.workspace import Workspace
from trimtab.track import merge, process


def taken_up(ws: Workspace, run: Run) -> tuple[Run | None, bool, dict[str, int] | None]:
    """The run of that id as it goes on, whether this process ends it, and the next step of each
    series; None where there is no such run yet.

    Parameters stay as they were first set, new ones are added; tags are replaced.
    """
    merge.leftovers(ws, process.is_alive)
    try:
        known = runs.get(ws, run.id)
    except NotFoundError:
        return None, True, None
    steps = {key: step + 1 for key, (step, _, _) in reading.latest(ws, run.id).items()}
    is_joined = known.status == "running" and process.is_alive(known)
    fields = {"params": {**run.params, **known.params}, "tags": {**known.tags, **run.tags}}
    if is_joined:
        fields["tags"][process.TAG] = known.tags.get(process.TAG)
        runs.update(ws, run.id, **fields)
        return msgspec.structs.replace(known, **fields), False, steps
    goes_on = {
        **fields,
        "status": "running",
        "pid": run.pid,
        "ended_at": 0,
        "error": None,
        "heartbeat_at": run.heartbeat_at,
    }
    runs.update(ws, run.id, **goes_on)
    return msgspec.structs.replace(known, **goes_on), True, steps
