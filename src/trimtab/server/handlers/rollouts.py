"""Rollouts: what they wait for, and a person's hand on them."""

from __future__ import annotations

from trimtab.errors import ConflictError
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project
from trimtab.loop.releases import comparison, experiment, steering
from trimtab.loop.releases import drill as drills
from trimtab.loop.releases.shown import ArmsCompared, Drilled, RolloutShown, RolloutsListed, Steered
from trimtab.server import requests as asked
from trimtab.store import operations

_SHOWN = 50


def ls(project: Project, request: asked.RolloutFilter) -> RolloutsListed:
    """Rollouts, newest first; drills only where they are asked for."""
    project = project.applied()
    found = operations.rollouts(
        project.ws, endpoint=request.endpoint or None, state=request.state or None
    )
    mine = [one for one in found if request.drills or one.cause.get("kind") != steering.DRILL]
    return RolloutsListed(rollouts=[steering.shown(project, one) for one in mine[:_SHOWN]])


def show(project: Project, request: asked.Identified) -> RolloutShown:
    """A rollout with what it waits for."""
    project = project.applied()
    return steering.shown(project, steering.find(project, request.id))


def report(project: Project, request: asked.Identified) -> ArmsCompared:
    """The arms of a test beside each other."""
    project = project.applied()
    one = steering.find(project, request.id)
    terms = experiment.terms(one)
    if terms is None:
        raise ConflictError(
            f"the rollout at {one.endpoint!r} is no A/B test",
            hint="`trimtab deploy MODEL@vN --ab 50%` begins one; `trimtab rollouts show` tells "
            "what is known of a rollout",
        )
    return comparison.compare(project, one, terms)


def advance(project: Project, request: asked.Advance) -> Steered:
    """Move a rollout one stage on."""
    who = Hand(request.by, request.reason, request.force)
    return steering.advance(project, request.id, who, at=request.at)


def hold(project: Project, request: asked.ByHand) -> Steered:
    """Keep a rollout at its stage."""
    return steering.hold(project, request.id, Hand(request.by, request.reason))


def release(project: Project, request: asked.ByHand) -> Steered:
    """Let a rollout go on."""
    return steering.let_go(project, request.id, Hand(request.by, request.reason))


def rollback(project: Project, request: asked.ByHand) -> Steered:
    """End a rollout."""
    return steering.rollback(project, request.id, Hand(request.by, request.reason))


def drill(project: Project, request: asked.Drill) -> Drilled:
    """Roll back on a live endpoint, and time it."""
    return drills.drill(project, request.endpoint, request.rounds, Hand(request.by))
