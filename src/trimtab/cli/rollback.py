"""`trimtab rollback`."""

from __future__ import annotations

import click

from trimtab.cli import deploy
from trimtab.cli.session import Session, user
from trimtab.cli.verb import verb
from trimtab.server import operations
from trimtab.server.requests import Return


@verb("rollback", "trimtab rollback", "trimtab rollback loans")
@click.argument("name", default="", metavar="[ENDPOINT]")
@click.option("--reason", default="", help="Why; kept in the ledger.")
@click.option("--by", default="", help="Who (default: your user name).")
def rollback(session: Session, name: str, reason: str, by: str) -> None:
    """End an open rollout, or go back to the model before."""
    request = Return(name=name, reason=reason, by=by or user())
    session.answer(session.call(operations.ROLLBACK, request), deploy.render)
