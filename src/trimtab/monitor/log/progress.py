"""What an open rollout's candidate has answered so far, added up as the log is taken in.

Counts since the rollout opened, of the candidate and of its champion at the same time, in a state
that moves in one transaction with the log's cursor: a look at a rollout reads this and not the log.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np

from trimtab.model import registry
from trimtab.model.signature import Signature
from trimtab.monitor.log import tally
from trimtab.monitor.log.tally import Arm, Decided, Ints, Pairs
from trimtab.serve.logged.frame import Frame
from trimtab.store import operations, states
from trimtab.store.records import Rollout
from trimtab.store.workspace import Workspace


class Progress(NamedTuple):
    """`answered` rows as canary at the present stage; requests by latency in microseconds.

    `latencies` ascends, `counts` says how many requests took each; shadow's are among them. The
    arms count requests since the rollout opened, and latencies of those stages at which both
    answered clients. `cells` are the candidate's probabilities (`tally.cells`), `decided` its
    decisions by the values of `columns`.
    """

    answered: int
    latencies: Ints
    counts: Ints
    candidate: Arm = tally.NOBODY
    champion: Arm = tally.NOBODY
    pairs: Pairs = tally.UNPAIRED
    cells: Ints = tally.NOBODY.counts
    cell_counts: Ints = tally.NOBODY.counts
    columns: tuple[str, ...] = ()
    decided: Decided = Counter()

    def milliseconds(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The latency of every request, ascending."""
        return np.repeat(self.latencies, self.counts) / 1000


def add(
    ws: Workspace, endpoint: str, frames: Iterable[Frame], columns: Collection[str] = ()
) -> None:
    """Add new frames to the open rollouts of an endpoint; call it where the cursor moves.

    A stage is left between two calls, so what a call brings of it is all that came since. Decisions
    are counted by `columns`; where those change they are counted from then on.
    """
    frames = list(frames)
    for rollout in operations.rollouts(ws, endpoint=endpoint, state="open"):
        arrived = _arrived(frames, rollout)
        if any(arrived):
            before = of(ws, rollout)
            signed = registry.signature_of(ws, rollout.candidate)
            after = _added(before, rollout, arrived, signed, tuple(sorted(columns)))
            states.put(ws, _name(rollout), _kept(rollout, after))


def of(ws: Workspace, rollout: Rollout) -> Progress:
    """What a rollout's candidate has answered so far."""
    kept: dict[str, Any] = states.get(ws, _name(rollout)) or {}
    pairs = kept.get("pairs") or [0, 0, [{}, {}]]
    counted = kept.get("decided") or []
    return Progress(
        answered=kept["answered"] if kept.get("stage") == rollout.stage else 0,
        latencies=_unpack(kept.get("latencies", "")),
        counts=_unpack(kept.get("counts", "")),
        candidate=_arm(kept.get("candidate")),
        champion=_arm(kept.get("champion")),
        pairs=Pairs(pairs[0], pairs[1], (pairs[2][0], pairs[2][1])),
        cells=_unpack(kept.get("cells", "")),
        cell_counts=_unpack(kept.get("cell_counts", "")),
        columns=tuple(kept.get("columns", ())),
        decided=Counter({(tuple(values), said): count for values, said, count in counted}),
    )


class _Arrived(NamedTuple):
    canary: list[Frame]
    shadow: list[Frame]
    champion: list[Frame]


def _arrived(frames: list[Frame], rollout: Rollout) -> _Arrived:
    """The frames of both models since the rollout opened; one loop, for it goes over every answer."""
    ours, theirs, since = rollout.candidate, rollout.champion, rollout.opened_at
    canary: list[Frame] = []
    shadow: list[Frame] = []
    champion: list[Frame] = []
    for one in frames:
        role = one.role
        if role == "champion":
            if one.model == theirs and one.received_at >= since:
                champion.append(one)
        elif one.model == ours and one.received_at >= since:
            if role == "canary":
                canary.append(one)
            elif role == "shadow":
                shadow.append(one)
    return _Arrived(canary, shadow, champion)


def _added(
    before: Progress,
    rollout: Rollout,
    arrived: _Arrived,
    signed: Signature,
    columns: tuple[str, ...],
) -> Progress:
    canary, shadow, champion = arrived
    shadowing = rollout.stages[rollout.stage] == "shadow"
    good, shadowed, theirs = (tally.answered(some) for some in (canary, shadow, champion))
    spent, behind = tally.latencies(good), tally.latencies(shadowed)
    mine = good + shadowed
    latencies, counts = tally.merged(before.latencies, before.counts, tally.coarse(spent + behind))
    ours = tally.grown(before.candidate, canary, len(spent))
    ours = tally.grown(ours, shadow, len(behind), shadow=True)
    others = tally.grown(before.champion, champion, sum([len(one.parts) or 1 for one in theirs]))
    if not shadowing:
        beside = tally.latencies(one for one in theirs if one.received_at >= rollout.staged_at)
        ours, others = tally.timed(ours, spent), tally.timed(others, beside)
    pairs = before.pairs
    if shadowing or shadowed:
        pairs = tally.paired(pairs, theirs, shadowed, signed.task)
    elif pairs.waiting != tally.UNPAIRED.waiting:
        pairs = pairs._replace(waiting=tally.UNPAIRED.waiting)
    cells, cell_counts = before.cells, before.cell_counts
    if signed.task == "binary":
        bound = 0.5 if signed.threshold is None else signed.threshold
        cells, cell_counts = tally.merged(cells, cell_counts, tally.cells(mine, bound))
    known = before.decided if before.columns == columns else Counter()
    return Progress(
        answered=before.answered
        + tally.rows([one for one in good if one.received_at >= rollout.staged_at]),
        latencies=latencies,
        counts=counts,
        candidate=ours,
        champion=others,
        pairs=pairs,
        cells=cells,
        cell_counts=cell_counts,
        columns=columns,
        decided=Counter() if signed.task == "regression" else tally.decided(known, mine, columns),
    )


def _kept(rollout: Rollout, seen: Progress) -> dict[str, Any]:
    return {
        "stage": rollout.stage,
        "answered": seen.answered,
        "latencies": _pack(seen.latencies),
        "counts": _pack(seen.counts),
        "candidate": _packed(seen.candidate),
        "champion": _packed(seen.champion),
        "pairs": [seen.pairs.compared, seen.pairs.agreed, list(seen.pairs.waiting)],
        "cells": _pack(seen.cells),
        "cell_counts": _pack(seen.cell_counts),
        "columns": list(seen.columns),
        "decided": [[list(values), said, n] for (values, said), n in seen.decided.items()],
    }


def _packed(arm: Arm) -> list[Any]:
    latencies, counts = _pack(arm.latencies), _pack(arm.counts)
    return [arm.asked, arm.failed, latencies, counts, arm.rows, arm.refused]


def _arm(kept: list[Any] | None) -> Arm:
    if not kept:
        return tally.NOBODY
    return Arm(kept[0], kept[1], _unpack(kept[2]), _unpack(kept[3]), *kept[4:])


def _name(rollout: Rollout) -> str:
    return f"progress:{rollout.id}"


def _pack(values: Ints) -> str:
    data = zlib.compress(values.astype("<i8").tobytes(), 1)
    return base64.b64encode(data).decode()


def _unpack(text: str) -> Ints:
    data = zlib.decompress(base64.b64decode(text)) if text else b""
    return np.frombuffer(data, dtype="<i8").astype(np.int64)
