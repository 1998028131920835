"""Latency of the champion beside its own ordinary variation and that of the versions before it.

What 95 % of a window's requests take is a shaky number where there are few: two of thirty that hang
make it. So a change of it is one only where the requests themselves say so, too. A version that has
just begun is held against the one before it; its first seconds, in which everything is cold, are not
judged alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from statistics import median
from typing import Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.monitor.findings import Finding
from trimtab.monitor.requests import asking, volume
from trimtab.monitor.requests.volume import Change
from trimtab.monitor.statistics import rates
from trimtab.store.records import Window

_SLOW: Final = 0.95
_FLOOR: Final = 0.1
_MICROS: Final = 1_000
_WHOLE: Final = 0.5
_FEW: Final = 20
"""A version's first window with less than this share of the usual requests, or this few, waits for the
next one.
"""


class _Course(NamedTuple):
    """Requests of one version in one window or two: when it begins, when the first row came, buckets."""

    start: int
    first: int
    model: str
    counts: Counter[int]


def look(
    closed: Sequence[Window],
    alpha: float,
    span: int,
    cycles: tuple[int, int],
    before: int,
    *,
    others: Sequence[Window] = (),
    label: Callable[[str], str] = str,
) -> list[Finding]:
    """The change of latency that the newest closed windows show, or one that ended since `before`.

    `cycles` are how many windows make a season and a week (0: none), `span` is one's length. `others`
    are windows in which other versions were the champion, `label` names a version by its digest.
    """
    known = _course(closed, others, span)
    starts = [one.start for one in known]
    spent = [asking.quantile(one.counts, _SLOW) for one in known]
    values = [_MICROS * one for one in spent]
    found = volume.newest(
        values, alpha, period=cycles[0], week=cycles[1], floor=_FLOOR,
        places=[one // span for one in starts],
    )  # fmt: skip
    if found is None:
        return []
    if found.until is not None and starts[found.until + 1] + span <= before:
        return []
    if not _sure(known, found, alpha):
        return []
    usual = found._replace(usual=found.usual / _MICROS)
    now = spent[-1] if found.until is None else usual.usual * usual.ratio
    new, old = known[found.since], known[found.since - 1]
    moments = [
        known[0].start,
        *(one.start if one.model == last.model else one.first for last, one in pairwise(known)),
    ]
    one = volume.finding("latency change", usual, now, " ms", moments)
    if new.model == old.model:
        return [one]
    said = f"{label(new.model)} answers since {ids.iso(new.first)}, {label(old.model)} did before"
    return [msgspec.structs.replace(one, text=f"{one.text.removesuffix('.')}; {said}.")]


def _course(closed: Sequence[Window], others: Sequence[Window], span: int) -> list[_Course]:
    """The windows of whichever version was the champion, oldest first: of the one that is, and of
    others where it did not answer, had only begun to, or was about to end.
    """
    mine = {one.start: one for one in closed if one.features.get(asking.LATENCY)}
    if not mine:
        return []
    ordered = [((one.start, 1, _first(one)), one) for one in mine.values()]
    for one in others:
        side = _side(one, mine, span)
        if side is not None and one.features.get(asking.LATENCY):
            ordered.append(((one.start, side, _first(one)), one))
    order = [one for _, one in sorted(ordered, key=itemgetter(0))]
    found: list[_Course] = []
    for _, run in groupby(order, key=lambda one: one.model):
        found += _begun([_taken(one) for one in run], found)
    return found if found and found[-1].model == closed[-1].model else []


def _side(window: Window, mine: Mapping[int, Window], span: int) -> int | None:
    """Whether another version's window comes before (0) or after (2) the version's own of that time; None
    where it is none of the course.
    """
    start, newest = window.start, max(mine)
    own = mine.get(start)
    if start > newest:
        return None
    if own is None:
        return 0
    begins, ends = start - span not in mine, start < newest and start + span not in mine
    if begins and ends:
        return 2 if _first(window) > _first(own) else 0
    return 2 if ends else 0 if begins else None


def _begun(run: list[_Course], before: Sequence[_Course]) -> list[_Course]:
    """The windows of a version after those `before` it: a first one of few requests is no window by
    itself, and with no second one it tells nothing.
    """
    usual = [one.counts.total() for one in before[-volume.REMEMBERED :]]
    if not usual or run[0].counts.total() >= max(_FEW, _WHOLE * median(usual)):
        return run
    if len(run) == 1:
        return []
    return [run[0]._replace(counts=run[0].counts + run[1].counts), *run[2:]]


def _taken(window: Window) -> _Course:
    body = window.features[asking.LATENCY]
    counts = Counter({int(bucket): int(count) for bucket, count in body.items()})
    return _Course(window.start, _first(window), window.model, counts)


def _first(window: Window) -> int:
    """When its first row came; its beginning where an older trimtab did not write that down."""
    return int(window.features.get(asking.FIRST, {}).get("at", window.start))


def _sure(known: Sequence[_Course], found: Change, alpha: float) -> bool:
    """Whether more (or fewer) requests than before took longer than 95 % of those before (Fisher)."""
    earlier = _sum(known[max(0, found.since - volume.REMEMBERED) : found.since])
    now = _sum(known[found.since : found.until])
    total, reached, limit = sum(earlier.values()), 0, 0
    for limit in sorted(earlier):
        reached += earlier[limit]
        if reached >= _SLOW * total:
            break
    over = sum(count for bucket, count in now.items() if bucket > limit)
    # one more, slow: that limit was drawn from these very requests
    test = rates.more if found.ratio > 1 else rates.fewer
    return test(over, sum(now.values()), total - reached + 1, total + 1) <= alpha


def _sum(windows: Sequence[_Course]) -> Counter[int]:
    found: Counter[int] = Counter()
    for one in windows:
        found += one.counts
    return found
