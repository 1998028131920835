"""`trimtab timeline`."""

from __future__ import annotations

import click

from trimtab.cli.plain import plain
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Timeline
from trimtab.server import operations
from trimtab.server.requests import Between

_TONES = {"good": "green", "bad": "bold red", "warn": "yellow", "busy": "cyan", "plain": ""}


@verb("timeline", "trimtab timeline", "trimtab timeline --since 2w", "trimtab timeline --json")
@click.option("--since", default="", help="How long ago (2w, 3d, 36h), or a date.")
@click.option("--until", default="", help="The same; now where it is left out.")
def timeline(session: Session, since: str, until: str) -> None:
    """Tell what happened, in order, each with its cause.

    Models and rollouts, retrains, incidents, requests for labels, data, restarts and pauses, from
    the store alone. Times are UTC.
    """
    asked = Between(since=since, until=until)
    session.answer(session.call(operations.TIMELINE, asked), _render)


def _render(found: Timeline) -> None:
    from rich.text import Text  # rich is loaded only to print

    from trimtab import ids
    from trimtab.cli import paper

    if not found.events:
        paper.say("Nothing happened in that time.")
    week = ""
    out = paper.console()
    for one in found.events:
        at = ids.to_datetime(one.time)
        if week != f"{at:%G-%V}":
            out.print(Text(("\n" if week else "") + f"Week {at:%V of %G}", style="bold"))
            week = f"{at:%G-%V}"
        line = Text(f"  {at:%a %Y-%m-%d %H:%M}  ", style="dim")
        line.append(f"{one.lane:<10} ", style="dim")
        line.append(plain(one.said.removesuffix(".")), style=_TONES.get(one.tone, ""))
        if one.cause:
            line.append(plain(f"; {one.cause}"), style="dim")
        out.print(line)
