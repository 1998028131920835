"""`trimtab incidents`: ls, show, ack, resolve."""

from __future__ import annotations

import click

from trimtab.cli.session import Session, note, user
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import Incidents, IncidentShown
from trimtab.server.requests import Acknowledgement, Identified, Resolution, StateFilter
from trimtab.store.records import Incident

_APART = 3_600_000_000
"""Microseconds from which on the two clocks are said to differ."""

incidents = noun("incidents", "What drifted off course, one for each cause.")


@verb("ls", "trimtab incidents ls", "trimtab incidents ls --state open", of=incidents)
@click.option("--state", default="", help="open or resolved.")
def ls(session: Session, state: str) -> None:
    """List incidents, newest first."""
    session.answer(session.call(operations.INCIDENTS_LS, StateFilter(state=state)), _render_list)


@verb("show", "trimtab incidents show 01983f0c5a7b7c00", of=incidents)
@click.argument("incident")
def show(session: Session, incident: str) -> None:
    """Show one incident and what was told of it, by its id."""
    session.answer(session.call(operations.INCIDENTS_SHOW, Identified(id=incident)), _render_shown)


@verb("ack", "trimtab incidents ack 01983f0c5a7b7c00 --by maria", of=incidents)
@click.argument("incident")
@click.option("--by", default="", help="Who has it in hand (default: your user name).")
def ack(session: Session, incident: str, by: str) -> None:
    """Say that somebody has an incident in hand."""
    request = Acknowledgement(id=incident, by=by or user())
    session.answer(session.call(operations.INCIDENTS_ACK, request), _render)


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
        ["incident", "state", "severity", "kind", "endpoint", "since", "seen", "owner", "what"],
        [
            (
                words.short(one.id),
                words.stage(one),
                one.severity,
                one.kind,
                one.endpoint,
                words.moment(one.since or one.opened_at),
                str(found.occurrences.get(one.id, 1)),
                str(one.detail.get("owner", "")),
                one.title,
            )
            for one in found.incidents
        ],
        right=["seen"],
    )
    for said in found.undelivered:
        note(said)


def _render_shown(shown: IncidentShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import deliveries, words

    _render(shown)
    times = "once" if shown.occurrences == 1 else f"in {shown.occurrences:,} windows"
    paper.facts({"seen": f"{times}, last {words.moment(shown.seen_at)}"})
    if shown.alerts:
        paper.table(
            ["told", "to", "state", "attempts", "sent, or tried next", "answer"],
            [
                (
                    one.event,
                    one.channel,
                    one.state,
                    str(one.attempts),
                    deliveries.when(one),
                    one.error or one.receipt,
                )
                for one in shown.alerts
            ],
            right=["attempts"],
        )
    opened = (one.created_at for one in shown.alerts if one.event == "opened")
    if any(abs(moment - shown.opened_at) > _APART for moment in opened):
        note("sent, or tried next: by this machine's clock; all else by the endpoint's rows' clock")


def _often(count: int) -> str:
    return {0: "", 1: "once"}.get(count, f"{count} times")


def _render(one: Incident) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    taken = f"{words.moment(one.acknowledged_at)} by {one.acknowledged_by}"
    paper.facts(
        {
            "incident": one.id,
            "what": one.title,
            "kind": one.kind,
            "state": words.stage(one),
            "severity level": one.severity,
            "endpoint": one.endpoint,
            "since": words.moment(one.since or one.opened_at),
            "opened": words.moment(one.opened_at),
            "reopened": _often(one.reopened),
            "acknowledged": taken if one.acknowledged_at else "",
            "resolved": words.moment(one.resolved_at) if one.resolved_at else "",
            "resolution": one.resolution,
            **{name: words.part(name, value) for name, value in one.detail.items()},
        }
    )
