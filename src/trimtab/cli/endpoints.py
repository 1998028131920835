"""`trimtab endpoints`: ls, show, compact, consumers, keys."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.consumers import consumers
from trimtab.cli.keys import keys
from trimtab.cli.session import Session
from trimtab.cli.verb import noun, verb
from trimtab.server import operations
from trimtab.server.answers import Endpoints, EndpointShown, LogCompacted
from trimtab.server.requests import Named, Nothing
from trimtab.store.records import Endpoint

endpoints = noun("endpoints", "Where models answer.")
endpoints.add_command(keys)
endpoints.add_command(consumers)


@verb("ls", "trimtab endpoints ls", of=endpoints)
def ls(session: Session) -> None:
    """List every endpoint with its address and its models."""
    session.answer(session.call(operations.ENDPOINTS_LS, Nothing()), _render_list)


@verb("show", "trimtab endpoints show loans", of=endpoints)
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Show an endpoint: models, rollouts, incidents, traffic."""
    session.answer(session.call(operations.ENDPOINTS_SHOW, Named(name=name)), _render)


@verb(
    "compact", "trimtab endpoints compact", "trimtab endpoints compact loans --json", of=endpoints
)
@click.argument("name", default="")
def compact(session: Session, name: str) -> None:
    """Turn closed segments of the prediction log into Parquet.

    NAME is an endpoint, by default that of the project's model. Only what `trimtab tick` has taken
    in and no process writes any more is touched. The controller does the same by itself as the log
    grows; here you need not wait for it. Files older than `[serve] keep` are removed.
    """
    asked = Named(name=name or session.project().config.model_name)
    session.answer(session.call(operations.ENDPOINTS_COMPACT, asked), _render_compacted)


def _render_compacted(done: LogCompacted) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if not done.segments:
        paper.say("nothing to compact: no segment is both closed and taken in by `trimtab tick`")
    else:
        paper.say(
            f"{done.segments} segments of {done.bytes_before:,} bytes became {done.files} files of "
            f"{done.bytes_after:,} bytes with {done.rows:,} rows"
        )
    if done.removed:
        paper.say(f"{done.removed} files older than [serve] keep were removed")


def answering(endpoint: Endpoint) -> str:
    """Which models an endpoint answers with, and how much of the traffic each gets."""
    routes: list[dict[str, Any]] = endpoint.routes.get("routes", [])
    total = sum(float(route["weight"]) for route in routes) or 1.0
    shares = [
        f"{route['label']} {float(route['weight']) / total:.0%} ({route['role']})"
        for route in routes
    ]
    shadows = [f"{route['label']} (shadow)" for route in endpoint.routes.get("shadow", [])]
    return ", ".join(shares + shadows)


def _render_list(found: Endpoints) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    if not found.endpoints:
        paper.say("no endpoints yet: `trimtab deploy` starts one")
        return
    paper.table(
        ["endpoint", "state", "address", "models", "pid"],
        [
            (
                one.name,
                one.state,
                f"http://{one.host}:{one.port}" if one.port else "–",
                answering(one),
                str(one.pid or "–"),
            )
            for one in found.endpoints
        ],
    )


def _render(shown: EndpointShown) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    one = shown.endpoint
    paper.facts(
        {
            "endpoint": one.name,
            "state": one.state,
            "address": shown.url,
            "models": answering(one),
            "pid": str(one.pid or ""),
            "folder": one.folder,
            **({"older routes": shown.error} if shown.error else {}),
        }
    )
    for rollout in shown.rollouts:
        stage = rollout.stages[min(rollout.stage, len(rollout.stages) - 1)]
        paper.say(f"rollout {words.short(rollout.id)}: {rollout.state} at {stage} {rollout.reason}")
    if shown.held:
        paper.table(
            ["the candidate must hold", "so far", "measured"],
            [(held.text, words.standing(held), words.measured(held)) for held in shown.held],
        )
    for incident in shown.incidents:
        paper.say(f"incident {words.short(incident.id)}: {incident.state} {incident.title}")
    if shown.windows:
        paper.table(
            ["window", "role", "rows", "findings"],
            [
                (
                    f"{words.moment(window.start)} – {words.moment(window.end)}",
                    window.role,
                    f"{window.rows:,}",
                    str(len(window.findings)),
                )
                for window in shown.windows
            ],
            right=["rows", "findings"],
        )
