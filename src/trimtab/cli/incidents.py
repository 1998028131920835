"""`trimtab incidents`: ls, show, resolve."""

from __future__ import annotations

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import Incidents
from trimtab.server.requests import Identified, Resolution, StateFilter
from trimtab.store.records import Incident

incidents = noun("incidents", "What drifted off course, one for each cause.")


@verb("ls", "trimtab incidents ls", "trimtab incidents ls --state open", of=incidents)
@click.option("--state", default="", help="open or resolved.")
def ls(session: Session, state: str) -> None:
    """List incidents, newest first."""
    session.answer(session.call(operations.INCIDENTS_LS, StateFilter(state=state)), _render_list)


@verb("show", "trimtab incidents show 01983f0c5a7b7c00", of=incidents)
@click.argument("incident")
def show(session: Session, incident: str) -> None:
    """Show one incident, by its id or the beginning of it."""
    session.answer(session.call(operations.INCIDENTS_SHOW, Identified(id=incident)), _render)


@verb(
    "resolve",
    'trimtab incidents resolve 01983f0c5a7b7c00 --note "a broken sensor, replaced"',
    of=incidents,
)
@click.argument("incident")
@click.option("--note", default="", help="What was done about it; kept with the incident.")
def resolve(session: Session, incident: str, note: str) -> None:
    """Close an incident by hand."""
    request = Resolution(id=incident, note=note)
    session.answer(session.call(operations.INCIDENTS_RESOLVE, request), _render)


def _render_list(found: Incidents) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found.incidents:
        paper.say("no incidents")
        return
    paper.table(
        ["incident", "state", "kind", "endpoint", "since", "what"],
        [
            (
                words.short(one.id),
                one.state,
                one.kind,
                one.endpoint,
                words.moment(one.since or one.opened_at),
                one.title,
            )
            for one in found.incidents
        ],
    )


def _render(one: Incident) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.facts(
        {
            "incident": one.id,
            "what": one.title,
            "kind": one.kind,
            "state": one.state,
            "endpoint": one.endpoint,
            "since": words.moment(one.since or one.opened_at),
            "opened": words.moment(one.opened_at),
            "resolved": words.moment(one.resolved_at) if one.resolved_at else "",
            "resolution": one.resolution,
            **{name: words.cell(value) for name, value in one.detail.items()},
        }
    )
