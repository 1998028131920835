"""Whether anything has changed since a pass that found nothing to do: then it need not be made again.

What a pass reads is the store, the endpoints' folders, label files, processes and the clock. After a
pass that did nothing their marks are kept in memory; while they stay the same, and no moment comes
that the pass waits for, the next one would do nothing either. A whole pass is made once a minute
all the same, and wherever the clock was set back.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from trimtab import ids, schedule
from trimtab.config import duration
from trimtab.loop import triggers
from trimtab.loop.project import Project
from trimtab.loop.reports import Pass
from trimtab.monitor.embed import spool
from trimtab.serve.process import alive
from trimtab.store import alerts, operations, runs
from trimtab.store.workspace import Workspace

_LONGEST: Final = 60_000_000
"""How long a pass may be left out, in microseconds."""
_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR
_STORE: Final = ("store.db", "store.db-wal")
Marks = tuple[tuple[str, int, int, int], ...]


class Quiet(NamedTuple):
    """A pass that did nothing: what was there, when it was made and until when it holds."""

    marks: Marks
    labels: str
    processes: tuple[tuple[int, float], ...]
    made: int
    until: int
    found: Pass


_known: WeakKeyDictionary[sa.Engine, dict[str, Quiet]] = WeakKeyDictionary()


def still(ws: Workspace) -> Pass | None:
    """The last pass, where another one would find just the same; None where one is to be made."""
    last = _known.get(ws.engine, {}).get(ws.project)
    if last is None or not last.made <= ids.now() < last.until:
        return None
    if not all(alive(pid, began) for pid, began in last.processes):
        return None
    return last.found if marks(ws, last.labels) == last.marks else None


def marks(ws: Workspace, labels: str) -> Marks:
    """Name, inode, size and time of change of each file that a pass goes by."""
    return tuple(sorted(_marks(ws, labels)))


def keep(project: Project, before: Marks, done: Pass) -> None:
    """Remember a pass that did nothing; `before` are the marks from before it read anything.

    One that changed a file itself, waits for a process, or ran beside somebody who wrote is not.
    """
    ws, labels, made = project.ws, project.config.serve.labels, ids.now()
    places = _known.setdefault(ws.engine, {})
    places.pop(ws.project, None)
    if not done.settled or runs.find(ws, status="running", limit=1):
        return
    endpoints = operations.endpoints(ws)
    if any(one.state in ("lost", "starting") for one in endpoints):
        return
    until = min(_moments(project, made), default=made + _LONGEST)
    processes = tuple((one.pid, one.pid_started) for one in endpoints if one.state == "ready")
    after = marks(ws, labels)
    if after == before:
        found = Pass(observed=[], acted=[], waiting=done.waiting, settled=True, blind=done.blind)
        places[ws.project] = Quiet(after, labels, processes, made, until, found)


def _moments(project: Project, now: int) -> Iterator[int]:
    """When something comes that no file tells of: a schedule, an alert, a window's or hold's end."""
    yield now + _LONGEST
    for trigger in triggers.every(project):
        for word in trigger.words:
            if word.kind == "cron":
                zone = trigger.settings.timezone
                yield next(schedule.slots(word.value, zone, now, now + _DAY), now + _DAY)
    for one in alerts.due(project.ws, now + _LONGEST):
        yield one.next_at
    span, late = duration(project.config.monitor.window), duration(project.config.monitor.lateness)
    yield ((now - late) // span + 1) * span + late
    for rollout in operations.rollouts(project.ws, state="open"):
        yield rollout.staged_at + int(project.config.serve.max_hold_hours * _HOUR)


def _marks(ws: Workspace, labels: str) -> Iterator[tuple[str, int, int, int]]:
    for name in _STORE:
        yield from _mark(f"{ws.root}{os.sep}{name}")
    for endpoint in _inside(f"{ws.root}{os.sep}endpoints"):
        if endpoint.is_dir():
            for file in _inside(endpoint.path):
                if file.name == "log":
                    yield from (_told(one.path, one.stat()) for one in _inside(file.path))
                elif file.is_file():
                    yield _told(file.path, file.stat())
    for monitor in _inside(f"{ws.root}{os.sep}{spool.FOLDER}"):
        yield from (_told(one.path, one.stat()) for one in _inside(monitor.path))
    if labels:
        # Not pathlib: this is asked of every project at every pass, and a Path costs more than a stat.
        for path in glob.iglob(labels, root_dir=ws.project_dir, recursive=True):  # noqa: PTH207
            yield from _mark(f"{ws.project_dir}{os.sep}{path}")


def _inside(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from found
    except FileNotFoundError:
        return


def _mark(path: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        yield _told(path, os.stat(path))
    except FileNotFoundError:
        return


def _told(path: str, what: Any) -> tuple[str, int, int, int]:
    return path, what.st_ino, what.st_size, what.st_mtime_ns
