"""What both sides of an A/B test answered, added up as the log is taken in.

Requests, rows, failures and latencies of champion and canary since the test began, in a state that
moves in one transaction with the log's cursor. Where `[serve] sticky` names a logged column, a
sample of its keys too: requests of one key go together, so only keys tell whether shares are right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame
from trimtab.store import operations, states
from trimtab.store.records import Rollout
from trimtab.store.workspace import Workspace

ROLES: Final = ("champion", "canary")
KEYS: Final = 4096
"""How many keys are remembered: those whose hash is smallest, which is a fair sample."""
_FINE: Final = 100.0  # buckets per factor e of latency: each value is right to 1 %


class Counted(NamedTuple):
    """One arm: `latencies` in microseconds of each request, ascending and right to 1 %."""

    requests: int
    rows: int
    failed: int
    latencies: NDArray[np.float64]


class Arms(NamedTuple):
    """Both arms by role, and how many sampled keys fell on each (None: keys are not logged)."""

    champion: Counted
    canary: Counted
    keys: tuple[int, int] | None


def add(ws: Workspace, endpoint: str, frames: Iterable[Frame], sticky: str = "") -> None:
    """Add new frames to the open A/B tests of an endpoint; call it where the cursor moves."""
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
            for one in mine:
                _count(kept, one)
                if sticky:
                    _note_keys(kept.setdefault("keys", {}), one, sticky)
            kept["keys"] = dict(sorted(kept.get("keys", {}).items())[:KEYS])
            states.put(ws, _name(rollout), kept)


def of(ws: Workspace, rollout: Rollout) -> Arms:
    """What the arms of a test have answered so far."""
    kept: dict[str, Any] = states.get(ws, _name(rollout)) or {}
    keys = list(kept.get("keys", {}).values())
    fell = (keys.count(ROLES[0]), keys.count(ROLES[1])) if keys else None
    return Arms(_counted(kept.get(ROLES[0], {})), _counted(kept.get(ROLES[1], {})), fell)


def _counted(kept: dict[str, Any]) -> Counted:
    buckets = sorted((int(name), count) for name, count in kept.get("latency", {}).items())
    middles = np.exp(np.array([name for name, _ in buckets], dtype=np.float64) / _FINE)
    return Counted(
        requests=kept.get("requests", 0),
        rows=kept.get("rows", 0),
        failed=kept.get("failed", 0),
        latencies=np.repeat(middles, [count for _, count in buckets]),
    )


def _count(kept: dict[str, Any], frame: Frame) -> None:
    arm = kept.setdefault(frame.role, {"requests": 0, "rows": 0, "failed": 0, "latency": {}})
    parts = frame.requests()
    arm["requests"] += len(parts)
    arm["rows"] += frame.rows
    arm["failed"] += len(parts) if frame.status >= 500 else 0
    if frame.status == ANSWERED:
        for part in parts:
            bucket = str(round(math.log(max(part.latency_us, 1)) * _FINE))
            arm["latency"][bucket] = arm["latency"].get(bucket, 0) + 1


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
