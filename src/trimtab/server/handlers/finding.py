"""Many runs: groups, what explains a metric, what differs between two."""

from __future__ import annotations

from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.track import compare
from trimtab.track.reports import Groups, Importance, RunDiff
from trimtab.track.search import groups
from trimtab.track.search import importance as shares
from trimtab.track.search.finding import Wanted

_MOST = 10_000


def group(project: Project, request: asked.RunGroups) -> Groups:
    """Runs in groups; raises QueryError."""
    wanted = Wanted(where=request.where, order_by=request.order_by, deleted=request.deleted)
    limit = max(1, min(request.limit, _MOST))
    return groups.group(project.ws, wanted, by=request.by, show=request.show, limit=limit)


def importance(project: Project, request: asked.Explained) -> Importance:
    """Which params explain a metric; raises QueryError, NotFoundError, UndecidedError."""
    wanted = Wanted(where=request.where)
    return shares.importance(project.ws, wanted, request.metric, seed=request.seed)


def diff(project: Project, request: asked.TwoRuns) -> RunDiff:
    """What differs between two runs; raises NotFoundError."""
    return compare.compare(project.ws, request.before, request.after)
