"""The controller at rest: it observes, opens incidents and restarts endpoints, and starts nothing.

A candidate that fails its requirements is rolled back all the same.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab import ids
from trimtab.store import ledger, states
from trimtab.store.workspace import Workspace

_NAME: Final = "paused"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Why the controller rests, and since when (microseconds)."""

    reason: str
    since: int


def pause(ws: Workspace, reason: str) -> State:
    """Let the controller rest; a second time changes the reason only."""
    before = paused(ws)
    found = State(reason=reason, since=before.since if before else ids.now())
    with ws.transaction():
        states.put(ws, _NAME, msgspec.to_builtins(found))
        ledger.append(ws, "config", {"paused": True, "reason": reason})
    return found


def resume(ws: Workspace) -> None:
    """Let the controller act again."""
    if paused(ws) is not None:
        with ws.transaction():
            states.put(ws, _NAME, None)
            ledger.append(ws, "config", {"paused": False})


def paused(ws: Workspace) -> State | None:
    """Whether it rests, or None."""
    found = states.get(ws, _NAME)
    return None if found is None else msgspec.convert(found, State)
