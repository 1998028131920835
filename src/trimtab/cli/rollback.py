"""`trimtab rollback`."""

from __future__ import annotations

import click

from trimtab.cli import deploy
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.server import operations
from trimtab.server.requests import Named


@verb("rollback", "trimtab rollback", "trimtab rollback loans")
@click.argument("name", default="", metavar="[ENDPOINT]")
def rollback(session: Session, name: str) -> None:
    """End an open rollout, or go back to the model before."""
    session.answer(session.call(operations.ROLLBACK, Named(name=name)), deploy.render)
