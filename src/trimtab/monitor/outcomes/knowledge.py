"""What the last look at an endpoint knew of its quality: known, awaited, or not to be known.

Light to import: the page and the command line read it at every glance.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trimtab.store import states
from trimtab.store.workspace import Workspace

State = Literal["known", "awaited", "cannot know"]


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of the newest closed window's quality; `request` is an open label request."""

    state: State
    sentence: str = ""
    model: str = ""
    window: int = 0
    request: str = ""


def of(ws: Workspace, endpoint: str) -> Knowledge | None:
    """What the last look knew; None before the first."""
    body = states.get(ws, _name(endpoint))
    return None if body is None else msgspec.convert(body, Knowledge)


def blind(ws: Workspace, endpoint: str) -> bool:
    """Whether nothing tells if an endpoint's model is right."""
    known = of(ws, endpoint)
    return known is not None and known.state == "cannot know" and bool(known.sentence)


def keep(ws: Workspace, endpoint: str, found: Knowledge) -> None:
    """Remember what a look knew."""
    body = msgspec.to_builtins(found)
    if states.get(ws, _name(endpoint)) != body:
        states.put(ws, _name(endpoint), body)


def _name(endpoint: str) -> str:
    return f"knowledge:{endpoint}"
