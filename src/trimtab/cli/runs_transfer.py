"""`trimtab runs`: import, export."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trimtab.cli.plain import plain
from trimtab.cli.session import Session
from trimtab.cli.verb import verb

if TYPE_CHECKING:  # it brings numpy and the database with it
    from trimtab.interop.transfer.tally import Transferred
    from trimtab.store.workspace import Workspace

_SHOWN = 20


@verb(
    "import",
    "trimtab runs import http://127.0.0.1:5000",
    "trimtab runs import ./mlruns --dry-run",
    "trimtab runs import mlflow.db --artifacts ./mlartifacts --experiment churn",
)
@click.argument("source")
@click.option("--experiment", default="", help="Only this one.")
@click.option(
    "--artifacts", metavar="DIR", default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the files of a database lie.",
)  # fmt: skip
@click.option(
    "--max-file-size", default=50_000, show_default=True, type=click.IntRange(0),
    help="Larger files are left out, in MB.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Read everything again, also what is in.")
@click.option("--dry-run", is_flag=True, help="Only count and say what cannot be carried.")
def import_(
    session: Session, source: str, experiment: str, artifacts: Path | None, max_file_size: int,
    again: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Take in the runs of an MLflow server, folder or database.

    SOURCE is http://HOST:PORT, a folder mlruns or a file mlflow.db. Experiments, runs with their ids,
    every point, files, inputs, logged and registered models. Called again it takes in what is new;
    cut short, it goes on. What cannot be carried is listed.
    """
    from trimtab.interop.transfer.intake import Taking  # the database is loaded only when needed
    from trimtab.interop.transfer.taking import open_source, take
    from trimtab.interop.transfer.tally import Tally

    ws = session.project().ws
    tally = Tally(source=source, target=str(ws.root), dry_run=dry_run, tell=_teller())
    found = open_source(source, tally.skip, artifacts=artifacts)
    taking = Taking(
        ws=ws, source=found, tally=tally, largest=max_file_size * 1_000_000, again=again
    )
    try:
        take(taking, experiment)
    except BaseException:
        if tally.runs or tally.grown:
            sys.stderr.write(f"until here: {tally.runs + tally.grown} runs are in\n")
        raise
    finally:
        found.close()
    session.answer(tally.done(), render)


def gives(to: str) -> bool:
    """Whether runs are given away at that target, and not written to a file."""
    return to.startswith(tuple(TARGETS))


def give(session: Session, run: tuple[str, ...], to: str, where: str) -> None:
    """Give runs to a target of `TARGETS`; raises UsageError where none is named."""
    from trimtab.errors import UsageError

    ws = session.project().ws
    wanted = list(run)
    if where:
        from trimtab.interop.transfer import chosen  # the database is loaded only when needed

        wanted += chosen.where(ws, where)
    if not run and not where:
        raise UsageError("no run is named", hint="give ids or --where")
    prefix = next(one for one in TARGETS if to.startswith(one))
    session.answer(TARGETS[prefix](ws, wanted, to), render)


def _to_mlflow(ws: Workspace, wanted: list[str], to: str) -> Transferred:
    from trimtab.interop.transfer.giving import export_to_mlflow  # loaded only when needed
    from trimtab.interop.transfer.tally import Tally

    tally = Tally(source=str(ws.root), target=to, tell=_teller())
    export_to_mlflow(ws, wanted, to, tally)
    return tally.done()


TARGETS: Final[dict[str, Callable[[Workspace, list[str], str], Transferred]]] = {
    "mlruns:": _to_mlflow,
    "http://": _to_mlflow,
    "https://": _to_mlflow,
}
VERBS: Final = (import_,)


def render(found: Transferred) -> None:
    """What was carried and what was not."""
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    would = "would be carried" if found.dry_run else "carried"
    paper.facts(
        {
            "from": found.source,
            "to": found.target,
            would: f"{found.runs:,} runs of {found.experiments:,} experiments",
            "grown": f"{found.grown:,} runs" if found.grown else "",
            "the same": f"{found.same:,} runs" if found.same else "",
            "points": "" if found.dry_run else f"{found.points:,}",
            "files": f"{found.files:,} ({words.size(found.bytes)})",
            "models": f"{found.models:,} logged, {found.registered:,} registered with "
            f"{found.versions:,} versions",
        }
    )
    if not found.skipped_count:
        return
    paper.say(f"not carried: {found.skipped_count:,}")
    paper.table(
        ["what", "which", "because"],
        [(one.what, one.name, one.reason) for one in found.skipped[:_SHOWN]],
    )
    if found.skipped_count > _SHOWN:
        paper.say(f"and {found.skipped_count - _SHOWN:,} more: --json lists them")


def _teller() -> Callable[[str], None]:
    """Says a line on stderr, at most one each second."""
    last = time.monotonic()

    def tell(line: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 1:
            last = now
            sys.stderr.write(f"{plain(line)}\n")
            sys.stderr.flush()

    return tell
