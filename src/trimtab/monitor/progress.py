"""What an open rollout's candidate has answered so far, added up as the log is taken in.

Counts and latencies since the rollout opened, exact to the microsecond, in a state that moves in
one transaction with the log's cursor: a look at a rollout reads this and not the log.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame
from trimtab.store import operations, states
from trimtab.store.records import Rollout
from trimtab.store.workspace import Workspace


class Progress(NamedTuple):
    """`answered` rows as canary at the present stage; requests by latency in microseconds.

    `latencies` ascends, `counts` says how many requests took each; shadow's are among them.
    """

    answered: int
    latencies: NDArray[np.int64]
    counts: NDArray[np.int64]

    def milliseconds(self) -> NDArray[np.float64]:
        """The latency of every request, ascending."""
        return np.repeat(self.latencies, self.counts) / 1000


def add(ws: Workspace, endpoint: str, frames: Iterable[Frame]) -> None:
    """Add new frames to the open rollouts of an endpoint; call it where the cursor moves.

    A stage is left between two calls, so what a call brings of it is all that came since.
    """
    frames = list(frames)
    for rollout in operations.rollouts(ws, endpoint=endpoint, state="open"):
        mine = [
            one
            for one in frames
            if one.model == rollout.candidate
            and one.status == ANSWERED
            and one.ids
            and one.received_at >= rollout.opened_at
        ]
        if not mine:
            continue
        before = of(ws, rollout)
        canary = (x for x in mine if x.role == "canary" and x.received_at >= rollout.staged_at)
        spent = np.array([part.latency_us for one in mine for part in one.requests()])
        values = np.concatenate([before.latencies, spent])
        weights = np.concatenate([before.counts, np.ones(len(spent), dtype=np.int64)])
        known, places = np.unique(values, return_inverse=True)
        counts = np.bincount(places, weights=weights).astype(np.int64)
        states.put(
            ws,
            _name(rollout),
            {
                "stage": rollout.stage,
                "answered": before.answered + sum(one.rows for one in canary),
                "latencies": _pack(known),
                "counts": _pack(counts),
            },
        )


def of(ws: Workspace, rollout: Rollout) -> Progress:
    """What a rollout's candidate has answered so far."""
    kept: dict[str, Any] = states.get(ws, _name(rollout)) or {}
    return Progress(
        answered=kept["answered"] if kept.get("stage") == rollout.stage else 0,
        latencies=_unpack(kept.get("latencies", "")),
        counts=_unpack(kept.get("counts", "")),
    )


def _name(rollout: Rollout) -> str:
    return f"progress:{rollout.id}"


def _pack(values: NDArray[np.int64]) -> str:
    data = zlib.compress(values.astype("<i8").tobytes())
    return base64.b64encode(data).decode()


def _unpack(text: str) -> NDArray[np.int64]:
    data = zlib.decompress(base64.b64decode(text)) if text else b""
    return np.frombuffer(data, dtype="<i8").astype(np.int64)
