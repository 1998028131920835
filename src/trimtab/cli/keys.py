"""`trimtab endpoints keys`: ls, add, rm."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from trimtab import ids
from trimtab.cli.session import Session, note
from trimtab.cli.verb import noun, verb
from trimtab.serve.access.keys import parse_scopes
from trimtab.server import operations
from trimtab.server.answers import KeyMade, KeyRemoved, Keys, KeyShown
from trimtab.server.requests import KeyNamed, KeyWanted, Named

keys = noun("keys", "Who may ask an endpoint.")


def _of_endpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--endpoint",
        metavar="NAME",
        default="",
        help="The endpoint (default: that of the project's model).",
    )(function)


@verb("ls", "trimtab endpoints keys ls", of=keys)
@_of_endpoint
def ls(session: Session, endpoint: str) -> None:
    """List who has a key to an endpoint."""
    project = session.project()
    request = Named(name=endpoint or project.config.model_name)
    session.answer(operations.KEYS_LS.call(project, request), _render_list)


@verb(
    "add",
    "trimtab endpoints keys add nightly-scoring --expires 90d --rate 100/s",
    "KEY=$(trimtab endpoints keys add prometheus --scope metrics)",
    of=keys,
)
@click.argument("name")
@_of_endpoint
@click.option(
    "--scope",
    metavar="LIST",
    default="infer",
    show_default=True,
    help="What it opens: infer, metrics, admin, with commas between.",
)
@click.option(
    "--expires",
    metavar="SPAN",
    default="",
    help="When it lapses, from now: 12h, 90d, 52w (default: never).",
)
@click.option(
    "--rate",
    metavar="RATE",
    default="",
    help="At most so many requests: 100/s, 600/m, 5000/h (default: the endpoint's own).",
)
def add(session: Session, name: str, endpoint: str, scope: str, expires: str, rate: str) -> None:
    """Make a key to an endpoint and print it, once.

    NAME says whose it is. The key alone goes to stdout; only its hash is kept, so it cannot be
    shown again. It works within a second, running endpoint or not. An endpoint on loopback asks
    for no key until it has one.
    """
    scopes = parse_scopes(scope)
    project = session.project()
    request = KeyWanted(
        name=endpoint or project.config.model_name,
        key=name,
        scopes=scopes,
        expires=expires,
        rate=rate,
    )
    session.answer(operations.KEYS_ADD.call(project, request), _render_made)


@verb("rm", "trimtab endpoints keys rm nightly-scoring", of=keys)
@click.argument("key")
@_of_endpoint
def rm(session: Session, key: str, endpoint: str) -> None:
    """Remove a key; it opens nothing from then on.

    KEY is its name, its id or the beginning of it. A running endpoint refuses it within a second.
    """
    project = session.project()
    request = KeyNamed(name=endpoint or project.config.model_name, key=key)
    session.answer(operations.KEYS_RM.call(project, request), _render_removed)


def _render_list(found: Keys) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    if not found.keys:
        paper.say(
            f"{found.endpoint} has no keys left: nobody but a bearer of tokens is let in"
            if found.asked
            else f"{found.endpoint} has no keys: on loopback it asks for none"
        )
        return
    paper.table(
        ["key", "name", "opens", "rate", "made", "lapses"],
        [
            (
                words.short(one.id),
                one.name,
                ", ".join(one.scopes),
                one.rate or "–",
                words.moment(one.created_at),
                _lapses(one),
            )
            for one in found.keys
        ],
    )


def _render_made(made: KeyMade) -> None:
    note(f"{made.key.name} may use {', '.join(made.key.scopes)} of {made.endpoint}")
    if made.key.expires_at:
        note(f"it lapses: {_lapses(made.key)}")
    note("send it as `authorization: Bearer KEY`; it is not kept and cannot be shown again:")
    sys.stdout.write(made.secret + "\n")


def _render_removed(gone: KeyRemoved) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(f"{gone.key.name} opens nothing of {gone.endpoint} any more")
    if not gone.left:
        note(
            "no key is left: nobody but a bearer of tokens is let in until one is added; an "
            "endpoint that shall ask nobody is one without keys.json, started again"
        )


def _lapses(key: KeyShown) -> str:
    from trimtab.server import words

    if not key.expires_at:
        return "never"
    moment = words.moment(key.expires_at)
    return f"{moment} (it has)" if key.expires_at <= ids.now() else moment
