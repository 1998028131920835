"""`trimtab demo`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb


@verb("demo", "trimtab demo", "trimtab demo --keep loans --seed 7")
@click.option(
    "--seed", default=0, show_default=True, help="Another seed gives another town of applicants."
)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the project in this folder.")
@click.option(
    "--rows",
    default=12_000,
    show_default=True,
    type=click.IntRange(1),
    help="How many past applications there are.",
)
def demo(session: Session, seed: int, keep: Path | None, rows: int) -> int:
    """Watch the whole life of a model.

    Train, gate, serve, drift, retrain, account. It does with commands and HTTP what you would do,
    on generated loan applications.
    """
    # The demo stands above the command line, which it uses as a stranger would: named here, never
    # imported.
    story = importlib.import_module("trimtab.demo.story")
    return int(story.main(seed=seed, keep=keep, rows=rows))
