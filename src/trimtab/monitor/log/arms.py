"""Which keys fell on which side of an A/B test: a fair sample, kept as the log is taken in.

Where `[serve] sticky` names a logged column, requests of one key go together, so only keys tell
whether shares are right. Requests, failures and latencies of both sides are `progress`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from trimtab.serve.logged.frame import Frame
from trimtab.store import operations, states
from trimtab.store.records import Rollout
from trimtab.store.workspace import Workspace

ROLES: Final = ("champion", "canary")
KEYS: Final = 4096
"""How many keys are remembered: those whose hash is smallest, which is a fair sample."""


def add(ws: Workspace, endpoint: str, frames: Iterable[Frame], sticky: str = "") -> None:
    """Add new frames to the open A/B tests of an endpoint; call it where the cursor moves."""
    if not sticky:
        return
    tests = [
        one for one in operations.rollouts(ws, endpoint=endpoint, state="open") if "ab" in one.cause
    ]
    if not tests:
        return
    frames = list(frames)
    for rollout in tests:
        models = {"champion": rollout.champion, "canary": rollout.candidate}
        mine = [
            one
            for one in frames
            if models.get(one.role) == one.model and one.received_at >= rollout.opened_at
        ]
        if mine:
            kept: dict[str, Any] = states.get(ws, _name(rollout)) or {}
            keys = kept.get("keys", {})
            for one in mine:
                _note_keys(keys, one, sticky)
            states.put(ws, _name(rollout), {"keys": dict(sorted(keys.items())[:KEYS])})


def keys(ws: Workspace, rollout: Rollout) -> tuple[int, int] | None:
    """How many sampled keys fell on champion and canary; None where keys are not logged."""
    kept: dict[str, Any] = states.get(ws, _name(rollout)) or {}
    sides = list(kept.get("keys", {}).values())
    return (sides.count(ROLES[0]), sides.count(ROLES[1])) if sides else None


def _note_keys(keys: dict[str, str], frame: Frame, sticky: str) -> None:
    """The key of each request is its first row's."""
    try:
        values = frame.column(sticky)
    except KeyError:
        return
    place = 0
    for part in frame.requests():
        if part.rows:
            # Of another hash than the one that picks the route, so that the sample is fair.
            key = blake2b(str(values[place]).encode(), digest_size=8, person=b"arms").hexdigest()
            keys[key] = frame.role
        place += part.rows


def _name(rollout: Rollout) -> str:
    return f"arms:{rollout.id}"
