"""Data: add a version, list, show, and the difference of two."""

from __future__ import annotations

from trimtab.data import diff as differences
from trimtab.data import quarantine, snapshot, tables
from trimtab.errors import NotFoundError
from trimtab.loop.candidate import admission, drifting
from trimtab.loop.project import Project
from trimtab.loop.reports import Admission
from trimtab.server import requests as asked
from trimtab.server.answers import CellDiff, DataAdded, DataDiff, DataShown, Versions
from trimtab.store import artifacts, runs, versions
from trimtab.store.records import Artifact


def add(project: Project, request: asked.Named) -> DataAdded:
    """Read a source and number what it holds."""
    found = snapshot.add(project.ws, project.config, request.name)
    return DataAdded(
        version=found.version,
        new=found.new,
        rows=found.rows,
        columns=found.columns,
        changes=[change.text for change in found.schema_changes],
        notes=list(found.notes),
        quarantined=[reason.error for reason in found.quarantined],
    )


def ls(project: Project, request: asked.Nothing) -> Versions:
    """Data versions and their aliases."""
    found = versions.find(project.ws, "data")
    return Versions(
        versions=found,
        aliases={
            f"{name}@{alias}": digest
            for name in sorted({version.name for version in found})
            for alias, digest in versions.aliases(project.ws, "data", name).items()
        },
    )


def show(project: Project, request: asked.Reference) -> DataShown:
    """A data version with all that is known of it."""
    ws = project.ws
    version = versions.get(ws, "data", request.reference)
    known = versions.aliases(ws, "data", version.name)
    kept = next(
        (one for one in quarantine.find(ws.root, version.name) if one.version == version.label),
        None,
    )
    drawn, left_out = drifting.shapes(project, version)
    return DataShown(
        shapes=drawn,
        left_out=left_out,
        admission=admission.of(project, version),
        quarantine={} if kept is None else {"rows": kept.rows, **kept.effect},
        version=version,
        aliases=sorted(alias for alias, digest in known.items() if digest == version.digest),
        artifact=_artifact(project, version.digest),
        users=runs.users(ws, version.digest),
    )


def accept(project: Project, request: asked.Acceptance) -> Admission:
    """A person's word for a data version."""
    return admission.accept(project, request.reference, request.reason, request.by)


def diff(project: Project, request: asked.Comparison) -> DataDiff:
    """Rows that came, went and changed; by the configured key where none is given."""
    ws = project.ws
    before = versions.get(ws, "data", request.before)
    after = versions.get(ws, "data", request.after)
    configured = project.config.data.get(after.name)
    key = request.key or (configured.key if configured else "")
    old, new = tables.read(ws, before), tables.read(ws, after)
    found = differences.diff(old, new, key)
    return DataDiff(
        drift=drifting.drift(project, before, after, (old, new)),
        before=before.label,
        after=after.label,
        key=found.key,
        rows_before=found.before,
        rows_after=found.after,
        added=found.added,
        removed=found.removed,
        changed=found.changed,
        columns=found.columns,
        sample=[
            CellDiff(key=one.key, column=one.column, before=one.before, after=one.after)
            for one in found.sample
        ],
        schema=[change.text for change in found.schema],
    )


def _artifact(project: Project, digest: str) -> Artifact | None:
    try:
        return artifacts.get(project.ws, digest)
    except NotFoundError:
        return None
