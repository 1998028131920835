"""Deleting runs, restoring them, and collecting what is deleted."""

from __future__ import annotations

from trimtab import ids
from trimtab.errors import RefusedError, UsageError
from trimtab.interop.transfer import chosen
from trimtab.loop.project import Project
from trimtab.loop.views.timeline import moment
from trimtab.server import requests as asked
from trimtab.store import deleted, runs
from trimtab.store.collected import Collection, Disposed, Kept
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace
from trimtab.track import collect as collecting
from trimtab.track import process

_SHOWN = 3


def delete(project: Project, request: asked.Disposal) -> Disposed:
    """Delete runs with all that are inside them.

    Raises RefusedError for named ones that must stay; of a `where` those are left out.
    """
    ws = project.ws
    _check(request)
    with ws.transaction():
        if request.experiment:
            named = chosen.of_experiment(ws, request.experiment)
            _refuse(_kept(ws, deleted.within(ws, named), force=request.force))
            return Disposed(runs=deleted.delete_experiment(ws, request.experiment), kept=[])
        explicit = [runs.get(ws, one).id for one in request.ids]
        named = list(explicit)
        if request.where:
            named += [one for one in chosen.where(ws, request.where) if one not in named]
        wholes = deleted.inside(ws, named)
        stays: dict[str, list[Kept]] = {}
        every = [one for whole in wholes.values() for one in whole]
        for one in _kept(ws, list(dict.fromkeys(every)), force=request.force):
            stays.setdefault(one.run, []).append(one)
        kept, going = [], []
        for run, whole in wholes.items():
            reasons = [reason for one in whole for reason in stays.get(one, ())]
            if run in explicit:
                _refuse(reasons)
            kept += reasons
            going += [] if reasons else whole
        deleted.delete(ws, list(dict.fromkeys(going)))
    return Disposed(runs=list(dict.fromkeys(going)), kept=list(dict.fromkeys(kept)))


def restore(project: Project, request: asked.Disposal) -> Disposed:
    """Take a deletion back, with the runs that went together with it."""
    ws = project.ws
    _check(request)
    with ws.transaction():
        if request.experiment:
            return Disposed(runs=deleted.restore_experiment(ws, request.experiment), kept=[])
        gone = deleted.find(ws)
        named = [runs.get(ws, one).id for one in request.ids]
        if request.where:
            named += chosen.where(ws, request.where, deleted=True)
        plain = [one for one in named if one not in gone]
        wholes = deleted.inside(ws, [one for one in named if one in gone])
        back = [
            inner
            for one, whole in wholes.items()
            for inner in whole
            if gone.get(inner) == gone[one]
        ]
        deleted.restore(ws, list(dict.fromkeys(back)))
    kept = [Kept(run=one, reason="it is not deleted") for one in plain]
    return Disposed(runs=list(dict.fromkeys(back)), kept=kept)


def plan(project: Project, request: asked.Age) -> Collection:
    """What would go."""
    return collecting.survey(project.ws, _before(request))


def collect(project: Project, request: asked.Age) -> Collection:
    """Take it away."""
    return collecting.collect(project.ws, _before(request))


def _before(request: asked.Age) -> int:
    return ids.now() if request.older_than in ("", "0") else moment(request.older_than)


def _check(request: asked.Disposal) -> None:
    if not (request.ids or request.where or request.experiment):
        raise UsageError("no run is named", hint="give ids, --where or --experiment")
    if request.experiment and (request.ids or request.where):
        raise UsageError("an experiment goes with all of its runs", hint="name it alone")


def _kept(ws: Workspace, named: list[str], *, force: bool) -> list[Kept]:
    found = [
        Kept(run=run.id, reason=reason)
        for run in deleted.load(ws, named)
        for reason in [_running(run, force=force)]
        if reason
    ]
    return found + deleted.guarded(ws, named)


def _running(run: Run, *, force: bool) -> str:
    if run.status != "running":
        return ""
    if run.pid and process.is_alive(run):
        return f"it is running, as process {run.pid}"
    return "" if force else "nobody has ended it: it may be running (--force)"


def _refuse(kept: list[Kept]) -> None:
    if kept:
        told = "; ".join(f"run {one.run}: {one.reason}" for one in kept[:_SHOWN])
        more = f"; and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
        raise RefusedError(f"nothing was deleted: {told}{more}", hint="leave those out")
