"""`trimtab triggers`: ls, show, fire, backfill."""

from __future__ import annotations

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import noun, verb
from trimtab.server import steering
from trimtab.server.answers import Fired, Triggers, TriggerShown
from trimtab.server.requests import Backfill, Firing, Named, Nothing
from trimtab.store.records import Action

triggers = noun("triggers", "What starts flows.")


@verb("ls", "trimtab triggers ls", of=triggers)
def ls(session: Session) -> None:
    """List triggers, when they start next and what they did last."""
    session.answer(session.call(steering.TRIGGERS_LS, Nothing()), _render)


@verb("show", "trimtab triggers show nightly", of=triggers)
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Show a trigger and what it started, or why not."""
    session.answer(session.call(steering.TRIGGERS_SHOW, Named(name=name)), _render_one)


@verb("fire", "trimtab triggers fire nightly", of=triggers)
@click.argument("name")
@click.option("--key", default="", help="Fire once under this key, however often it is asked.")
def fire(session: Session, name: str, key: str) -> None:
    """Fire a trigger by hand.

    Its brakes hold all the same; exits 5 where one says no. The next `trimtab tick` begins the job.
    """
    session.answer(session.call(steering.TRIGGERS_FIRE, Firing(name=name, key=key)), _fired)


@verb(
    "backfill", "trimtab triggers backfill nightly --from 2026-01-01 --to 2026-02-01", of=triggers
)
@click.argument("name")
@click.option("--from", "start", required=True, help="The first moment, such as 2026-01-01.")
@click.option("--to", "end", required=True, help="The moment behind the last.")
def backfill(session: Session, name: str, start: str, end: str) -> None:
    """Fire the scheduled moments of a range that had none.

    They are worked off in order, one after the other.
    """
    request = Backfill(name=name, start=start, end=end)
    session.answer(session.call(steering.TRIGGERS_BACKFILL, request), _fired)


def _render(found: Triggers) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["trigger", "flow", "on", "next", "open", "last"],
        [
            (
                one.name,
                one.flow,
                ", ".join(one.on),
                words.moment(one.next[0]) if one.next else "",
                str(one.open),
                _said(one.last) if one.last else "",
            )
            for one in found.triggers
        ],
    )


def _render_one(found: TriggerShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    one = found.trigger
    paper.facts(
        {
            "trigger": one.name,
            "flow": one.flow,
            "on": ", ".join(one.on),
            "overlap": one.overlap,
            "next": ", ".join(words.moment(moment) for moment in one.next),
        }
    )
    _table(found.firings)


def _fired(found: Fired) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if not found.actions:
        paper.say("nothing to fire: every moment of that range was decided before")
        return
    _table(found.actions)


def _table(actions: list[Action]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if actions:
        paper.table(
            ["slot", "state", "decided", "why"],
            [
                (one.key.split(":", 2)[2], one.state, words.moment(one.created_at), _why(one))
                for one in actions
            ],
        )


def _said(action: Action) -> str:
    return f"{action.key.split(':', 2)[2]}: {action.state}"


def _why(action: Action) -> str:
    return str(action.result.get("reason") or action.result.get("said") or action.cause["kind"])
