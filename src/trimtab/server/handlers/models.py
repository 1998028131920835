"""Models: versions, and a packaged model with the verdicts and evidence on it."""

from __future__ import annotations

from trimtab import hashing
from trimtab.loop.project import Project
from trimtab.model import attachments
from trimtab.server import requests as asked
from trimtab.server.answers import ModelShown, Versions
from trimtab.store import artifacts, evidence, verdicts, versions


def ls(project: Project, request: asked.Nothing) -> Versions:
    """Model versions and their aliases."""
    found = versions.find(project.ws, "model")
    names = sorted({version.name for version in found})
    return Versions(
        versions=found,
        aliases={
            f"{name}@{alias}": digest
            for name in names
            for alias, digest in versions.aliases(project.ws, "model", name).items()
        },
    )


def show(project: Project, request: asked.Reference) -> ModelShown:
    """A version, or by its digest a candidate that never became one; raises NotFoundError."""
    ws = project.ws
    numbered = [one for one in versions.find(ws, "model") if one.digest == request.reference]
    if hashing.is_digest(request.reference):
        version = numbered[0] if numbered else None
    else:
        version = versions.get(ws, "model", request.reference)
    digest = version.digest if version else request.reference
    known = versions.aliases(ws, "model", version.name) if version else {}
    return ModelShown(
        digest=digest,
        version=version,
        aliases=sorted(alias for alias, target in known.items() if target == digest),
        artifact=artifacts.get(ws, digest),
        attachments=attachments.find(ws, digest),
        verdicts=verdicts.find(ws, subject=digest),
        evidence=evidence.find(ws, subject=digest),
    )
