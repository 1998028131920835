"""The loop as a whole: at a glance, the configuration in force, and one pass of the controller."""

from __future__ import annotations

from trimtab.loop import project as projects
from trimtab.loop import tick as controller
from trimtab.loop.project import Project
from trimtab.loop.reports import Applied, Overview, Pass, Timeline
from trimtab.loop.views import overview as glance
from trimtab.loop.views import timeline as story
from trimtab.server import requests as asked


def overview(project: Project, request: asked.Nothing) -> Overview:
    """The project's loop at a glance."""
    return glance.overview(project)


def timeline(project: Project, request: asked.Between) -> Timeline:
    """What happened between two moments; raises UsageError for what is no moment."""
    return story.timeline(project, request.since, request.until)


def apply(project: Project, request: asked.Nothing) -> Applied:
    """The project file becomes the configuration in force."""
    return projects.apply(project)


def tick(project: Project, request: asked.Nothing) -> Pass:
    """One pass of the controller."""
    return controller.tick(project)
