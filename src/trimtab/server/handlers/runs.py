"""Runs: list, show, and their metric series."""

from __future__ import annotations

from itertools import groupby

from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.server.answers import RunMetrics, Runs, RunShown, Series
from trimtab.store import deleted, runs
from trimtab.store import metrics as series
from trimtab.track.search import finding
from trimtab.track.search.finding import Wanted

_MOST = 1000


def wanted(request: asked.RunFilter) -> Wanted:
    """The runs that a request asks for, as they are searched."""
    return Wanted(
        where=request.where,
        order_by=request.order_by,
        kind=request.kind or None,
        name=request.name or None,
        status=request.status or None,
        parent="" if request.top else request.parent or None,
        deleted=request.deleted,
    )


def ls(project: Project, request: asked.RunFilter) -> Runs:
    """A page of runs, in order; raises QueryError, and UsageError for a token of another question."""
    limit = max(1, min(request.limit, _MOST))
    found = finding.page(project.ws, wanted(request), limit=limit, after=request.after)
    return Runs(
        runs=found.runs,
        metrics=found.metrics,
        matched=found.matched,
        next=found.next,
        notes=found.notes,
    )


def show(project: Project, request: asked.Identified) -> RunShown:
    """A run with what belongs to it."""
    ws = project.ws
    run = runs.get(ws, request.id)
    return RunShown(
        run=run,
        metrics=series.latest(ws, run.id),
        links=runs.links(ws, run.id),
        children=runs.find(ws, parent=run.id, limit=_MOST)[::-1],
        deleted_at=deleted.find_one(ws, run.id) or 0,
    )


def metrics(project: Project, request: asked.SeriesFilter) -> RunMetrics:
    """The points of a run, series by series; raises NotFoundError for a key it does not have."""
    run = runs.get(project.ws, request.id)
    points = series.read(project.ws, run.id)
    by_key = groupby(points, key=lambda point: point.key)
    found = [Series(key=key, points=list(inner)) for key, inner in by_key]
    if request.key:
        known = ", ".join(one.key for one in found)
        found = [one for one in found if one.key == request.key]
        if not found:
            raise NotFoundError(
                f"run {request.id} has no metric {request.key!r}", hint=f"it has: {known or 'none'}"
            )
    return RunMetrics(run=run.id, series=found)
