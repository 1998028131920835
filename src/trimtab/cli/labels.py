"""`trimtab labels`: ls, show, export."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli.session import Session, note
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import LabelRequests, LabelRequestShown
from trimtab.server.requests import Identified, StateFilter

labels = noun("labels", "Which predictions' truth is asked for, and how far it has come.")

_FIRST = 10


@verb("ls", "trimtab labels ls", "trimtab labels ls --state open", of=labels)
@click.option("--state", default="", help="open or closed.")
def ls(session: Session, state: str) -> None:
    """List requests for labels, newest first."""
    session.answer(session.call(operations.LABELS_LS, StateFilter(state=state)), _render_list)


@verb("show", "trimtab labels show 01983f0c5a7b7c00", of=labels)
@click.argument("request")
def show(session: Session, request: str) -> None:
    """Show a request: why, how many, drawn from what, the first rows.

    It is named by its id or the beginning of it.
    """
    session.answer(session.call(operations.LABELS_SHOW, Identified(id=request)), _render)


@verb(
    "export",
    "trimtab labels export 01983f0c5a7b7c00 > to-label.csv",
    "trimtab labels export 01983f0c5a7b7c00 --out to-label.csv",
    of=labels,
)
@click.argument("request")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write (default: stdout).",
)
def export(session: Session, request: str, out: Path | None) -> None:
    """Write a request as CSV to be filled in, most telling rows first.

    Fill in the target and put the file where [serve] labels looks. Rows that have a label are left
    out; whoever stops early has labelled a fair sample all the same.
    """
    found = session.call(operations.LABELS_SHOW, Identified(id=request))
    if session.as_json:
        session.answer(found, _render)
        return
    text = _csv(found)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        note(f"wrote {text.count(chr(10)) - 1} rows to {out}")


def _csv(found: LabelRequestShown) -> str:
    import csv  # only for this command
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prediction_id", found.target or "target", "stratum", "probability"])
    known = set(found.labelled)
    for one in found.rows:
        if one.prediction not in known:
            writer.writerow([one.prediction, "", one.stratum, f"{one.probability:.6g}"])
    return text.getvalue()


def _render_list(found: LabelRequests) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found.requests:
        paper.say("no labels are asked for")
        return
    paper.table(
        ["request", "state", "endpoint", "labels", "since", "why"],
        [
            (
                words.short(one.id),
                one.state,
                one.endpoint,
                f"{one.answered} of {one.wanted}",
                words.moment(one.since),
                one.resolution or one.reason,
            )
            for one in found.requests
        ],
    )


def _render(found: LabelRequestShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    one = found.request
    paper.facts(
        {
            "request": one.id,
            "state": one.state,
            "why": one.reason,
            "endpoint": one.endpoint,
            "rows from": f"{words.moment(one.since)} to {words.moment(one.until)}",
            "labels": f"{one.answered} of {one.wanted}",
            "opened": words.moment(one.opened_at),
            "closed": words.moment(one.closed_at) if one.closed_at else "",
            "resolution": one.resolution,
            **{name: words.cell(value) for name, value in one.detail.items()},
        }
    )
    paper.table(
        ["prediction", "stratum", "probability", "label"],
        [
            (
                row.prediction,
                row.stratum,
                words.number(row.probability),
                "yes" if row.prediction in set(found.labelled) else "",
            )
            for row in found.rows[:_FIRST]
        ],
    )
    if len(found.rows) > _FIRST:
        paper.say(f"and {len(found.rows) - _FIRST:,} more: trimtab labels export {one.id[:12]}")
