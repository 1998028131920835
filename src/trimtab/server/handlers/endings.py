"""The end of an endpoint: who calls it, what would happen, doing it, taking it back."""

from __future__ import annotations

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop.project import Project, apply
from trimtab.loop.retiring import retire as acts
from trimtab.loop.retiring import retire_plan
from trimtab.loop.retiring.ending import Plan, Retirement, Wish
from trimtab.server import requests as asked
from trimtab.server.answers import Consumers


def consumers(project: Project, request: asked.Named) -> Consumers:
    """Who called in the last 30 days; raises NotFoundError, UsageError."""
    now = ids.now()
    retire_plan.endpoint_of(project, request.name)
    local.check_ours(project.ws, request.name)
    return Consumers(
        endpoint=request.name,
        since=now - retire_plan.DAYS * 86_400_000_000,
        consumers=retire_plan.callers(project, request.name, now),
    )


def plan(project: Project, request: asked.Ending) -> Plan:
    """What retiring would do."""
    return retire_plan.plan(project, _wish(request), ids.now())


def retire(project: Project, request: asked.Ending) -> Plan:
    """Announce it, and do what is due at once."""
    apply(project)
    return acts.begin(project, _wish(request))


def cancel(project: Project, request: asked.Named) -> Retirement:
    """Take an announcement back."""
    return acts.cancel(project, request.name)


def _wish(request: asked.Ending) -> Wish:
    return Wish(
        endpoint=request.name,
        successor=request.successor,
        within=request.within,
        reason=request.reason,
        by=request.by,
        force=request.force,
    )
