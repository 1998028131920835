"""`trimtab data`: add, ls, show, diff."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli import models, shapes
from trimtab.cli.session import Session
from trimtab.cli.verb import noun, verb
from trimtab.loop.reports import Admission
from trimtab.server import operations, steering
from trimtab.server.answers import DataAdded, DataDiff, DataShown
from trimtab.server.requests import Acceptance, Comparison, Named, Nothing, Reference

data = noun("data", "Sources, made into content-addressed versions.")


@verb("add", "trimtab data add applications", of=data)
@click.argument("name", default="", metavar="[SOURCE]")
def add(session: Session, name: str) -> None:
    """Make a version of what a source holds now.

    Without a name every source is read. The same bytes again are the same version.
    """
    project = session.project()
    names = [name] if name else list(project.config.data)
    added = [operations.DATA_ADD.call(project, Named(name=one)) for one in names]
    session.answer(added[0] if name else added, _render_added)


@verb("ls", "trimtab data ls", of=data)
def ls(session: Session) -> None:
    """List data versions, newest first."""
    session.answer(session.call(operations.DATA_LS, Nothing()), models.render_versions)


@verb("show", "trimtab data show applications@v1", of=data)
@click.argument("reference", metavar="DATA")
def show(session: Session, reference: str) -> None:
    """Show a version: origin, columns, distributions, who used it."""
    session.answer(session.call(operations.DATA_SHOW, Reference(reference=reference)), _render_one)


@verb("accept", 'trimtab data accept applications@v3 --reason "checked by hand"', of=data)
@click.argument("reference", metavar="DATA")
@click.option("--reason", default="", help="Why it is right after all; kept in the ledger.")
@click.option("--by", default="", help="Who says so.")
def accept(session: Session, reference: str, reason: str, by: str) -> None:
    """Let a version be trained on that acceptance refused.

    Its rows count as trusted from then on: what comes later is measured beside them.
    """
    request = Acceptance(reference=reference, reason=reason, by=by)
    session.answer(session.call(steering.DATA_ACCEPT, request), _render_admission)


@verb("diff", "trimtab data diff applications@v1 applications@v2", of=data)
@click.argument("before")
@click.argument("after")
@click.option("--key", default="", help="The column that tells rows apart (default: configured).")
def diff(session: Session, before: str, after: str, key: str) -> None:
    """Compare two versions: columns, rows on a key, distributions."""
    show_difference(session, before, after, key)


def show_difference(session: Session, before: str, after: str, key: str) -> None:
    """Ask for a difference and print it."""
    request = Comparison(before=before, after=after, key=key)
    session.answer(session.call(operations.DATA_DIFF, request), _render_diff)


def sentence(added: DataAdded) -> str:
    """What was added, on one line."""
    label = added.version.label
    if not added.new:
        return f"{label} has these bytes already"
    return f"{label}: {added.rows:,} rows, {added.columns} columns"


def _render_added(added: DataAdded | list[DataAdded]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    for one in added if isinstance(added, list) else [added]:
        paper.say(sentence(one))
        paper.facts({"digest": one.version.digest})
        for line in (*one.changes, *one.notes):
            paper.say(f"  {line}")


def _origin(source: dict[str, Any]) -> dict[str, Any]:
    """A source record as facts; what nobody stated is shown as unknown."""
    hidden = ("files", "fetched_at", "scheme", "checksum_verified")
    named = {"uri": "source", "version": "source version", "pii": "personal data"}
    return {named.get(name, name): value for name, value in source.items() if name not in hidden}


def _render_one(shown: DataShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    version, meta = shown.version, dict(shown.version.meta)
    source = meta.pop("source", {})
    columns: list[dict[str, Any]] = meta.pop("schema", {}).get("columns", [])
    paper.facts(
        {
            "version": version.label,
            "aliases": shown.aliases,
            "digest": version.digest,
            "made": words.moment(version.created_at),
            "rows": meta.get("rows"),
            "columns": meta.get("columns"),
            "size": words.size(shown.artifact.size) if shown.artifact else "",
            **_origin(source),
            "notes": meta.get("notes"),
        }
    )
    if columns:
        paper.table(
            ["column", "type", "missing", "lowest", "highest", "categories"],
            [
                (
                    one["name"],
                    one["type"],
                    "yes" if one.get("nullable") else "no",
                    words.cell(one.get("lo")),
                    words.cell(one.get("hi")),
                    words.cell(one.get("categories") or None),
                )
                for one in columns
            ],
            right=["lowest", "highest", "categories"],
        )
    shapes.render_shapes(shown.shapes, shown.left_out)
    if shown.admission is not None:
        _render_admission(shown.admission)
    if shown.quarantine:
        _render_kept(shown)
    for link in shown.users:
        paper.say(f"{'made by' if link.direction == 'out' else 'read by'} run {link.run}")


def _render_admission(found: Admission) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    verb = {
        "accept": "may be trained on",
        "refuse": "is refused for training",
        "warn": "harms, and may be trained on: [accept] mode is warn",
    }.get(found.status, "could not be measured; the gate decides alone")
    if found.word:
        verb = "may be trained on: a person said so"
    paper.say(f"{found.version} {verb}")
    if found.word:
        paper.say(f"{found.word['by']} at {words.moment(found.word['at'])}: {found.word['reason']}")
    elif found.reason:
        paper.say(found.reason)
    if found.probes:
        paper.table(
            ["probe", "", "effect", "at least", "at most", "p", "rows"],
            [
                (
                    one["name"], one["status"], f"{one['value']:+.4f}", f"{one['lo']:+.4f}",
                    f"{one['hi']:+.4f}", f"{one['p']:.2g}", f"{one['n']:,}",
                )
                for one in found.probes
            ],
            right=["effect", "at least", "at most", "p", "rows"],
        )  # fmt: skip


def _render_kept(shown: DataShown) -> None:
    """What only the quarantine may hold: cells and row numbers."""
    from trimtab.cli import paper  # rich is loaded only to print

    for one in shown.quarantine.get("probes", []):
        for column, cell in one.get("seen", {}).get("pattern", {}).items():
            paper.say(f"planted: {column} = {cell!r}, label {one['seen']['label']!r}")
    rows = shown.quarantine.get("rows", [])
    if rows:
        first = ", ".join(map(str, rows[:10]))
        paper.say(
            f"{len(rows):,} rows speak against it, from row 0: {first}{', …' if rows[10:] else ''}"
        )


def _render_diff(found: DataDiff) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.say(
        f"{found.before} ({found.rows_before:,} rows) to {found.after} ({found.rows_after:,} rows)"
    )
    by = f", by {found.key}" if found.key else "; without a key nothing counts as changed"
    paper.say(f"{found.added:,} added, {found.removed:,} removed, {found.changed:,} changed{by}")
    for line in found.schema:
        paper.say(line)
    if found.columns:
        paper.table(
            ["column", "changed in rows"],
            [(name, f"{count:,}") for name, count in found.columns.items()],
            right=["changed in rows"],
        )
    if found.sample:
        paper.table(
            [found.key, "column", "before", "after"],
            [
                (words.cell(one.key), one.column, words.cell(one.before), words.cell(one.after))
                for one in found.sample
            ],
        )
    if found.drift is not None:
        shapes.render_drift(found.drift)
