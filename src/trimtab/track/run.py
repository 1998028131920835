"""Runs from Python: `with start_run("fit") as run: run.log({"loss": 0.3})`, or without a block.

A run's row is there when `start_run` returns, its points at the latest a second after `log`, its end
and its error when the block is left, `finish` is called or the interpreter exits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trimtab import config, ids
from trimtab.errors import UsageError
from trimtab.store.records import Run
from trimtab.track import environment, git, homes, process
from trimtab.track.active import ActiveRun as ActiveRun  # noqa: PLC0414 - it is this module's noun
from trimtab.track.active import active, as_data, watch_exit
from trimtab.track.homes import SpoolHome, StoreHome

if TYPE_CHECKING:  # a machine that only writes spools has no database
    from trimtab.store.workspace import Workspace

__all__ = ["ActiveRun", "active", "as_data", "log", "start_run"]
_MOST_DIFF: Final = 10 << 20
SYSTEM: Final = 15.0
"""Seconds between two looks at the machine."""


def start_run(  # noqa: PLR0913 - each is a thing that a run is begun with
    name: str = "run",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    *,
    id: str = "",  # noqa: A002 - what everybody calls it
    kind: str = "run",
    parent: str = "",
    cause: Mapping[str, Any] | None = None,
    key: str = "",
    ws: Workspace | None = None,
    capture: bool = True,
    output: bool = False,
    offline: bool | str | Path | None = None,
    system: float = SYSTEM,
    spool: bool = True,
) -> ActiveRun:
    """Begin a run. As a block it ends with it: "failed" on an exception, "cancelled" on Ctrl-C;
    else with `finish()`, or when the interpreter exits.

    Inside of another run it is nested below it. `id` takes an earlier run up again; one that goes on
    in another process is joined, and that process ends it. `capture` notes the git state with its
    uncommitted changes and the environment lock, `output` what is printed, `system` every how many
    seconds the machine is looked at (0: never). `offline` (a folder, or True) and the variable
    TRIMTAB_SPOOL write to a folder that `trimtab runs sync` takes in; `spool=False` puts the points
    straight into the store. Without `ws` it goes to the project that the working directory lies in.

    Raises NotFoundError where there is no project, UsageError for an id that is none.
    """
    outer = active.get()
    home = _home(outer, ws, offline)
    folder = home.ws.project_dir if isinstance(home, StoreHome) else Path.cwd()
    if id and not ids.is_id(id):
        raise UsageError(f"{id!r} is no id of a run: 32 lower-case hex digits")
    found = git.state(folder) if capture else None
    noted: dict[str, Any] = {process.TAG: process.mark()}
    if found is not None:
        noted["git"] = msgspec.to_builtins(found)
    above = parent or (outer.id if outer and _same(outer, home) else "")
    now = ids.now()
    run = Run(
        id=id or ids.new_id(),
        kind=kind,
        name=name,
        params=homes.plain(params or {}),
        tags=homes.plain({**noted, **(tags or {})}),
        parent=above,
        cause=homes.plain(cause or {}),
        key=key,
        environment=home.blobs.put(environment.lock_text().encode()) if capture else "",
        pid=os.getpid(),
        started_at=now,
        heartbeat_at=now,
    )
    started = _begun(home, run, resumes=bool(id), spool=spool, system=system)
    if found is not None and found.diff:
        changes = git.changes(folder)
        if len(changes) <= _MOST_DIFF:
            started.use("uncommitted changes", home.blobs.put(changes))
    if output:
        started.capture_output()
    active.set(started)
    watch_exit()
    return started


def log(values: Mapping[str, float], step: int | None = None) -> None:
    """Add points to the run that is going on; raises UsageError where there is none."""
    run = active.get()
    if run is None:
        raise UsageError("no run is going on", hint="begin one: trimtab.start_run(...)")
    run.log(values, step)


def _begun(
    home: StoreHome | SpoolHome, run: Run, *, resumes: bool, spool: bool, system: float
) -> ActiveRun:
    if not isinstance(home, StoreHome):
        return _offline(home, run, resumes=resumes, system=system)
    main, steps = True, None
    if resumes:
        # The database, only where it is the home.
        from trimtab.track import resume  # noqa: PLC0415

        run, main, steps = resume.taken_up(home.ws, run)
    else:
        home.begin(run)
    started = ActiveRun(home, run, main=main, spooled=spool, steps=steps, system=system)
    if spool:
        started.tended()
    return started


def _offline(home: SpoolHome, run: Run, *, resumes: bool, system: float) -> ActiveRun:
    started = ActiveRun(home, home.begin(run, resumes=resumes), system=system)
    started.tended()
    return started


def _home(
    outer: ActiveRun | None, ws: Workspace | None, offline: bool | str | Path | None
) -> StoreHome | SpoolHome:
    folder = None if ws is not None else homes.spool_folder(offline)
    if folder is not None:
        return SpoolHome(folder, homes.project_name(Path.cwd()))
    if ws is None and outer is not None and offline is None:
        before = outer.home
        return before if isinstance(before, StoreHome) else SpoolHome(before.folder, before.project)
    return StoreHome(ws or _workspace(Path.cwd()))


def _same(outer: ActiveRun, home: StoreHome | SpoolHome) -> bool:
    return outer.home.folder == home.folder


@lru_cache(4)
def _open(file: Path, name: str) -> Workspace:
    # The database, only where runs go into it.
    from trimtab.store.workspace import open_workspace  # noqa: PLC0415

    return open_workspace(file.parent, name)


def _workspace(folder: Path) -> Workspace:
    file = config.find(folder)
    return _open(file, config.load(file).project.name)
