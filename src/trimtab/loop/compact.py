"""The prediction log's compaction as a job: `python -m trimtab.loop.compact PROJECT_FILE ENDPOINT`.

The controller begins it where enough has gathered and goes on; a job that is killed is begun again
by a later pass and loses nothing. `trimtab endpoints compact` does the same while a person waits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.deploy import local
from trimtab.errors import ConflictError, NotFoundError, TrimtabError
from trimtab.loop import children
from trimtab.loop.project import Project, open_project
from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor import observe
from trimtab.monitor.log import catalogue, compaction
from trimtab.monitor.log.compaction import Compacted
from trimtab.store import operations, states

LEAST_BYTES: Final = 8 << 20
"""Closed segments of this size together are compacted; of less, when the oldest is an hour old."""
_HOUR: Final = 3_600_000_000
_FEW: Final = {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "1")}


def compact(project: Project, endpoint: str) -> Compacted:
    """Compact what the monitor has passed of an endpoint's log and apply `[serve] keep`.

    Raises ConflictError where it is being done already, NotFoundError for an unknown endpoint.
    """
    ws, keep = project.ws, project.config.serve.keep
    operations.endpoint(ws, endpoint)

    def signed(model: str) -> Signature | None:
        try:
            return registry.signature_of(ws, model)
        except NotFoundError:  # its columns are then kept as they were logged
            return None

    with catalogue.open_catalogue(local.folder(ws, endpoint)) as index:
        passed = states.get(ws, observe.passed(endpoint)) or {}
        return compaction.compact(index, signed, passed, keep=duration(keep) if keep else 0)


def is_due(project: Project, endpoint: str) -> bool:
    """Whether there is enough to compact, or files that are older than `[serve] keep`."""
    ws, keep = project.ws, project.config.serve.keep
    with catalogue.open_catalogue(local.folder(ws, endpoint)) as index:
        passed = states.get(ws, observe.passed(endpoint)) or {}
        ready = compaction.ready(index, passed)
        if sum(one.size for one in ready) >= LEAST_BYTES:
            return True
        # A segment's name is an id: when it was begun, by the clock of those who wrote it.
        if ready and ids.made_at(ready[0].path.stem) < ids.now() - _HOUR:
            return True
        before = (ids.now() - duration(keep)) // catalogue.HOUR if keep else 0
        return catalogue.has_before(index, before)


def begin(project: Project, endpoint: str) -> bool:
    """Start the job where one is due; False where none was started.

    Two at once are one: the second finds the first at work and ends.
    """
    if not is_due(project, endpoint):
        return False
    log = project.ws.root / "jobs" / f"compact-{endpoint}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        children.start(_command(project, endpoint), output=output, cwd=project.folder, env=_FEW)
    return True


def wait(project: Project, endpoint: str) -> Compacted:
    """Do the job in a child, so that this process stays small; raises what the child raised."""
    done = subprocess.run(
        _command(project, endpoint),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=project.folder,
        env={**os.environ, **_FEW},
    )
    if done.returncode:
        kind = next(
            (one for one in (NotFoundError, ConflictError) if one.exit_code == done.returncode),
            TrimtabError,
        )
        raise kind(done.stderr.decode(errors="replace").strip() or "the compaction died")
    return msgspec.json.decode(done.stdout, type=Compacted)


def main(arguments: list[str]) -> int:
    """Do the job and write what was done as JSON; returns the exit code."""
    path, endpoint = arguments
    try:
        done = compact(open_project(Path(path).parent).applied(), endpoint)
    except TrimtabError as error:
        sys.stderr.write(error.message)
        return error.exit_code
    sys.stdout.buffer.write(msgspec.json.encode(done))
    return 0


def _command(project: Project, endpoint: str) -> list[str]:
    return [sys.executable, "-P", "-m", "trimtab.loop.compact", str(project.path), endpoint]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
