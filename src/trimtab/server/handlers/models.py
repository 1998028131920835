"""Models: versions, and a packaged model with the verdicts and evidence on it."""

from __future__ import annotations

from trimtab import hashing
from trimtab.interop.mlflow import candidates
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
    """A version, or a candidate that never became one; raises NotFoundError.

    A candidate is known by its digest, or as a version of MLflow's registry.
    """
    ws, reference = project.ws, request.reference
    if candidates.is_one(reference):
        reference = candidates.brought(ws, reference)
    numbered = [one for one in versions.find(ws, "model") if one.digest == reference]
    if hashing.is_digest(reference):
        version = numbered[0] if numbered else None
    else:
        version = versions.get(ws, "model", reference)
    digest = version.digest if version else reference
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
