"""How an endpoint was asked, request by request: values that training never saw, and latency.

Counted while the log is taken in and added up with the window, so that a look reads sums alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.log import traffic
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.watched import Watched
from trimtab.profile.cells import CategoryCells
from trimtab.profile.coder import coder
from trimtab.profile.profile import Profile
from trimtab.serve.logged.frame import Frame

LATENCY: Final = "latency"
UNSEEN: Final = "unseen"
FIRST: Final = "first"
"""Where a window holds the moment of its first row."""
_STEPS: Final = 8
"""Latency buckets per doubling."""
_EXAMPLES: Final = 5
Body = dict[str, Any]


def requests_of(frames: Sequence[Frame]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The requests of these frames: ids, the request of each row, latency of each in microseconds."""
    parts = [part for frame in frames for part in frame.requests()]
    rows = np.repeat(np.arange(len(parts)), [part.rows for part in parts])
    return [part.request for part in parts], rows, np.array([part.latency_us for part in parts])


def counted(
    model: Watched,
    rows: Answers,
    profile: Profile,
    names: Sequence[str],
    request: NDArray[np.int64],
    latency_us: NDArray[np.int64],
) -> dict[str, Body]:
    """What these rows add to their window: `request` is each row's place in `names`."""
    mine = np.unique(request)
    return {
        UNSEEN: _unseen(model, rows, profile, names, request),
        LATENCY: _latency(latency_us[mine]),
        FIRST: {"at": int(rows.times.min())},
    }


def added(old: Mapping[str, Any], new: Mapping[str, Body]) -> dict[str, Body]:
    """The sums of what a window had and what was counted now."""
    found: dict[str, Body] = {}
    for name, body in new.items():
        before = old.get(name, {})
        found[name] = {key: _sum(before.get(key), body.get(key)) for key in {**before, **body}}
    if UNSEEN in found:
        found[UNSEEN]["examples"] = found[UNSEEN]["examples"][:_EXAMPLES]
    return found


def sentence(body: Mapping[str, Any]) -> str:
    """What a window's unseen values were; "" where there were none."""
    if not body.get("with_unseen"):
        return ""
    named = sorted(body["features"].items(), key=lambda one: -one[1])
    said = ", ".join(f"{name} in {count:,}" for name, count in named[:3])
    return (
        f"{body['with_unseen']:,} of {body['requests']:,} requests held values that training never "
        f"saw ({said}), for example request {body['examples'][0]}"
    )


def quantile(latency: Mapping[str, Any] | Mapping[int, int], share: float) -> float:
    """A quantile of latency in milliseconds, to a twelfth of its size; NaN where nothing was asked."""
    pairs = sorted((int(bucket), int(count)) for bucket, count in latency.items())
    total = sum(count for _, count in pairs)
    reached = 0
    for bucket, count in pairs:
        reached += count
        if reached >= share * total:
            return float(2 ** (bucket / _STEPS)) / 1000
    return math.nan


def _unseen(
    model: Watched,
    rows: Answers,
    profile: Profile,
    names: Sequence[str],
    request: NDArray[np.int64],
) -> Body:
    spans = model.reference.bins.spans()
    any_unseen: set[int] = set()
    features: dict[str, int] = {}
    table: dict[str, Any] = {}
    for cells in model.reference.bins.features:
        if not isinstance(cells, CategoryCells):
            continue
        (code,) = cells.groups()["unseen"]
        if not profile.counts[spans[cells.name]][code]:
            continue
        table = table or model.reference.bins.expanded(traffic.profiled(rows, model.signature))
        hit = set(request[coder(cells)(table[cells.name]) == code].tolist())
        features[cells.name] = len(hit)
        any_unseen |= hit
    return {
        "requests": len(np.unique(request)),
        "with_unseen": len(any_unseen),
        "features": features,
        "examples": [names[i] for i in sorted(any_unseen)[:_EXAMPLES]],
    }


def _latency(spent: NDArray[np.int64]) -> Body:
    bucket = np.round(_STEPS * np.log2(np.maximum(spent, 1))).astype(np.int64)
    found, counts = np.unique(bucket, return_counts=True)
    return {str(b): int(c) for b, c in zip(found.tolist(), counts.tolist(), strict=True)}


def _sum(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict):
        return {key: _sum(a.get(key), b.get(key)) for key in {**a, **b}}
    return a + b
