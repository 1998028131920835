"""A table scored by a model version of the project, as a run that says what was scored with what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimtab import ids
from trimtab.deploy import local
from trimtab.deploy.batch import job as batch
from trimtab.deploy.batch.job import Job, Progress, Report
from trimtab.deploy.batch.query import describe, is_query
from trimtab.loop.gate import CHAMPION
from trimtab.loop.project import Project
from trimtab.model.digest import check_digest
from trimtab.model.load import load
from trimtab.serve.protocols.policy import Policies
from trimtab.store import runs, versions
from trimtab.store.records import Run

KIND = "predict"


def score(
    project: Project,
    reference: str,
    source: str,
    output: Path,
    *,
    keep: tuple[str, ...] = (),
    strict: bool = False,
    overwrite: bool = False,
    tell: Callable[[Progress], None] | None = None,
) -> Report:
    """Score a file, a folder or a query with a model version (default alias: champion).

    Without `keep` the project's key columns go along where every file has them. Raises
    NotFoundError for an unknown version, IntegrityError where its package was changed, and what
    `deploy.batch.job.run` raises.
    """
    ws = project.ws
    named = reference if "@" in reference or ":" in reference else f"{reference}@{CHAMPION}"
    version = versions.get(ws, "model", named)
    place = local.package_folder(ws, version.digest)
    check_digest(place, version.digest)
    begun = ids.now()
    serve = project.config.serve
    model = load(place, allow_python=serve.allow_python)
    job = Job(
        source=source,
        output=output.absolute(),
        model=Policies.compile(serve.invalid, model.signature).govern(model),
        invalid=serve.invalid,
        digest=version.digest,
        label=version.label,
        keep=keep,
        prefer=tuple(dict.fromkeys(one.key for one in project.config.data.values() if one.key)),
        strict=strict,
        overwrite=overwrite,
        tell=tell,
    )
    report = batch.run(job)
    run = Run(
        id=ids.new_id(),
        kind=KIND,
        name=version.label,
        status="done",
        cause={"kind": "manual"},
        params={
            "source": describe(source) if is_query(source) else source,
            "output": report.output,
            "input": report.input,
            "rows": report.rows,
            "scored": report.scored,
        },
        started_at=begun,
        ended_at=ids.now(),
    )
    with ws.transaction():
        runs.record(ws, run)
        runs.link(ws, run.id, "in", "model", version.digest)
    return report
