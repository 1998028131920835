"""`trimtab why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trimtab.cli.plain import plain
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.loop.reports import Lineage
from trimtab.server import operations
from trimtab.server.requests import Question

if TYPE_CHECKING:  # rich is loaded only to print
    from rich.tree import Tree


@verb(
    "why",
    "trimtab why loans@champion",
    "trimtab why 01983f0c5a7b7c00…            # a prediction, run, incident, rollout or action",
    "trimtab why step:clean",
    "trimtab why nightly                      # a trigger",
)
@click.argument("what")
def why(session: Session, what: str) -> None:
    """Walk back from a thing to what caused it.

    WHAT is a model or data version, step:NAME, a trigger, or the id of a prediction, run, incident,
    rollout or action.
    """
    session.answer(session.call(operations.WHY, Question(what=what)), _render)


def _render(lineage: Lineage) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.console().print(_tree(lineage))


def _tree(lineage: Lineage) -> Tree:
    from rich.text import Text  # rich is loaded only to print
    from rich.tree import Tree

    from trimtab.server import words

    tree = Tree(Text(plain(lineage.title), style="bold"), guide_style="dim")
    for name, value in lineage.facts.items():
        tree.add(Text.assemble((plain(f"{name}  "), "dim"), plain(words.cell(value))))
    for inner in lineage.because:
        tree.add(_tree(inner))
    return tree
