"""`trimtab pause` and `trimtab resume`."""

from __future__ import annotations

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.server import steering
from trimtab.server.answers import Paused
from trimtab.server.requests import Nothing, Reason


@verb("pause", 'trimtab pause --reason "until the audit is over"')
@click.option("--reason", default="", help="Kept in the ledger and shown by `trimtab status`.")
def pause(session: Session, reason: str) -> None:
    """Let the controller observe and start nothing.

    Endpoints answer and are restarted, windows are judged, incidents are opened; no trigger fires,
    nothing is retrained, no rollout advances, but one that fails is rolled back. `trimtab resume` ends it.
    """
    session.answer(session.call(steering.PAUSE, Reason(reason=reason)), _render)


@verb("resume", "trimtab resume")
def resume(session: Session) -> None:
    """Let the controller act again."""
    session.answer(session.call(steering.RESUME, Nothing()), _render)


def _render(found: Paused) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(f"paused{': ' + found.reason if found.reason else ''}" if found.paused else "resumed")
