"""What a person decides: gate a candidate, put a model behind an endpoint, go back."""

from __future__ import annotations

from trimtab.loop import gate as gatekeeper
from trimtab.loop import release, steering
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project
from trimtab.loop.reports import Decision, Deployed
from trimtab.server import requests as asked


def gate(project: Project, request: asked.Candidate) -> Decision:
    """Requirements against a candidate."""
    strict = True if request.strict else None
    return gatekeeper.gate(project, request.subject, run=request.run, strict=strict)


def deploy(project: Project, request: asked.Deployment) -> Deployed:
    """A model behind an endpoint."""
    return release.deploy(
        project,
        request.reference,
        name=request.name,
        direct=request.direct,
        port=request.port,
        ab=request.ab,
        lasts=request.lasts,
        who=Hand(request.by, request.reason, request.force),
        revive=request.revive,
    )


def rollback(project: Project, request: asked.Return) -> Deployed:
    """The model before answers again."""
    return steering.go_back(project, request.name, Hand(request.by, request.reason))
