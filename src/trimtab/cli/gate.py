"""`trimtab gate`, and how a decision of the gate is shown and becomes an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.errors import NotFoundError, RefusedError, UndecidedError, UsageError
from trimtab.loop.reports import Decision
from trimtab.server import operations
from trimtab.server.requests import Candidate

if TYPE_CHECKING:  # the project brings the database with it
    from trimtab.loop.project import Project


@verb("gate", "trimtab gate", "trimtab gate loans@v2 --strict", "trimtab gate loans@mlflow-3")
@click.argument("subject", default="", metavar="[CANDIDATE]")
@click.option("--run", default="", metavar="ID", help="The run that made the candidate.")
@click.option("--strict", is_flag=True, help="Refuse what is undecided.")
@click.option("--allow-pickle", is_flag=True, help="Read a pickle; only from whom you trust.")
def gate(session: Session, subject: str, run: str, strict: bool, allow_pickle: bool) -> int:
    """Hold the requirements against a packaged candidate.

    CANDIDATE is a digest, a version, or NAME@mlflow-N: version N that a client of MLflow
    registered, which is packaged and measured first. Without it, it is the last one. Only a pass
    gets a version number. Exits 3 where it is refused, 6 where more data would be needed to say.
    """
    project = session.project()
    if allow_pickle:
        decision = brought(project, subject, strict=strict)
    else:
        subject = _subject(project, subject)
        decision = operations.GATE.call(project, Candidate(subject=subject, run=run, strict=strict))
    session.answer(decision, render)
    return code(decision)


def brought(project: Project, subject: str, *, strict: bool = False) -> Decision:
    """The decision on a version of MLflow's registry whose pickle may be read."""
    from trimtab.interop.mlflow import candidates  # the database is loaded only when needed
    from trimtab.server.handlers import release

    if not candidates.is_one(subject):
        raise UsageError(
            "--allow-pickle is for a version of MLflow's registry", hint="such as loans@mlflow-3"
        )
    return release.bring(project, subject, allow_pickle=True, strict=strict)


def _subject(project: Project, asked: str) -> str:
    from trimtab.interop.mlflow import candidates  # the database is loaded only when needed
    from trimtab.store import verdicts, versions

    if candidates.is_one(asked):
        return asked
    if "@" in asked:
        return versions.get(project.ws, "model", asked).digest
    if asked:
        return asked
    last = verdicts.find(project.ws, place="gate", limit=1)
    if not last:
        raise NotFoundError("no candidate was judged yet", hint="`trimtab run` makes one")
    return last[0].subject


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
