"""`trimtab runs`: ls, show, metrics, sync; `runs_finding` has what asks about many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli import runs_finding, runs_life, runs_transfer
from trimtab.cli.session import Session, note
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import RunMetrics, Runs, RunShown
from trimtab.server.requests import Identified, RunFilter, SeriesFilter
from trimtab.store.records import Run

if TYPE_CHECKING:  # it brings numpy and the database with it
    from trimtab.track.merge import Synced

runs = noun("runs", "Every execution, with what it read, made and measured.")
runs_finding.register(runs)
for _one in (*runs_life.VERBS, *runs_transfer.VERBS):
    runs.add_command(_one)


@verb(
    "ls",
    "trimtab runs ls",
    "trimtab runs ls --kind trial --limit 20",
    "trimtab runs ls --where \"metrics.auc > 0.8 AND (params.depth < 6 OR tags.team = 'risk')\"",
    'trimtab runs ls --order-by "metrics.auc desc" --columns "metrics.auc, params.depth"',
    of=runs,
)
@click.option("--where", default="", help="A filter: docs/search.md has the language.")
@click.option(
    "--order-by", default="", help='Fields with asc or desc: "metrics.auc desc, started".'
)
@click.option("--columns", default="", help='Fields to print: "metrics.auc, params.depth".')
@click.option("--kind", default="", help="flow, step, trial, evaluate, retrain, …")
@click.option("--name", default="", help="The name of the flow or step.")
@click.option("--status", default="", help="running, done, failed, cached or cancelled.")
@click.option("--all", "inner", is_flag=True, help="Also runs inside other runs.")
@click.option("--deleted", is_flag=True, help="Also runs that were deleted.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many."
)
@click.option("--after", default="", help="The token that the page before ended with.")
def ls(session: Session, columns: str, inner: bool, kind: str, where: str, **fields: Any) -> None:
    """List runs, newest first, or those that a filter keeps.

    Steps and trials, which are runs inside a run, are listed with --all, --kind or --where.
    """
    top = not (inner or kind or where)
    request = RunFilter(kind=kind, where=where, top=top, **fields)
    if columns:
        from trimtab.track.search import order  # numpy is loaded only when needed

        order.read(columns)
    found = session.call(operations.RUNS_LS, request)
    session.answer(found, lambda _: _render_list(found, columns, is_asked=bool(where)))
    for line in found.notes:
        note(line)


@verb("show", "trimtab runs show 01983f0c5a7b7c00", of=runs)
@click.argument("run")
def show(session: Session, run: str) -> None:
    """Show one run, by its id or the beginning of it."""
    session.answer(session.call(operations.RUNS_SHOW, Identified(id=run)), _render_one)


@verb("metrics", "trimtab runs metrics 01983f0c5a7b7c00 --key roc_auc --json", of=runs)
@click.argument("run")
@click.option("--key", default="", help="Only this series.")
def metrics(session: Session, run: str, key: str) -> None:
    """Print the metric series of a run."""
    request = SeriesFilter(id=run, key=key)
    session.answer(session.call(operations.RUNS_METRICS, request), _render_metrics)


@verb("sync", "trimtab runs sync", "trimtab runs sync usb/trimtab-spool --json", of=runs)
@click.argument(
    "spools",
    metavar="[FOLDER]",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
def sync(session: Session, spools: Path | None) -> None:
    """Take in what runs without a store have left in a folder.

    Without FOLDER it is what processes that died have left in this project. Everything is taken in
    once, also where this is called again, is cut short, or the folder comes from another machine.
    Exit code 1 where a spool is damaged; what stands before the damage is in.
    """
    from trimtab.errors import IntegrityError
    from trimtab.track import merge, process  # the database is loaded only when needed

    ws = session.project().ws
    found = merge.sync(ws, spools or ws.root / merge.FOLDER, process.is_alive)
    session.answer(found, _render_synced)
    if found.damaged:
        raise IntegrityError("; ".join(found.damaged), hint="the files are kept")


def _render_synced(found: Synced) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if not found.runs and not found.damaged:
        paper.say("nothing to take in")
        return
    kept = f", {found.open} files stay: their runs go on" if found.open else ""
    paper.say(f"{found.points:,} points of {len(found.runs)} runs taken in{kept}")
    for run in found.runs:
        paper.say(run)


def _render_list(found: Runs, columns: str, *, is_asked: bool) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if not found.runs:
        paper.say("no run is so" if is_asked else "no runs yet: `trimtab run` begins one")
        return
    if columns:
        _chosen(found, columns)
    else:
        _table(found.runs)
    if found.next:
        note(f"{len(found.runs)} of {found.matched:,}; the next page: --after {found.next}")


def _chosen(found: Runs, columns: str) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import shown, words

    fields = shown.columns(columns)
    paper.table(
        ["run", *(one.title for one in fields)],
        [
            (words.short(run.id), *(one.text(run, found.metrics.get(run.id, {})) for one in fields))
            for run in found.runs
        ],
        right=[one.title for one in fields if one.is_number],
    )


def _table(rows: list[Run]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["run", "kind", "name", "status", "began", "took", "cause"],
        [
            (
                words.short(run.id),
                run.kind,
                run.name,
                run.status,
                words.ago(run.started_at),
                words.took(run),
                words.cause(run),
            )
            for run in rows
        ],
        right=["took"],
    )


def _render_one(shown: RunShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import shown as columns
    from trimtab.server import words

    run = shown.run
    paper.facts(
        {
            "run": run.id,
            "kind": f"{run.kind} {run.name}",
            "status": run.status,
            "deleted": words.ago(shown.deleted_at) if shown.deleted_at else "",
            "began": words.moment(run.started_at),
            "took": words.took(run),
            "peak memory": words.size(run.peak_bytes) if run.peak_bytes else "",
            "cause": words.cause(run),
            "params": _cut(columns.paths(run.params)),
            "tags": _cut(columns.paths(run.tags)),
            "code": run.code,
            "environment": run.environment,
            "error": words.error(run.error or {}),
        }
    )
    if shown.metrics:
        paper.table(
            ["metric", "value"],
            [(key, words.number(value)) for key, value in sorted(shown.metrics.items())],
            right=["value"],
        )
    if run.error and (said := str(run.error.get("traceback") or "").rstrip()):
        paper.say(said)
    for link in shown.links:
        paper.say(f"{link.direction.ljust(3)}  {link.name}  {link.digest}")
    if shown.children:
        _table(shown.children)


def _cut(values: dict[str, Any]) -> dict[str, Any]:
    """Long texts by their beginning; `--json` has them whole."""
    return {
        key: f"{value[:200]}… ({len(value):,} characters)"
        if isinstance(value, str) and len(value) > 400
        else value
        for key, value in values.items()
    }


def _render_metrics(found: RunMetrics) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    rows = [(one.key, point) for one in found.series for point in one.points]
    paper.table(
        ["metric", "step", "value", "at"],
        [
            (key, str(point.step), words.number(point.value), words.moment(point.time))
            for key, point in rows
        ],
        right=["step", "value"],
    )
