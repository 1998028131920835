"""Replays: what one found."""

from __future__ import annotations

from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.loop.replay import stored
from trimtab.loop.replay.report import Replayed
from trimtab.server import requests as asked
from trimtab.store import runs


def show(project: Project, request: asked.Identified) -> Replayed:
    """The report of a replay; raises NotFoundError for another run, or one that ended early."""
    run = runs.get(project.ws, request.id)
    found = stored.read(project.ws, run)
    if found is None:
        what = f"ended as {run.status}" if run.kind == stored.KIND else f"is a {run.kind}"
        raise NotFoundError(
            f"run {run.id} has no replay's report: it {what}",
            hint="`trimtab runs ls --kind replay` lists replays",
        )
    return found
