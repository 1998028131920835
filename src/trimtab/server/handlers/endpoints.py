"""Endpoints: list, show, each as it really is and not as its row remembers it; compact the log."""

from __future__ import annotations

import msgspec

from trimtab.deploy import local
from trimtab.errors import NotFoundError
from trimtab.loop import compact as job
from trimtab.loop.project import Project
from trimtab.loop.releases import rollout
from trimtab.server import requests as asked
from trimtab.server.answers import Endpoints, EndpointShown, LogCompacted
from trimtab.store import operations

_WINDOWS = 50


def ls(project: Project, request: asked.Nothing) -> Endpoints:
    """Every endpoint."""
    return Endpoints(endpoints=local.every(project.ws))


def show(project: Project, request: asked.Named) -> EndpointShown:
    """An endpoint with what belongs to it; raises NotFoundError."""
    ws, name = project.ws, request.name
    found = local.find(ws, name)
    if found is None:
        names = ", ".join(one.name for one in operations.endpoints(ws))
        raise NotFoundError(
            f"there is no endpoint {name!r}", hint=f"there is: {names or 'none yet'}"
        )
    rollouts = operations.rollouts(ws, endpoint=name)
    return EndpointShown(
        endpoint=found,
        url=local.url(found) if found.port else "",
        rollouts=rollouts,
        incidents=operations.incidents(ws, endpoint=name),
        windows=operations.windows(ws, endpoint=name)[-_WINDOWS:],
        held=[
            verdict
            for one in rollouts
            if one.state == "open"
            for verdict in rollout.standing(ws, one)
        ],
        error=local.refused(ws, found),
    )


def compact(project: Project, request: asked.Named) -> LogCompacted:
    """Compact what the controller has taken in; raises NotFoundError, UsageError, ConflictError.

    It happens in a child process: it needs more memory than a server should keep.
    """
    local.check_ours(project.ws, request.name)
    return msgspec.convert(msgspec.to_builtins(job.wait(project, request.name)), LogCompacted)
