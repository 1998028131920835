"""The loop's verbs: apply, gate, deploy, roll back, tick, and asking what is and why."""

from __future__ import annotations

from trimtab.loop import doctor as examiner
from trimtab.loop import gate as gatekeeper
from trimtab.loop import overview as glance
from trimtab.loop import project as projects
from trimtab.loop import release
from trimtab.loop import tick as controller
from trimtab.loop import why as lineage
from trimtab.loop.project import Project
from trimtab.loop.reports import Applied, Decision, Deployed, Health, Lineage, Overview, Pass
from trimtab.server import requests as asked


def overview(project: Project, request: asked.Nothing) -> Overview:
    """The project's loop at a glance."""
    return glance.overview(project)


def apply(project: Project, request: asked.Nothing) -> Applied:
    """The project file becomes the configuration in force."""
    return projects.apply(project)


def gate(project: Project, request: asked.Candidate) -> Decision:
    """Requirements against a candidate."""
    strict = True if request.strict else None
    return gatekeeper.gate(project, request.subject, run=request.run, strict=strict)


def deploy(project: Project, request: asked.Deployment) -> Deployed:
    """A model behind an endpoint."""
    return release.deploy(
        project, request.reference, name=request.name, direct=request.direct, port=request.port
    )


def rollback(project: Project, request: asked.Named) -> Deployed:
    """The model before answers again."""
    return release.rollback(project, request.name)


def tick(project: Project, request: asked.Nothing) -> Pass:
    """One pass of the controller."""
    return controller.tick(project)


def why(project: Project, request: asked.Question) -> Lineage:
    """What something came from."""
    return lineage.why(project, request.what)


def doctor(project: Project, request: asked.Anchor) -> Health:
    """The ledger and the blobs, verified."""
    return examiner.doctor(project, expect=request.expect)
