"""`trimtab apply`."""

from __future__ import annotations

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Applied
from trimtab.server import operations
from trimtab.server.requests import Nothing


@verb("apply", "trimtab apply")
def apply(session: Session) -> None:
    """Make trimtab.toml what controller and monitor go by.

    They never read the working tree; run, deploy and up apply the file as well.
    """
    session.answer(session.call(operations.APPLY, Nothing()), _render)


def _render(applied: Applied) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    word = "in force now" if applied.changed else "in force already, nothing changed"
    paper.say(f"{word}: {applied.digest}")
