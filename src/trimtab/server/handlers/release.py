"""What a person decides: gate a candidate, put a model behind an endpoint, go back.

A version of MLflow's registry is brought in first, by a process of its own.
"""

from __future__ import annotations

from trimtab.errors import NotFoundError, RefusedError, UndecidedError
from trimtab.interop.mlflow import candidates
from trimtab.loop import gate as gatekeeper
from trimtab.loop.candidate import foreign
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project
from trimtab.loop.releases import release, steering
from trimtab.loop.reports import Decision, Deployed
from trimtab.server import requests as asked


def gate(project: Project, request: asked.Candidate) -> Decision:
    """Requirements against a candidate."""
    strict = True if request.strict else None
    if candidates.is_one(request.subject):
        return bring(project, request.subject, strict=request.strict)
    return gatekeeper.gate(project, request.subject, run=request.run, strict=strict)


def deploy(project: Project, request: asked.Deployment) -> Deployed:
    """A model behind an endpoint; one of MLflow's registry must pass the gate first."""
    reference = request.reference
    if candidates.is_one(reference):
        reference = passed(bring(project, reference))
    try:
        return _deploy(project, request, reference)
    except NotFoundError as error:
        hint = candidates.hint(project.ws, reference)
        if not hint:
            raise
        raise NotFoundError(error.message, hint=hint) from error


def bring(
    project: Project, reference: str, *, allow_pickle: bool = False, strict: bool = False
) -> Decision:
    """The gate's decision on a version of MLflow's registry.

    No request over HTTP can allow a pickle: only who is at the command line does.
    """
    found = candidates.find(project.ws, reference, allow_pickle=allow_pickle, strict=strict)
    return foreign.bring(project, found)


def passed(decision: Decision) -> str:
    """The version that a candidate became; raises RefusedError or UndecidedError where it is none."""
    if decision.version is not None:
        return decision.version.label
    against = {one.status for one in decision.verdicts if not one.allows}
    kind = UndecidedError if against == {"undecided"} else RefusedError
    raise kind(
        f"the gate refused it: {gatekeeper.refusal(decision)}",
        hint=f"`trimtab models show {decision.subject}` has the measurements",
    )


def _deploy(project: Project, request: asked.Deployment, reference: str) -> Deployed:
    return release.deploy(
        project,
        reference,
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
