"""Models: versions, and a packaged model with the verdicts and evidence on it."""

from __future__ import annotations

from collections import Counter

from trimtab import hashing
from trimtab.errors import IntegrityError, NotFoundError
from trimtab.interop.mlflow import candidates
from trimtab.loop.project import Project
from trimtab.model import attachments
from trimtab.monitor.basis import Basis
from trimtab.monitor.watched import held_against
from trimtab.profile.reference import Reference
from trimtab.profile.windows import Windows
from trimtab.server import requests as asked
from trimtab.server.answers import ModelShown, PastWindows, Versions
from trimtab.store import artifacts, evidence, verdicts, versions
from trimtab.store.workspace import Workspace


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
    held = _held(ws, digest)
    return ModelShown(
        digest=digest,
        version=version,
        aliases=sorted(alias for alias, target in known.items() if target == digest),
        artifact=artifacts.get(ws, digest),
        attachments=attachments.find(ws, digest),
        verdicts=verdicts.find(ws, subject=digest),
        evidence=evidence.find(ws, subject=digest),
        slices=list(held[1].slices) if held else [],
        windows=_past(held[0].windows) if held and held[0].windows else None,
    )


def _held(ws: Workspace, digest: str) -> tuple[Reference, Basis] | None:
    """What the model's package is watched by; None where its files are gone or damaged."""
    try:
        return held_against(ws, digest)
    except (NotFoundError, IntegrityError):  # `doctor` tells which
        return None


def _past(windows: Windows) -> PastWindows:
    rows: Counter[int] = Counter()
    for start, count in zip(windows.starts.tolist(), windows.rows.tolist(), strict=True):
        rows[start] += count
    return PastWindows(
        number=len(rows),
        span=windows.span,
        first=min(rows),
        last=max(rows),
        least_rows=min(rows.values()),
        most_rows=max(rows.values()),
    )
