"""`trimtab run`."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from trimtab.cli import gate
from trimtab.cli.plan import Param
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Trained


@verb("run", "trimtab run", "trimtab run -p trials=50 -p seed=1")
@click.option(
    "-p", "--param", "params", type=Param(), multiple=True, help="An argument of the flow."
)
@click.option(
    "--data", multiple=True, metavar="DATA", help="A version NAME@vN to read instead of the source."
)
def run(session: Session, params: tuple[tuple[str, Any], ...], data: tuple[str, ...]) -> int:
    """Train, package, measure and gate.

    The project's flow, from its data to a verdict. Steps and trials that were done before are not
    done again, so an interrupted run goes on where it was. A source whose bytes are new is
    read as a new version. Exits 3 where the gate refuses, or acceptance refused a version given.
    """
    project = session.project()
    from trimtab.cli.progress import Display
    from trimtab.loop.candidate import admission, train  # brings numpy and polars

    pinned = [admission.insist(project, reference) for reference in data]

    # The project's own code may print: stdout is for the answer.
    with Display() as display, contextlib.redirect_stdout(sys.stderr):
        trained = train.train(
            project,
            params=dict(params),
            data={one.name: one.label for one in pinned},
            on_event=display,
        )
    session.answer(trained, _render)
    return gate.code(trained.decision)


def _render(trained: Trained) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    steps = trained.steps_run + trained.steps_cached
    if trained.nothing_to_do:
        paper.say(f"nothing to do: all {steps} steps are cached")
    if trained.metrics:
        paper.table(
            ["on withheld rows", "value"],
            [(name, words.number(value)) for name, value in trained.metrics.items()],
            right=["value"],
        )
    if trained.parity:
        paper.say(_parity(trained))
    gate.render(trained.decision)
    if not trained.nothing_to_do:
        paper.say(
            f"run {trained.run.id}: {trained.steps_run} steps run, {trained.steps_cached} cached, "
            f"{words.took(trained.run)}"
        )


def _parity(trained: Trained) -> str:
    parity = trained.parity
    if parity is None:
        return ""
    why = (
        f"served by the estimator itself, not as a graph: {parity.reason}\n"
        if parity.reason
        else ""
    )
    return (
        f"{why}packaged as {parity.engine}: largest difference to the estimator "
        f"{parity.max_abs_diff:.2g} on {parity.rows:,} rows, {parity.flipped} decisions flipped"
    )
