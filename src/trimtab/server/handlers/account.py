"""Giving account: where a thing came from, and whether what is stored is what was stored."""

from __future__ import annotations

from trimtab.interop.mlflow import candidates
from trimtab.loop import doctor as examiner
from trimtab.loop.project import Project
from trimtab.loop.reports import Health, Lineage
from trimtab.loop.views import why as lineage
from trimtab.server import requests as asked


def why(project: Project, request: asked.Question) -> Lineage:
    """What something came from."""
    what = request.what
    return lineage.why(
        project, candidates.brought(project.ws, what) if candidates.is_one(what) else what
    )


def doctor(project: Project, request: asked.Anchor) -> Health:
    """The ledger and the blobs, verified."""
    return examiner.doctor(project, expect=request.expect)
