"""`trimtab endpoints consumers`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.serve.access.consumers import Consumer
from trimtab.server import endings
from trimtab.server.answers import Consumers
from trimtab.server.requests import Named


@verb("consumers", "trimtab endpoints consumers loans", "trimtab endpoints consumers --json")
@click.argument("name", default="", metavar="[ENDPOINT]")
def consumers(session: Session, name: str) -> None:
    """List who called an endpoint in the last 30 days.

    Callers are keys by their name, bearers of tokens by a hash of issuer and subject, and anonymous.
    No address is kept. Counts are up to five seconds old.
    """
    request = Named(name=name or session.project().config.model_name)
    session.answer(session.call(endings.CONSUMERS, request), _render)


def _render(found: Consumers) -> None:
    render(found.consumers)


def render(found: Sequence[Consumer]) -> None:
    """A table of callers."""
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found:
        paper.say("nobody called in the last 30 days")
        return
    paper.table(
        ["caller", "requests", "days", "last call", "by", "models"],
        [
            (
                one.name or one.caller,
                f"{one.requests:,}",
                str(one.days),
                words.moment(one.last),
                ", ".join(one.contracts),
                ", ".join(one.models),
            )
            for one in found
        ],
        right=["requests", "days"],
    )
