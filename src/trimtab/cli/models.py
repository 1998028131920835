"""`trimtab models`: ls, show."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.session import Session
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import ModelShown, PastWindows, Versions
from trimtab.server.requests import Nothing, Reference
from trimtab.store.records import Evidence, SliceMetric, Verdict

models = noun("models", "Packaged, gated and numbered models.")


@verb("ls", "trimtab models ls", of=models)
def ls(session: Session) -> None:
    """List model versions, newest first, with their aliases."""
    session.answer(session.call(operations.MODELS_LS, Nothing()), render_versions)


@verb("show", "trimtab models show loans@champion", of=models)
@click.argument("reference", metavar="MODEL")
def show(session: Session, reference: str) -> None:
    """Show a model's attachments, verdicts and evidence.

    MODEL is `NAME@v3`, `NAME@champion`, the digest of a refused candidate, or `NAME@mlflow-3` once it was
    brought in.
    """
    session.answer(session.call(operations.MODELS_SHOW, Reference(reference=reference)), _render)


def render_versions(found: Versions) -> None:
    """A table of versions."""
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found.versions:
        paper.say("no versions yet")
        return
    called: dict[str, list[str]] = {}
    for reference, digest in found.aliases.items():
        name, _, alias = reference.partition("@")
        called.setdefault(f"{name} {digest}", []).append(alias)
    # Where it came from is said where anything came from elsewhere.
    has_origin = any(words.origin(version.meta) for version in found.versions)
    paper.table(
        ["version", "aliases", "made", *(["from"] if has_origin else []), "digest"],
        [
            (
                version.label,
                ", ".join(called.get(f"{version.name} {version.digest}", [])),
                words.ago(version.created_at),
                *([words.origin(version.meta) or "a flow"] if has_origin else []),
                version.digest,
            )
            for version in found.versions
        ],
    )


def _render(shown: ModelShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    parity = dict(shown.artifact.meta.get("parity") or {})
    slices = parity.pop("slices", [])
    paper.facts(
        {
            "version": shown.version.label if shown.version else "none: the gate refused it",
            "aliases": shown.aliases,
            "digest": shown.digest,
            "run": shown.artifact.run,
            "size": words.size(shown.artifact.size),
            **{
                name: words.cell(value)
                for name, value in shown.artifact.meta.items()
                if name != "parity"
            },
            "past windows": _windows(shown.windows) if shown.windows else "",
        }
    )
    if parity:
        _render_parity({"value": "all rows", **parity}, slices)
    if shown.attachments:
        paper.table(["attachment", "digest"], list(shown.attachments.items()))
    if shown.slices:
        _render_slices(shown.slices)
    if shown.verdicts:
        _render_verdicts(shown.verdicts)
    if shown.evidence:
        _render_evidence(shown.evidence)


def _render_parity(whole: dict[str, Any], slices: list[dict[str, Any]]) -> None:
    """How far the package's answers lie from the original's, over all rows and slice by slice."""
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    scale = whole.get("scale", 1.0)
    paper.table(
        [
            "held against the original",
            "rows",
            "largest difference",
            "> 0.0001",
            "> 0.001",
            "flipped",
        ],
        [
            (
                f"{one['column']} is {one['value']}" if "column" in one else one["value"],
                f"{one['rows']:,}",
                f"{one['max_difference']:.2g}",
                f"{one['above']:.2%}",
                f"{one['far']:.2%}",
                words.number(one["flips"]),
            )
            for one in (whole, *slices)
        ],
        right=["rows", "largest difference", "> 0.0001", "> 0.001", "flipped"],
    )
    if scale != 1.0:
        paper.say(f"differences are in units of {scale:.4g}, the spread of the answers in training")


def _render_slices(slices: list[SliceMetric]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["withheld rows", "metric", "value", "interval", "rows"],
        [
            (
                one.slice or "all",
                one.metric,
                words.number(one.value),
                words.interval(one.lo, one.hi),
                f"{one.rows:,}",
            )
            for one in slices
        ],
        right=["value", "rows"],
    )


def _render_verdicts(verdicts: list[Verdict]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["place", "requirement", "measured", "verdict", "decided"],
        [
            (
                one.place,
                one.text,
                words.measured(one),
                words.standing(one),
                words.ago(one.decided_at),
            )
            for one in verdicts
        ],
    )


def _render_evidence(evidence: list[Evidence]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["metric", "slice", "value", "interval", "rows", "window"],
        [
            (
                " ".join(part for part in (one.metric, one.statistic) if part),
                one.slice,
                words.number(one.value),
                words.interval(one.lo, one.hi),
                f"{one.n:,}",
                one.window,
            )
            for one in evidence
        ],
        right=["value", "rows"],
    )


def _windows(found: PastWindows) -> str:
    from trimtab.server import words

    return (
        f"{found.number:,} of {words.span(found.span)} from {words.moment(found.first)} to "
        f"{words.moment(found.last)}, {found.least_rows:,} to {found.most_rows:,} rows each"
    )
