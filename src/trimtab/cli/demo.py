"""`trimtab demo`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import verb


@verb("demo", "trimtab demo", "trimtab demo --keep loans --seed 7")
@click.option("--seed", type=int, help="Another seed gives another town of applicants.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the project in this folder.")
@click.option("--rows", type=click.IntRange(1), help="How many applications there are at first.")
def demo(session: Session, seed: int | None, keep: Path | None, rows: int | None) -> int:
    """Watch the whole life of a model: train, gate, serve, drift, retrain, account.

    It does with commands and HTTP what you would do, on generated loan applications.
    """
    given = {"--seed": seed, "--keep": keep, "--rows": rows}
    options = [part for name, value in given.items() if value is not None for part in (name, value)]
    flags = ["--json"] if session.as_json else []
    # The demo stands above the command line, which it uses as a stranger would.
    argv = [sys.executable, "-m", "trimtab.demo", *map(str, options), *flags]
    return subprocess.run(argv, check=False).returncode
