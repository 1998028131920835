"""`trimtab gate`, and how a decision of the gate is shown and becomes an exit code."""

from __future__ import annotations

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.errors import RefusedError, UndecidedError
from trimtab.loop.reports import Decision
from trimtab.server import operations
from trimtab.server.requests import Candidate


@verb("gate", "trimtab gate blake3:4c1e…", "trimtab gate loans@v2 --strict")
@click.argument("subject")
@click.option("--run", default="", metavar="ID", help="The run that made the candidate.")
@click.option("--strict", is_flag=True, help="Refuse what is undecided.")
def gate(session: Session, subject: str, run: str, strict: bool) -> int:
    """Hold the requirements against a packaged candidate, by digest or version.

    Only a pass gets a version number. Exits 3 where it is refused, 6 where more data would be
    needed to say.
    """
    project = session.project()
    if "@" in subject:
        from trimtab.store import versions  # the database is loaded only when needed

        subject = versions.get(project.ws, "model", subject).digest
    decision = operations.GATE.call(project, Candidate(subject=subject, run=run, strict=strict))
    session.answer(decision, render)
    return code(decision)


def render(decision: Decision) -> None:
    """Every requirement's verdict, then what it comes to."""
    from trimtab.cli import paper  # rich is loaded only to print

    if decision.verdicts:
        paper.verdicts(decision.verdicts)
    if decision.version:
        word = "passed provisionally" if decision.provisional else "passed"
        paper.say(f"{word}: {decision.version.label}")
        return
    paper.say(f"refused: {decision.subject}")
    for verdict in decision.verdicts:
        if not verdict.allows:
            paper.say(f"  {verdict.text}: {verdict.status}; {verdict.reason}")


def code(decision: Decision) -> int:
    """0 where it is allowed; 6 where nothing but a lack of data stands against it; else 3."""
    if decision.allowed:
        return 0
    against = {verdict.status for verdict in decision.verdicts if not verdict.allows}
    return UndecidedError.exit_code if against == {"undecided"} else RefusedError.exit_code
