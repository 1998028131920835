"""ADWIN: a second view of an error stream, which knows nothing of what was expected.

A window of the newest values that is cut where two parts of it differ more than chance allows (Bifet
and Gavalda, SDM 2007): buckets of 1, 2, 4, ... values, at most five of each size, and the bound with
variance of the paper's equation 3.1. It needs no model of the errors and keeps no false-alarm rate
over the whole stream; the e-detector decides, this is beside it on record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

_MOST: Final = 5
_CLOCK: Final = 32
_LEAST: Final = 5
_GRACE: Final = 10


class Bucket(NamedTuple):
    """`size` values of sum `total` and summed squared deviation `squares` from their mean."""

    size: int
    total: float
    squares: float


class Adwin(msgspec.Struct, frozen=True, kw_only=True):
    """The detector between two batches; encode it with msgspec.

    `delta` is the confidence of one cut. `buckets` are oldest first. `rows` were fed in all. The last
    cut came at row `at`; the window that was left began after row `since`, and the mean had moved
    from `before` to `after`.
    """

    delta: float = 0.002
    buckets: tuple[Bucket, ...] = ()
    rows: int = 0
    cuts: int = 0
    at: int = 0
    since: int = 0
    before: float = 0.0
    after: float = 0.0


def update(state: Adwin, values: Iterable[float], *, clock: int = _CLOCK) -> Adwin:
    """The state after a batch of values in order; a cut is looked for at every `clock`-th row."""
    buckets = list(state.buckets)
    rows = state.rows
    found = state
    for value in values:
        rows += 1
        buckets.append(Bucket(1, float(value), 0.0))
        _compress(buckets)
        if rows % clock == 0 and rows > _GRACE:
            cut = _cut(buckets, state.delta)
            if cut is not None:
                left, before, after = cut
                buckets = buckets[left:]
                found = msgspec.structs.replace(
                    found,
                    cuts=found.cuts + 1,
                    at=rows,
                    since=rows - sum(one.size for one in buckets),
                    before=before,
                    after=after,
                )
    return msgspec.structs.replace(found, buckets=tuple(buckets), rows=rows)


def width(state: Adwin) -> int:
    """How many of the newest values are held to be of one kind."""
    return sum(one.size for one in state.buckets)


def mean(state: Adwin) -> float:
    """Their mean; NaN before the first."""
    count = width(state)
    return sum(one.total for one in state.buckets) / count if count else math.nan


def _compress(buckets: list[Bucket]) -> None:
    """Merge the two oldest of a size wherever there are more than five of it; newest sizes last."""
    size, end = 1, len(buckets)
    while True:
        first = end
        while first > 0 and buckets[first - 1].size == size:
            first -= 1
        if end - first <= _MOST:
            return
        buckets[first : first + 2] = [_merged(buckets[first], buckets[first + 1])]
        size, end = size * 2, first + 1


def _merged(a: Bucket, b: Bucket) -> Bucket:
    count = a.size + b.size
    gap = a.total / a.size - b.total / b.size
    return Bucket(
        count, a.total + b.total, a.squares + b.squares + gap * gap * a.size * b.size / count
    )


def _cut(buckets: list[Bucket], delta: float) -> tuple[int, float, float] | None:
    """How many of the oldest buckets are of another kind, and both means; None where none are.

    The oldest bucket goes while any split is significant, as in the paper.
    """
    dropped, before, after = 0, 0.0, 0.0
    while len(buckets) - dropped > 1:
        found = _split(buckets[dropped:], delta)
        if found is None:
            break
        before, after = found if not dropped else (before, found[1])
        dropped += 1
    return (dropped, before, after) if dropped else None


def _split(buckets: list[Bucket], delta: float) -> tuple[float, float] | None:
    whole = buckets[0]
    for one in buckets[1:]:
        whole = _merged(whole, one)
    count, variance = whole.size, whole.squares / whole.size
    if count <= 2 * _LEAST:
        return None
    bound = math.log(2 * math.log(count) / delta)
    old_count, old_total = 0, 0.0
    for one in buckets[:-1]:
        old_count += one.size
        old_total += one.total
        new_count = count - old_count
        if old_count < _LEAST or new_count < _LEAST:
            continue
        gap = abs(old_total / old_count - (whole.total - old_total) / new_count)
        harmonic = 1 / (1 / (old_count - _LEAST + 1) + 1 / (new_count - _LEAST + 1))
        if gap > math.sqrt(2 / harmonic * variance * bound) + 2 / (3 * harmonic) * bound:
            return old_total / old_count, (whole.total - old_total) / new_count
    return None
