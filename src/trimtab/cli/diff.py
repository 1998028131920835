"""`trimtab diff`."""

from __future__ import annotations

import click

from trimtab.cli import data
from trimtab.cli.session import Session
from trimtab.cli.verb import verb


@verb("diff", "trimtab diff applications@v1 applications@v2")
@click.argument("before")
@click.argument("after")
@click.option("--key", default="", help="The column that tells rows apart (default: configured).")
def diff(session: Session, before: str, after: str, key: str) -> None:
    """Compare two data versions, as `trimtab data diff` does."""
    data.show_difference(session, before, after, key)
