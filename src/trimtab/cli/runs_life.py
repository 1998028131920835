"""`trimtab runs`: rm, restore, gc."""

from __future__ import annotations

from typing import Final

import click

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.server import disposal
from trimtab.server.requests import Age, Disposal
from trimtab.store.collected import Collection, Disposed

_SHOWN = 20
_WHERE = "Those that a filter keeps, such as \"metrics.loss > 1 and tags.team = 'risk'\"."


@verb(
    "rm",
    "trimtab runs rm 01983f0c5a7b7c00",
    "trimtab runs rm --where \"status = 'failed'\"",
)
@click.argument("run", nargs=-1)
@click.option("--where", default="", help=_WHERE)
@click.option("--experiment", default="", help="An experiment with all its runs.")
@click.option("--force", is_flag=True, help="Also runs that nobody has ended.")
def rm(session: Session, run: tuple[str, ...], where: str, experiment: str, force: bool) -> None:
    """Delete runs, with those inside them; `restore` brings them back.

    They are not listed any more, and `gc` takes them away for good. Refused for a run that is
    running and for one that made a model in use; of a filter such runs are left out.
    """
    request = Disposal(ids=list(run), where=where, experiment=experiment, force=force)
    session.answer(session.call(disposal.RUNS_DELETE, request), _render_deleted)


@verb(
    "restore",
    "trimtab runs restore 01983f0c5a7b7c00",
    "trimtab runs restore --experiment churn",
)
@click.argument("run", nargs=-1)
@click.option("--where", default="", help=_WHERE)
@click.option("--experiment", default="", help="An experiment, with the runs that went with it.")
def restore(session: Session, run: tuple[str, ...], where: str, experiment: str) -> None:
    """Bring deleted runs back, with those that went together with them."""
    request = Disposal(ids=list(run), where=where, experiment=experiment)
    session.answer(session.call(disposal.RUNS_RESTORE, request), _render_restored)


@verb("gc", "trimtab runs gc", "trimtab runs gc --older-than 90d --yes")
@click.option(
    "--older-than", default="30d", show_default=True,
    help="How long ago they must have been deleted: 30d, 36h, a date; 0 for all.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only list what would go, which is the default.")
@click.option("--yes", is_flag=True, help="Take it away.")
def gc(session: Session, older_than: str, dry_run: bool, yes: bool) -> None:
    """Take deleted runs away for good, with what nothing else names.

    What would go is listed; --yes takes it away. One that is cut short goes on when it is called
    again. The ledger and evidence stay.
    """
    request = Age(older_than=older_than)
    does = yes and not dry_run
    found = session.call(disposal.GC if does else disposal.GC_PLAN, request)
    session.answer(found, _render_collection)
    if not does:
        note("nothing was changed: --yes does it")


VERBS: Final = (rm, restore, gc)


def _render_deleted(found: Disposed) -> None:
    _render(found, "deleted", "`trimtab runs restore` brings them back")


def _render_restored(found: Disposed) -> None:
    _render(found, "restored", "")


def _render(found: Disposed, word: str, hint: str) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(f"{len(found.runs)} runs {word}" + (f"; {hint}" if hint and found.runs else ""))
    for run in found.runs[:_SHOWN]:
        paper.say(f"  {run}")
    if len(found.runs) > _SHOWN:
        paper.say(f"  and {len(found.runs) - _SHOWN} more")
    if found.kept:
        paper.table(["left as it is", "because"], [(one.run, one.reason) for one in found.kept])


def _render_collection(found: Collection) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if found.runs:
        paper.table(
            ["run", "kind", "name", "deleted", "batches", "chunks", "files", "spools", "size"],
            [
                (
                    one.run, one.kind, one.name, words.ago(one.deleted_at), f"{one.batches:,}",
                    f"{one.chunks:,}", f"{one.files:,}", f"{one.spools:,}", words.size(one.bytes),
                )
                for one in found.runs[:_SHOWN]
            ],
            right=["batches", "chunks", "files", "spools", "size"],
        )  # fmt: skip
    if len(found.runs) > _SHOWN:
        paper.say(f"and {len(found.runs) - _SHOWN} more runs")
    for name in found.experiments:
        paper.say(f"experiment {name}")
    for name in found.models:
        paper.say(f"logged model {name}")
    word = "gone" if found.done else "would go"
    paper.say(
        f"{word}: {len(found.runs):,} runs ({words.size(found.bytes)}), "
        f"{found.blobs:,} blobs ({words.size(found.blob_bytes)})"
    )
    if found.kept:
        paper.table(["kept", "because"], [(one.run, one.reason) for one in found.kept])
