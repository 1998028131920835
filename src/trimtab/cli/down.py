"""`trimtab down`."""

from __future__ import annotations

import click
import msgspec

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.store.records import Endpoint


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What was stopped: the address of the server, "" where none was up, and the endpoints."""

    server: str
    endpoints: list[Endpoint]


@verb("down", "trimtab down", "trimtab down loans")
@click.argument("name", default="", metavar="[ENDPOINT]")
def down(session: Session, name: str) -> None:
    """Stop endpoints and a running `trimtab up`.

    With ENDPOINT, that one alone. An endpoint answers what it has accepted before it ends.
    `trimtab up` or `trimtab deploy` starts it again.
    """
    from trimtab.loop.releases import release  # the database is loaded only when needed
    from trimtab.server import process

    project = session.project()
    server = None if name else process.stop(project.ws.root)
    ended = release.stop(project, name or None)
    stopped = Stopped(server=server.url if server else "", endpoints=ended)
    session.answer(stopped, _render)


def _render(stopped: Stopped) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if stopped.server:
        paper.say(f"stopped the server at {stopped.server}")
    for endpoint in stopped.endpoints:
        paper.say(f"stopped endpoint {endpoint.name}")
    if not stopped.server and not stopped.endpoints:
        paper.say("nothing was running")
