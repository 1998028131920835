"""`trimtab rollouts`: ls, show, report, advance, hold, release, rollback, drill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from trimtab.cli.session import Session, user
from trimtab.cli.verb import noun, verb
from trimtab.loop.releases.shown import (
    Arm,
    ArmsCompared,
    Drilled,
    Measured,
    RolloutShown,
    RolloutsListed,
    Steered,
)
from trimtab.server import rollouts as operations
from trimtab.server.requests import Advance, ByHand, Drill, Identified, RolloutFilter

rollouts = noun("rollouts", "New models on their way, and A/B tests.")


def _who(function: Callable[..., Any]) -> Callable[..., Any]:
    why = click.option("--reason", default="", help="Why; kept in the ledger.")
    who = click.option("--by", default="", help="Who (default: your user name).")
    return click.argument("rollout")(why(who(function)))


@verb("ls", "trimtab rollouts ls", "trimtab rollouts ls --state open", of=rollouts)
@click.option("--endpoint", default="", help="Those of one endpoint.")
@click.option("--state", default="", help="open, promoted, rolled_back or superseded.")
@click.option("--drills", is_flag=True, help="Show the rounds of drills too.")
def ls(session: Session, endpoint: str, state: str, drills: bool) -> None:
    """List rollouts and A/B tests, newest first."""
    request = RolloutFilter(endpoint=endpoint, state=state, drills=drills)
    session.answer(session.call(operations.LS, request), _render_list)


@verb("show", "trimtab rollouts show loans", of=rollouts)
@click.argument("rollout")
def show(session: Session, rollout: str) -> None:
    """Show a rollout: stage, verdicts, and what it waits for.

    ROLLOUT is an id, a beginning of it, or an endpoint: the open one there, or the newest.
    """
    session.answer(session.call(operations.SHOW, Identified(id=rollout)), _render)


@verb(
    "report", "trimtab rollouts report loans", "trimtab rollouts report loans --json", of=rollouts
)
@click.argument("rollout")
def report(session: Session, rollout: str) -> None:
    """Compare the arms of an A/B test.

    Every interval holds at any number of looks, so look as often as you like.
    """
    session.answer(session.call(operations.REPORT, Identified(id=rollout)), _render_report)


@verb(
    "advance",
    "trimtab rollouts advance loans",
    'trimtab rollouts advance loans --force --reason "the labels are known to be wrong"',
    of=rollouts,
)
@_who
@click.option("--at", default="", help="Only from this stage: asked twice, it moves once.")
@click.option("--force", is_flag=True, help="Overrule what fails, or a freeze; needs a reason.")
def advance(session: Session, rollout: str, reason: str, by: str, at: str, force: bool) -> None:
    """Move a rollout one stage on; from the last one, to champion.

    What is undecided keeps nobody from it. What fails does, and a freeze: exits 3.
    """
    request = Advance(id=rollout, reason=reason, by=by or user(), at=at, force=force)
    session.answer(session.call(operations.ADVANCE, request), _render_steered)


@verb("hold", 'trimtab rollouts hold loans --reason "until the audit is over"', of=rollouts)
@_who
def hold(session: Session, rollout: str, reason: str, by: str) -> None:
    """Keep a rollout at its stage until it is released.

    It may stay undecided as long as that takes; what fails is rolled back all the same.
    """
    request = ByHand(id=rollout, reason=reason, by=by or user())
    session.answer(session.call(operations.HOLD, request), _render_steered)


@verb("release", "trimtab rollouts release loans", of=rollouts)
@_who
def release(session: Session, rollout: str, reason: str, by: str) -> None:
    """Let a rollout that is held go on."""
    request = ByHand(id=rollout, reason=reason, by=by or user())
    session.answer(session.call(operations.RELEASE, request), _render_steered)


@verb(
    "rollback", 'trimtab rollouts rollback loans --reason "complaints from branch 7"', of=rollouts
)
@_who
def rollback(session: Session, rollout: str, reason: str, by: str) -> None:
    """End a rollout: the champion answers alone again."""
    request = ByHand(id=rollout, reason=reason, by=by or user())
    session.answer(session.call(operations.ROLLBACK, request), _render_steered)


@verb("drill", "trimtab rollouts drill", "trimtab rollouts drill loans --rounds 10", of=rollouts)
@click.argument("endpoint", default="")
@click.option("--rounds", default=6, show_default=True, help="How often it is rolled back.")
@click.option("--by", default="", help="Who (default: your user name).")
def drill(session: Session, endpoint: str, rounds: int, by: str) -> int:
    """Rehearse a rollback on a live endpoint, and time it.

    The model before answers 1% and is rolled back while requests run. Exits 1 where one was lost.
    """
    request = Drill(endpoint=endpoint, rounds=rounds, by=by or user())
    done = session.call(operations.DRILL, request)
    session.answer(done, _render_drilled)
    return 1 if done.lost else 0


def _render_list(found: RolloutsListed) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found.rollouts:
        paper.say(
            "no rollouts yet: `trimtab deploy MODEL@vN` opens one at an endpoint that answers"
        )
        return
    paper.table(
        ["rollout", "endpoint", "model", "against", "state", "stage", "opened", "what"],
        [
            (
                words.short(one.rollout.id),
                one.rollout.endpoint,
                one.candidate,
                one.champion,
                "held" if one.hold else one.rollout.state,
                one.stage,
                words.moment(one.rollout.opened_at),
                one.waits,
            )
            for one in found.rollouts
        ],
    )


def _render(one: RolloutShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    rollout = one.rollout
    paper.facts(
        {
            "rollout": rollout.id,
            "endpoint": rollout.endpoint,
            "model": f"{one.candidate} against {one.champion}",
            "state": rollout.state,
            "stage": " > ".join(f"[{x}]" if i == rollout.stage else x
                                for i, x in enumerate(rollout.stages)),
            "share": f"{one.share:.4g}" if rollout.state == "open" else "",
            "opened": words.moment(rollout.opened_at),
            "waits": one.waits,
        }
    )  # fmt: skip
    if one.verdicts:
        paper.table(
            ["must hold", "", "value", "interval", "rows", "why"],
            [
                (
                    verdict.text,
                    words.standing(verdict),
                    words.number(verdict.value),
                    words.interval(verdict.lo, verdict.hi),
                    f"{verdict.n:,}",
                    verdict.reason,
                )
                for verdict in one.verdicts
            ],
            right=["value", "rows"],
        )
    for drill in one.drills:
        lost = drill.details.get("lost", 0)
        paper.say(
            f"drill of {words.moment(drill.measured_at)}: back in {drill.value:.3f} s "
            f"{words.interval(drill.lo, drill.hi)}, {drill.n} rounds, {lost} answers lost"
        )


def _render_report(told: ArmsCompared) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.say(told.sentence)
    paper.say()
    names = [one.metric for one in told.arms[0].metrics]
    rows: list[tuple[str, ...]] = [
        ("model", *(one.model for one in told.arms)),
        ("requests", *(f"{one.requests:,}" for one in told.arms)),
        ("share", *(f"{one.share:.2%}" for one in told.arms)),
        ("errors", *(_cell(one.failed) for one in told.arms)),
    ]
    rows += [
        (quantile.metric, *(_cell(one.latency[i]) for one in told.arms))
        for i, quantile in enumerate(told.arms[0].latency)
    ]
    rows.append(("labelled", *(f"{one.labelled:,}" for one in told.arms)))
    rows += [(name, *(_cell(_of(one, name)) for one in told.arms)) for name in names]
    paper.table(["", "A", "B"], rows)
    paper.say()
    if told.differences:
        paper.table(
            ["B better by", "", "interval", "rows", "which means"],
            [
                (
                    one.metric,
                    words.number(one.value),
                    words.interval(one.lo, one.hi),
                    f"{one.n:,}",
                    one.sentence,
                )
                for one in told.differences
            ],
            right=["rows"],
        )
        paper.say()
    paper.say(f"shares: {told.mismatch.sentence}")
    paper.say(f"agreement: {told.agreement}")
    paper.say(told.asks)


def _of(arm: Arm, name: str) -> Measured:
    return next(one for one in arm.metrics if one.metric == name)


def _cell(one: Measured) -> str:
    from trimtab.server import words  # one import a call is nothing beside printing

    if one.value is None:
        return one.note or "–"
    return f"{words.number(one.value)} {words.interval(one.lo, one.hi)}"


def _render_steered(done: Steered) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(done.message)


def _render_drilled(done: Drilled) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(done.message)
    paper.table(
        ["round", "routes written", "first right answer", "all right by"],
        [
            (
                str(i + 1),
                *(f"{one[i]:.3f} s" for one in (done.written, done.answered, done.settled)),
            )
            for i in range(len(done.written))
        ],
        right=["round", "routes written", "first right answer", "all right by"],
    )
