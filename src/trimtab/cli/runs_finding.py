"""`trimtab runs export`, `group` and `importance`: questions about many runs at once."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli import runs_transfer
from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import UsageError
from trimtab.server import finding
from trimtab.server.requests import Explained, RunGroups
from trimtab.track.reports import Exported, Groups, Importance, Share


def register(runs: click.Group) -> None:
    """Add these verbs to the noun."""
    for one in (export, group, importance):
        runs.add_command(one)


@verb(
    "export",
    "trimtab runs export --to runs.csv",
    "trimtab runs export --where \"status = 'done'\" --order-by 'metrics.auc desc' --to best.parquet",
    "trimtab runs export --to mlruns:./mlruns 01983f0c5a7b7c00",
    'trimtab runs export --to http://127.0.0.1:5000 --where "metrics.auc > 0.8"',
)
@click.argument("run", nargs=-1)
@click.option(
    "--to",
    required=True,
    help="A file .csv, .parquet or .jsonl; mlruns:FOLDER or http://HOST:PORT for whole runs.",
)
@click.option("--where", default="", help="A filter: docs/search.md has the language.")
@click.option(
    "--order-by", default="", help='Fields with asc or desc: "metrics.auc desc, started".'
)
@click.option("--columns", default="", help="Fields to write (default: all that a run has).")
@click.option("--deleted", is_flag=True, help="Also runs that were deleted.")
def export(
    session: Session,
    run: tuple[str, ...],
    to: str,
    where: str,
    order_by: str,
    columns: str,
    deleted: bool,
) -> None:
    """Write runs to a file, or give them to MLflow.

    In a CSV or Parquet file a row is a run with its params, tags and the last value of each metric;
    JSON lines hold runs whole. The file appears under its name when it is complete. An MLflow server
    or folder gets the runs with points, files, inputs, models and their registered versions; again
    it gets what is new. A folder keeps the ids; a server has its own, and the tag trimtab.run ours.
    """
    if runs_transfer.gives(to):
        if order_by or columns or deleted:
            raise UsageError("--order-by, --columns and --deleted are for files")
        runs_transfer.give(session, run, to, where)
        return
    from trimtab.track.search import exporting  # numpy is loaded only when needed
    from trimtab.track.search.finding import Wanted

    if run:
        raise UsageError("runs go to a file by --where", hint="ids are for mlruns: and http:")
    ws = session.project().ws
    wanted = Wanted(where=where, order_by=order_by, deleted=deleted)
    session.answer(exporting.export(ws, wanted, Path(to), columns=columns), _render_exported)


@verb(
    "group",
    "trimtab runs group --by params.depth",
    'trimtab runs group --by "params.depth, kind" --show "mean(metrics.auc) max(metrics.auc) count"',
)
@click.option("--by", required=True, help='Fields that a group shares: "params.depth, kind".')
@click.option(
    "--show",
    default="count",
    show_default=True,
    help="count, and mean, median, min, max, sum, std of a field.",
)
@click.option("--where", default="", help="A filter: docs/search.md has the language.")
@click.option("--order-by", default="", help='What is shown, with asc or desc: "count desc".')
@click.option("--deleted", is_flag=True, help="Also runs that were deleted.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="At most so many.",
)
def group(
    session: Session, by: str, show: str, where: str, order_by: str, deleted: bool, limit: int
) -> None:
    """Group runs by fields, with numbers of each group."""
    request = RunGroups(
        by=by, show=show, where=where, order_by=order_by, deleted=deleted, limit=limit
    )
    found = session.call(finding.RUNS_GROUP, request)
    session.answer(found, _render_groups)
    for line in found.notes:
        note(line)


@verb(
    "importance",
    "trimtab runs importance --metric auc",
    "trimtab runs importance --metric auc --where \"kind = 'trial' AND started > now() - 7d\"",
)
@click.option("--metric", required=True, help="The metric whose differences are explained.")
@click.option("--where", default="", help="A filter: docs/search.md has the language.")
@click.option("--seed", default=0, show_default=True, help="Of the random forests.")
def importance(session: Session, metric: str, where: str, seed: int) -> None:
    """Say which params explain the differences in a metric.

    Forests are fitted to random parts of the runs; a param's share is what of the unseen runs'
    differences (R²) cannot be told without it, with an interval. Exit code 6 below 20 runs.
    """
    request = Explained(metric=metric, where=where, seed=seed)
    session.answer(session.call(finding.RUNS_IMPORTANCE, request), _render_importance)


def _render_exported(found: Exported) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    columns = f", {len(found.columns)} columns" if found.columns else ""
    paper.say(f"{found.path}: {found.runs:,} runs{columns}, {words.size(found.bytes)}")


def _render_groups(found: Groups) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import shown
    from trimtab.track.search import groups

    if not found.groups:
        paper.say("no run is so")
        return
    keys = groups.fields_of(", ".join(found.by))
    numbers = groups.shown_of(" ".join(found.show))
    rows = []
    for one in found.groups:
        key = [shown.written(field, value) for field, value in zip(keys, one.key, strict=True)]
        told = [shown.number(each, value) for each, value in zip(numbers, one.shown, strict=True)]
        rows.append([*key, *told])
    paper.table([*found.by, *found.show], rows, right=found.show)


def _render_importance(found: Importance) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    share = f"{words.number(found.explained)} {words.interval(found.lo, found.hi)}"
    said = "explain nothing that could be told" if found.hi <= 0 else f"explain {share}"
    paper.say(
        f"the params {said} of the differences in {found.metric} "
        f"(R² on unseen runs, {found.n:,} runs)"
    )
    paper.table(
        ["param", "share", "interval", "values", "trend", ""],
        [
            (
                one.param,
                words.number(one.share),
                words.interval(one.lo, one.hi),
                str(one.values),
                "" if one.trend is None else f"{one.trend:+.2f}",
                _together(one),
            )
            for one in found.shares
        ],
        right=["share", "values", "trend"],
    )
    for name, reason in found.left_out.items():
        note(f"{name} is left out: {reason}")
    for line in found.notes:
        note(line)


def _together(share: Share) -> str:
    if not share.together:
        return ""
    return f"varies with {', '.join(share.together)}: cannot be told apart"
