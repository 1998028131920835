"""`trimtab diff`."""

from __future__ import annotations

import re
from typing import Any

import click

from trimtab.cli import data
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.server import finding
from trimtab.server.requests import TwoRuns
from trimtab.track.reports import DataUsed, Ends, RunDiff

_RUN = re.compile(r"[0-9a-f]{6,32}\Z")


@verb(
    "diff",
    "trimtab diff applications@v1 applications@v2",
    "trimtab diff 01983f0c5a7b7c00 01983f0d11c27c00 --patch",
)
@click.argument("before")
@click.argument("after")
@click.option("--key", default="", help="The column that tells rows apart (default: configured).")
@click.option("--patch", is_flag=True, help="Of runs: print the lines of code that differ.")
def diff(session: Session, before: str, after: str, key: str, patch: bool) -> None:
    """Compare two data versions, or two runs.

    Data versions are compared as `trimtab data diff` does. Runs are named by their ids or the
    beginnings of them: what differs in params, tags, code, environment and data is listed, and
    every metric with its last, least and greatest value.
    """
    if _RUN.match(before) and _RUN.match(after):
        found = session.call(finding.RUNS_DIFF, TwoRuns(before=before, after=after))
        session.answer(found, lambda _: _render(found, patch=patch))
    else:
        data.show_difference(session, before, after, key)


def _render(found: RunDiff, *, patch: bool) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    names = [words.short(one.id) for one in (found.a, found.b)]
    paper.table(
        ["", *names],
        [
            ("kind", *(f"{one.kind} {one.name}" for one in (found.a, found.b))),
            ("status", found.a.status, found.b.status),
            ("began", *(words.moment(one.started_at) for one in (found.a, found.b))),
            ("took", words.took(found.a), words.took(found.b)),
        ],
    )
    for title, pairs in (
        ("param", found.params),
        ("tag", found.tags),
        ("distribution", found.environment),
    ):
        if pairs:
            rows = [(name, words.cell(a), words.cell(b)) for name, (a, b) in pairs.items()]
            paper.table([title, *names], rows)
    if found.data:
        rows = [(name, _data(pair.a), _data(pair.b)) for name, pair in found.data.items()]
        paper.table(["data", *names], rows)
    if found.metrics:
        _metrics(found, names)
    _code(found, patch=patch)
    for line in found.notes:
        paper.say(line)


def _metrics(found: RunDiff, names: list[str]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["metric", *names, "change", "least", "greatest"],
        [
            (
                key,
                *(words.number(one.last) if one else "–" for one in (pair.a, pair.b)),
                "" if pair.change is None else f"{pair.change:+.4g}",
                *(_both(pair.a, pair.b, name) for name in ("min", "max")),
            )
            for key, pair in found.metrics.items()
        ],
        right=[*names, "change"],
    )


def _both(a: Ends | None, b: Ends | None, name: str) -> str:
    from trimtab.server import words

    values: list[Any] = [getattr(one, name) if one else None for one in (a, b)]
    return " → ".join(words.number(one) for one in values)


def _data(used: DataUsed | None) -> str:
    from trimtab.server import words

    if used is None:
        return "–"
    name = ", ".join(used.versions) or words.short(used.digest)
    return name if used.rows is None else f"{name}, {used.rows:,} rows"


def _code(found: RunDiff, *, patch: bool) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if found.code:
        rows = [(one.path, one.change, f"+{one.added} -{one.removed}") for one in found.code]
        paper.table(["code", "", "lines"], rows)
    for one in found.code if patch else []:
        paper.say(one.diff.rstrip("\n") or f"{one.path}: no text, or too long to show")
