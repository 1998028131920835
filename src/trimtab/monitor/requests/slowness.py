"""Latency of the champion beside its own ordinary variation, window by window.

What 95 % of a window's requests take is a shaky number where there are few: two of thirty that hang
make it. So a change of it is one only where the requests themselves say so, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from trimtab.monitor.findings import Finding
from trimtab.monitor.requests import asking, volume
from trimtab.monitor.requests.volume import Change
from trimtab.monitor.statistics import rates
from trimtab.store.records import Window

_SLOW: Final = 0.95
_FLOOR: Final = 0.1
_MICROS: Final = 1_000


def look(
    closed: Sequence[Window], alpha: float, span: int, cycles: tuple[int, int], before: int
) -> list[Finding]:
    """The change of latency that the newest closed windows show, or one that ended since `before`.

    `cycles` are how many windows make a season and a week (0: none), `span` is one's length.
    """
    known = [one for one in closed if one.features.get(asking.LATENCY)]
    starts = [one.start for one in known]
    spent = [asking.quantile(one.features[asking.LATENCY], _SLOW) for one in known]
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
    return [volume.finding("latency change", usual, now, " ms", starts)]


def _sure(known: Sequence[Window], found: Change, alpha: float) -> bool:
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


def _sum(windows: Sequence[Window]) -> Counter[int]:
    found: Counter[int] = Counter()
    for one in windows:
        for bucket, count in one.features[asking.LATENCY].items():
            found[int(bucket)] += int(count)
    return found
