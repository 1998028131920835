"""`trimtab status`."""

from __future__ import annotations

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Overview
from trimtab.server import operations
from trimtab.server.requests import Nothing
from trimtab.store.records import Verdict


@verb("status", "trimtab status", "trimtab status --json")
def status(session: Session) -> None:
    """Show the project's loop at a glance."""
    session.answer(session.call(operations.OVERVIEW, Nothing()), _render)


def _render(overview: Overview) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.say(overview.sentence)
    paper.say()
    paper.say(overview.outlook.text)
    paper.say()
    paper.table(
        ["stage", "", "is"],
        [
            (node.name, node.state, ": ".join(part for part in (node.title, node.detail) if part))
            for node in overview.nodes
        ],
    )
    if overview.requirements:
        paper.say()
        paper.table(
            ["requirement", "gate", "rollout", "monitor"],
            [
                (one.text, _standing(one.gate), _standing(one.rollout), _standing(one.monitor))
                for one in overview.requirements
            ],
        )
    paper.say()
    is_open = [one for one in overview.incidents if one.state == "open"]
    for incident in is_open:
        paper.say(f"incident {words.short(incident.id)}: {incident.title}")


def _standing(verdict: Verdict | None) -> str:
    from trimtab.server import words  # one import a call is nothing beside printing

    if verdict is None:
        return "–"
    return f"{words.standing(verdict)} {words.number(verdict.value)}"
