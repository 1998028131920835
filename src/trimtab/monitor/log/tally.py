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

from trimtab.monitor.log import traffic
from trimtab.monitor.log.traffic import ANSWERED, FAILED
from trimtab.serve.logged.frame import Frame

CELLS: Final = 4096
"""Cells of a probability: an estimate from their middles is right to four digits."""
_ALIKE: Final = 0.1
_WAITING: Final = 5_000
_GROUPS: Final = 5_000
_DIGITS: Final = 10
"""Binary digits of a latency that are kept."""

Ints = NDArray[np.int64]
Decided = Counter[tuple[tuple[str | None, ...], str]]


class Arm(NamedTuple):
    """One model's requests: how many, how many of them it failed to answer, and the latency of
    those answered to clients, in microseconds ascending, with how many took each.

    `asked` leaves out the `refused`, whose content could not be answered. `rows` are those answered.
    """

    asked: int
    failed: int
    latencies: Ints
    counts: Ints
    rows: int = 0
    refused: int = 0

    @property
    def requests(self) -> int:
        """All requests, the refused ones too."""
        return self.asked + self.refused


class Pairs(NamedTuple):
    """Answers of champion and shadow to the same rows; `waiting` holds those of one of them yet."""

    compared: int
    agreed: int
    waiting: tuple[dict[str, Any], dict[str, Any]]


NOBODY: Final = Arm(0, 0, np.empty(0, np.int64), np.empty(0, np.int64))
UNPAIRED: Final = Pairs(0, 0, ({}, {}))


def answered(frames: Sequence[Frame]) -> list[Frame]:
    """Those with answers."""
    return [one for one in frames if one.status == ANSWERED and one.ids]


def latencies(frames: Iterable[Frame]) -> list[int]:
    """The latency of each request."""
    return [
        spent
        for one in frames
        for spent in ([part.latency_us for part in one.parts] if one.parts else (one.latency_us,))
    ]


def grown(arm: Arm, frames: Sequence[Frame], good: int, *, shadow: bool = False) -> Arm:
    """An arm with more frames, `good` of whose requests were answered.

    What was refused for its content is nobody's failure; but the champion has answered what a
    shadow is given, so there any failure counts.
    """
    least = 0 if shadow else FAILED
    rest = [one for one in frames if one.status != ANSWERED]
    failed = sum([1 for one in rest if one.status >= least])
    return arm._replace(
        asked=arm.asked + good + failed,
        failed=arm.failed + failed,
        rows=arm.rows + rows(frames),
        refused=arm.refused + len(rest) - failed,
    )


def coarse(spent: Sequence[int]) -> Ints:
    """Latencies right to one part in 1,024, so that there are few different ones however many come."""
    values = np.asarray(spent, dtype=np.int64)
    lost = np.maximum(np.frexp(values.astype(np.float64))[1] - _DIGITS, 0)
    found: Ints = (values >> lost << lost) + ((1 << lost) >> 1)
    return found


def timed(arm: Arm, spent: Sequence[int]) -> Arm:
    """An arm with more latencies."""
    known, counts = merged(arm.latencies, arm.counts, coarse(spent))
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
    same = _same_numbers if task == "regression" else _same_classes
    names, said = _in_order(pairs.waiting[0], champion)
    others, other = _in_order(pairs.waiting[1], shadow)
    both = min(len(names), len(others))
    if names[:both] == others[:both]:  # a shadow answers in the champion's order, if a little later
        agreed = same(said[:both], other[:both]) if both else 0
        left = (_newest(names[both:], said[both:]), _newest(others[both:], other[both:]))
        return Pairs(pairs.compared + both, pairs.agreed + agreed, left)
    theirs, mine = dict(zip(names, said, strict=True)), dict(zip(others, other, strict=True))
    found = [name for name in mine if name in theirs]
    agreed = same([theirs[name] for name in found], [mine[name] for name in found]) if found else 0
    for name in found:
        del theirs[name], mine[name]
    left = (_newest([*theirs], [*theirs.values()]), _newest([*mine], [*mine.values()]))
    return Pairs(pairs.compared + len(found), pairs.agreed + agreed, left)


def cells(frames: Sequence[Frame], bound: float) -> Ints:
    """The cell of each probability, twice, plus 1 where it reaches the bound; empty for others."""
    score = np.frombuffer(b"".join([one.score for one in frames]), dtype="<f4").astype(np.float64)
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
    kinds = Counter(zip(told, *values, strict=True)) if columns else _alone(Counter(told))
    for (said, *where), count in kinds.items():
        found[tuple(None if one is None else str(one) for one in where), traffic.text(said)] += (
            count
        )
    return found if len(found) <= _GROUPS else Counter()


def _alone(counts: Counter[Any]) -> Counter[tuple[Any, ...]]:
    return Counter({(said,): count for said, count in counts.items()})


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


def _in_order(waiting: dict[str, Any], frames: Sequence[Frame]) -> tuple[list[str], list[Any]]:
    """The ids and the decisions that wait, and those of more frames."""
    names = [*waiting, *chain.from_iterable([one.ids for one in frames])]
    said = [*waiting.values(), *chain.from_iterable([one.decision for one in frames])]
    return names, said


def _newest(names: list[str], said: list[Any]) -> dict[str, Any]:
    return dict(zip(names[-_WAITING:], said[-_WAITING:], strict=True))


def _same_classes(a: list[Any], b: list[Any]) -> int:
    if set(map(type, a)) != set(map(type, b)):
        a, b = [traffic.text(one) for one in a], [traffic.text(one) for one in b]
    return sum(map(operator.eq, a, b))


def _same_numbers(a: list[Any], b: list[Any]) -> int:
    x, y = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    return int((np.abs(x - y) <= _ALIKE * np.maximum(np.abs(x), np.abs(y))).sum())


def rows(frames: Iterable[Frame]) -> int:
    """How many rows."""
    return sum([len(one.ids) for one in frames])
