"""Traffic and latency beside their own ordinary variation, window by window.

Both are compared as logarithms with the windows before: a prediction interval of Student's t for the
mean of the last 1 to 8 windows, by the same hour or weekday where enough of them are known. A
change must also be a half more or a third less: what is merely significant is nobody's trouble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.monitor.budget import Budget
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.statistics.tails import f_sf

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

VOLUME: Final = "__rows__"
LATENCY: Final = "__latency__"
_LEAST: Final = 10
REMEMBERED: Final = 56
"""Windows that tell the usual level; a change that lasts longer is the usual itself."""
_CYCLES: Final = 4
_WEEKDAYS: Final = 7
_WHOLE: Final = 1_000
_SELDOM: Final = 0.25
"""Up to here windows of nothing at a time of the season are no part of what is usual then."""
_NEWS: Final = (1 / 60, 1 / 200)
"""An empty window is news where it is rarer than this: the first one ever, which is after 29 that had
rows, and any later one.
"""
_FACTOR: Final = math.log(1.5)
_SCALES: Final = (1, 2, 3, 4, 6, 8)
_PART: Final = 0.1
"""The part of the budget that goes to traffic and latency together."""
_GONE: Final = 0.1
_SLOW_RATIO: Final = 3.0
_SLOW_MS: Final = 50.0
"""Traffic that is nearly gone and answers that are three times and 50 ms slower are alarms; what is
less is a notice: named, and no incident.
"""


class Change(NamedTuple):
    """`ratio` of the newest windows to what was usual, its p, the window it began in, what was usual
    at the newest one's time, the first of the windows that are as usual again, and whether enough was
    known before: a whole week, and of a silence how often there was one.
    """

    ratio: float
    p: float
    since: int
    usual: float
    until: int | None = None
    known: bool = True


class _Usual(NamedTuple):
    """What windows are held against: gaps of the later and the earlier ones, the spread of single
    ones, how many tell the level, and how many degrees of freedom the spread.
    """

    gaps: Floats
    back: Floats
    spread: float
    windows: int
    freedom: int


def level(budget: Budget) -> float:
    """The level of one test: two series, six scales, every window."""
    return budget.pages_per_month * _PART / (2 * len(_SCALES) * max(budget.windows_per_month, 1.0))


def newest(
    values: Sequence[float],
    alpha: float,
    *,
    period: int = 0,
    week: int = 0,
    floor: float = 0.05,
    places: Sequence[int] = (),
) -> Change | None:
    """The change that the newest of positive `values` (0 allowed), oldest first, show, or else the
    newest one that was over by the last two of them; None where there is none.

    It is as old as it was when it was sure, while it lasts and until it is the usual. `period` is how
    many windows make a season and `week` how many a week (0: none), `floor` the least standard
    deviation that logarithms are taken to have, `places` the windows' numbers in time where some
    are missing.
    """
    logs = np.log(np.asarray(values, dtype=np.float64) + 1)
    at = np.asarray(places if len(places) else range(len(logs)), dtype=np.int64)
    found = None
    for first in range(max(_LEAST, len(logs) - REMEMBERED), len(logs)):
        if at[first] - at[0] < period and period > _WEEKDAYS:  # hours: a whole day has to be known
            continue
        one = _began(logs, at, first, alpha, (period, week), floor)
        if one is not None and one.until is None:
            return one
        if one is not None and (found is None or one.since >= (found.until or 0)):
            found = one
    return found


def change(
    values: Sequence[float], alpha: float, *, period: int = 0, week: int = 0
) -> Change | None:
    """The change that the newest of `values` show, as `newest` takes them; None where it is over."""
    found = newest(values, alpha, period=period, week=week)
    return found if found is not None and found.until is None else None


def silence(
    values: Sequence[float], alpha: float, *, period: int = 0, week: int = 0
) -> Change | None:
    """The change of `values` that end with windows of nothing, where that is news; else None.

    `week` is how many windows make one (0: none): a whole one has to be known, and what was empty in
    most of the last four weeks too is no news. Even the most regular of rare events leave out a
    window now and then: nothing must be rarer than `alpha` where they come at random (Poisson), and
    than `_NEWS` by how often windows were empty before, however many rows the others had. Where none
    was and too few are known to tell, the change is none that is `known`.
    """
    counts = np.asarray(values, dtype=np.float64)
    full = np.flatnonzero(counts)
    begin = int(full[-1]) + 1 if full.size else 0
    if begin == len(counts) or begin < max(_LEAST, week):
        return None
    expected: dict[int, float] = {}
    for place in range(begin, len(counts)):
        past = counts[place - week :: -week][:_CYCLES] if week else counts[:begin][-REMEMBERED:]
        if (past == 0).mean() <= 0.5:
            expected[place] = float(past.mean())
    if math.exp(-sum(expected.values())) > alpha:
        return None
    empty = _where_usual(counts[:begin] == 0, week)
    ever = bool(empty.any())
    sure = _chance(empty, week, len(expected)) <= _NEWS[ever]
    if not sure and ever:
        return None
    first = min(expected)
    known = week if week and begin >= _CYCLES * week else period
    found = _began(
        np.log(counts + 1), np.arange(len(counts)), first, alpha, (known, 0), 0.05, gaps=True
    )
    if found is None or found.ratio > 1:
        return None
    usual = sum(expected.values()) / len(expected)
    return Change(ratio=0.0, p=found.p, since=first, usual=usual, known=sure)


def _where_usual(empty: NDArray[np.bool_], week: int) -> NDArray[np.bool_]:
    """Which windows were empty, of those in parts of the week where that is not the rule."""
    if not week:
        return empty
    place = np.arange(len(empty)) % week
    share = np.bincount(place, empty, week) / np.maximum(np.bincount(place, minlength=week), 1)
    return empty[share[place] <= 0.5]


def _chance(empty: NDArray[np.bool_], week: int, run: int) -> float:
    """How likely `run` more windows in a row are empty, by how often earlier ones were (beta-binomial,
    Jeffreys' prior). Where none was, windows of more than a day count as its days; where one was, its
    days were empty together.
    """
    none = int(empty.sum())
    days = max(_WEEKDAYS // week, 1) if week and not none else 1
    known = len(empty) * days
    return math.prod((none + 0.5 + i) / (known + 1 + i) for i in range(run * days))


def finding(
    kind: Literal["traffic change", "latency change"],
    found: Change,
    now: float,
    unit: str,
    starts: Sequence[int],
) -> Finding:
    """A change as a finding, `now` is what it came to; its windows begin at the moments `starts`."""
    what = "rows" if kind == "traffic change" else "latency (95 %)"
    feature = VOLUME if kind == "traffic change" else LATENCY
    said = f"{what} {_said(now)}{unit} where {_said(found.usual)}{unit} were usual"
    if kind == "traffic change":
        grave = found.ratio < _GONE and found.known
    else:
        grave = found.ratio > _SLOW_RATIO and found.usual * (found.ratio - 1) > _SLOW_MS
    detail = {"ratio": found.ratio, "p": found.p, "usual": found.usual}
    over = "" if found.until is None else f"; as usual again since {ids.iso(starts[found.until])}"
    return Finding(
        kind=kind,
        severity="alarm" if grave else "notice",
        features=(
            FeatureFinding(
                feature=feature,
                statistic="volume" if kind == "traffic change" else "latency",
                p=found.p,
                effect=found.ratio - 1,
                lo=found.ratio - 1,
                hi=found.ratio - 1,
                unit="share",
                note=said,
            ),
        ),
        since=starts[found.since],
        text=f"{kind.capitalize()} since {ids.iso(starts[found.since])}: {said}{over}.",
        detail=detail if found.until is None else {**detail, "lasts": 0.0},
        share=abs(found.ratio - 1),
    )


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.4g}"


def _began(
    logs: Floats,
    at: Places,
    first: int,
    alpha: float,
    cycles: tuple[int, int],
    floor: float,
    *,
    gaps: bool = False,
) -> Change | None:
    """The change that began in one window, by the first of its sums of windows that is sure."""
    period, week = cycles
    usual = _usual(logs, at, first, period, floor, gaps=gaps)
    moved = usual.gaps
    sign = math.copysign(1, moved[0])
    for k in _SCALES:
        if k > len(moved) or (moved[:k] * sign <= _FACTOR * 0.75).any():
            return None
        gap = float(moved[:k].mean())
        t = gap / (usual.spread * (1 / k + 1 / usual.windows) ** 0.5)
        p = f_sf(t * t, 1, usual.freedom)
        if p <= alpha and abs(gap) > _FACTOR:
            break
    else:
        return None
    known = not week or bool(at[first] - at[0] >= week)
    if week and known and not _unlike(logs, at, slice(first, first + k), week, sign):
        return None
    calm = np.flatnonzero(usual.back[::-1] * sign <= _FACTOR * 0.75)
    if len(moved) + (int(calm[0]) if calm.size else len(usual.back)) > REMEMBERED:
        return None
    back = moved * sign < abs(gap) / 2
    over = np.flatnonzero(back[k:-1] & back[k + 1 :])
    until = first + k + int(over[0]) if over.size else None
    if until is None and back[-1]:  # one window may be chance
        return None
    shown = moved[: None if until is None else until - first]
    ratio = math.exp(float(np.median(shown[-max(_SCALES) :])))
    last = len(shown) - 1
    return Change(
        ratio, p, first, math.exp(float(logs[first + last] - moved[last])) - 1, until, known
    )


def _unlike(logs: Floats, at: Places, now: slice, week: int, sign: float) -> bool:
    """Whether windows are not what the last weeks were at that time too."""
    known = dict(zip(at[: now.start].tolist(), logs[: now.start].tolist(), strict=True))
    gaps = []
    for place, value in zip(at[now].tolist(), logs[now].tolist(), strict=True):
        past = [known[one] for i in range(1, _CYCLES + 1) if (one := place - i * week) in known]
        if past:
            gaps.append((value - sum(past) / len(past)) * sign)
    return not gaps or sum(gaps) / len(gaps) > _FACTOR


def _usual(
    logs: Floats, at: Places, first: int, period: int, floor: float, *, gaps: bool
) -> _Usual:
    """What the windows from `first` on are held against, by season where enough of them are known.

    Windows of nothing where that is seldom are left out, unless `gaps`: an outage would hide all that
    is less than one.
    """
    seasonal = bool(period and at[first] - at[0] >= _CYCLES * period)
    begin = 0 if seasonal else max(0, first - REMEMBERED)
    size = period if seasonal else 1
    before, phase = logs[begin:first], (at - at[0]) % size
    past = phase[begin:first]
    if not gaps:
        empty = np.bincount(past, before <= 0, size) / np.maximum(
            np.bincount(past, minlength=size), 1
        )
        keep = (before > 0) | (empty[past] > _SELDOM)
        before, past = before[keep], past[keep]
    counts = np.bincount(past, minlength=size)
    sums = np.bincount(past, weights=before, minlength=size)
    levels = np.where(counts > 0, sums / np.maximum(counts, 1), before.mean())
    rest = before - levels[past]
    freedom = max(len(before) - int((counts > 0).sum()), 1)
    spread = max(float((rest @ rest / freedom) ** 0.5), floor)
    windows = max(len(before) // size, 1)
    back = logs[begin:first] - levels[phase[begin:first]]
    return _Usual(logs[first:] - levels[phase[first:]], back, spread, windows, freedom)
