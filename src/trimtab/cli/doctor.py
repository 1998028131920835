"""`trimtab doctor`."""

from __future__ import annotations

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Health
from trimtab.server import operations
from trimtab.server.requests import Anchor


@verb("doctor", "trimtab doctor", "trimtab doctor --expect blake3:9f0b…")
@click.option("--expect", default="", metavar="HEAD", help="A ledger head that you kept elsewhere.")
def doctor(session: Session, expect: str) -> int:
    """Verify the ledger's chain and every stored blob.

    Exits 1 where anything is wrong, and names it. A chain checked by itself shows that it is
    whole, not that it is the one you had: keep its head somewhere else and give it with --expect.
    """
    health = session.call(operations.DOCTOR, Anchor(expect=expect))
    session.answer(health, _render)
    return 0 if health.ok else 1


def _render(health: Health) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.table(
        ["check", "", "found"],
        [(one.name, "good" if one.ok else "bad", one.message) for one in health.checks],
    )
    paper.facts({"entries": health.entries, "blobs": health.blobs, "head": health.head})
    paper.say("all is well" if health.ok else "something is wrong: see above")
