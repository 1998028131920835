"""What log frames say of a candidate beside its champion, as counts that add up.

Pure: frames in, counts out. Requests asked and failed by arm, latencies, answers that agree, scores
in cells, and decisions by the columns that requirements group by.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor import traffic
from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame

CELLS: Final = 4096
"""Cells of a probability: an estimate from their middles is right to four digits."""
_FAILED: Final = 500
_ALIKE: Final = 0.1
_WAITING: Final = 5_000
_GROUPS: Final = 5_000

Ints = NDArray[np.int64]
Decided = Counter[tuple[tuple[str | None, ...], str]]


class Arm(NamedTuple):
    """One model's requests: how many, how many of them it failed to answer, and the latency of
    those answered to clients, in microseconds ascending, with how many took each.
    """

    asked: int
    failed: int
    latencies: Ints
    counts: Ints


class Pairs(NamedTuple):
    """Answers of champion and shadow to the same rows; `waiting` holds those of one of them yet."""

    compared: int
    agreed: int
    waiting: tuple[dict[str, Any], dict[str, Any]]


NOBODY: Final = Arm(0, 0, np.empty(0, np.int64), np.empty(0, np.int64))
UNPAIRED: Final = Pairs(0, 0, ({}, {}))


def by_route(frames: Iterable[Frame], since: int) -> dict[tuple[str, str], list[Frame]]:
    """Frames per (model digest, role) that arrived from a moment on."""
    found: dict[tuple[str, str], list[Frame]] = {}
    for one in frames:
        if one.received_at >= since:
            found.setdefault((one.model, one.role), []).append(one)
    return found


def answered(frames: Sequence[Frame]) -> list[Frame]:
    """Those with answers."""
    return [one for one in frames if one.status == ANSWERED and one.ids]


def latencies(frames: Iterable[Frame]) -> list[int]:
    """The latency of each request."""
    found: list[int] = []
    for one in frames:
        if one.parts:
            found += [part.latency_us for part in one.parts]
        else:
            found.append(one.latency_us)
    return found


def grown(arm: Arm, frames: Sequence[Frame], good: int, *, shadow: bool = False) -> Arm:
    """An arm with more frames, `good` of whose requests were answered.

    What was refused for its content is nobody's failure; but the champion has answered what a
    shadow is given, so there any failure counts.
    """
    least = 0 if shadow else _FAILED
    failed = sum([1 for one in frames if one.status != ANSWERED and one.status >= least])
    return arm._replace(asked=arm.asked + good + failed, failed=arm.failed + failed)


def timed(arm: Arm, spent: Sequence[int]) -> Arm:
    """An arm with more latencies."""
    known, counts = merged(arm.latencies, arm.counts, spent)
    return arm._replace(latencies=known, counts=counts)


def merged(known: Ints, counts: Ints, more: Sequence[int] | Ints) -> tuple[Ints, Ints]:
    """Values ascending with how many there are of each, and more of them."""
    if not len(more):
        return known, counts
    values = np.concatenate([known, np.asarray(more, dtype=np.int64)])
    weights = np.concatenate([counts, np.ones(len(more), dtype=np.int64)])
    unique, places = np.unique(values, return_inverse=True)
    return unique, np.bincount(places, weights=weights).astype(np.int64)


def paired(pairs: Pairs, champion: Sequence[Frame], shadow: Sequence[Frame], task: str) -> Pairs:
    """Pairs with more answers. Numbers agree where they differ by a tenth of the larger at most.

    Of answers that wait for their other the newest are kept.
    """
    theirs = pairs.waiting[0] | _by_id(champion)
    mine = pairs.waiting[1] | _by_id(shadow)
    both = theirs.keys() & mine.keys()
    said, other = [theirs[name] for name in both], [mine[name] for name in both]
    same = _same_numbers if task == "regression" else _same_classes
    agreed = same(said, other) if both else 0
    left = tuple(
        dict([(name, one) for name, one in some.items() if name not in both][-_WAITING:])
        if len(some) > len(both)
        else {}
        for some in (theirs, mine)
    )
    return Pairs(pairs.compared + len(both), pairs.agreed + agreed, (left[0], left[1]))


def cells(frames: Sequence[Frame], bound: float) -> Ints:
    """The cell of each probability, twice, plus 1 where it reaches the bound; empty for others."""
    score = np.frombuffer(b"".join(one.score for one in frames), dtype="<f4").astype(np.float64)
    if not ((score >= 0) & (score <= 1)).all():
        return np.empty(0, np.int64)
    place = np.minimum((score * CELLS).astype(np.int64), CELLS - 1)
    return 2 * place + (score >= bound)


def scores(places: Ints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The scores in the middle of these cells, and whether they were decided positive."""
    return (places // 2 + 0.5) / CELLS, (places % 2).astype(np.bool_)


def decided(known: Decided, frames: Sequence[Frame], columns: Sequence[str]) -> Decided:
    """How many rows had which values of the columns and which decision; empty above 5,000 kinds."""
    told = list(chain.from_iterable([one.decision for one in frames]))
    values = [_values(frames, name) for name in columns]
    found = Counter(known)
    for (said, *where), count in Counter(zip(told, *values, strict=True)).items():
        found[tuple(None if one is None else str(one) for one in where), traffic.text(said)] += (
            count
        )
    return found if len(found) <= _GROUPS else Counter()


def _values(frames: Sequence[Frame], name: str) -> list[Any]:
    """A column's values; None for those not told, texts for what no counter takes."""
    found: list[Any] = []
    for one in frames:
        if name in one.words:
            found += one.words[name]
        elif name in one.context:
            found += [str(x) if isinstance(x, list | dict) else x for x in one.context[name]]
        elif name in one.numbers:
            found += [None if x != x else x for x in one.column(name).tolist()]  # type: ignore[union-attr]  # noqa: PLR0124
        else:
            found += [None] * len(one.ids)
    return found


def _by_id(frames: Sequence[Frame]) -> dict[str, Any]:
    names = chain.from_iterable([one.ids for one in frames])
    return dict(zip(names, chain.from_iterable([one.decision for one in frames]), strict=True))


def _same_classes(a: list[Any], b: list[Any]) -> int:
    if {type(one) for one in a} != {type(one) for one in b}:
        a, b = [traffic.text(one) for one in a], [traffic.text(one) for one in b]
    return sum(map(operator.eq, a, b))


def _same_numbers(a: list[Any], b: list[Any]) -> int:
    x, y = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    return int((np.abs(x - y) <= _ALIKE * np.maximum(np.abs(x), np.abs(y))).sum())


def rows(frames: Iterable[Frame]) -> int:
    """How many rows."""
    return sum(len(one.ids) for one in frames)
