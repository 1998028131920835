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

from trimtab.monitor.budget import Budget
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.statistics.tails import f_sf

Floats = NDArray[np.float64]

VOLUME: Final = "__rows__"
LATENCY: Final = "__latency__"
_LEAST: Final = 10
_MOST: Final = 56
_CYCLES: Final = 4
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
    """`ratio` of the newest windows to those before, its p, the window it began in."""

    ratio: float
    p: float
    since: int
    usual: float


def level(budget: Budget) -> float:
    """The level of one test: two series, six scales, every window."""
    return budget.pages_per_month * _PART / (2 * len(_SCALES) * max(budget.windows_per_month, 1.0))


def change(
    values: Sequence[float], alpha: float, *, period: int = 0, floor: float = 0.05
) -> Change | None:
    """The change of the newest of positive `values` (0 allowed), oldest first; None where none is.

    `period` is how many windows make a season (0: none), `floor` the least standard deviation that
    logarithms are taken to have.
    """
    logs = np.log(np.asarray(values, dtype=np.float64) + 1)
    best: Change | None = None
    for k in _SCALES:
        if len(logs) - k < _LEAST:
            break
        now, before = logs[-k:], logs[:-k]
        gaps, spread, count, freedom = _gaps(now, before, period, len(logs) - k, floor)
        gap = float(gaps.mean())
        t = gap / (spread * (1 / k + 1 / count) ** 0.5)
        p = f_sf(t * t, 1, freedom)
        each = gaps * math.copysign(1, gap) > _FACTOR * 0.75
        if p <= alpha and abs(gap) > _FACTOR and each.all() and (best is None or k > 1):
            usual = float(np.exp(np.median(before)) - 1)
            best = Change(math.exp(gap), p, len(logs) - k, usual)
    return best


def silence(
    values: Sequence[float], alpha: float, *, period: int = 0, week: int = 0
) -> Change | None:
    """The change of `values` that end with windows of nothing, where that is news; else None.

    `week` is how many windows make one (0: none): a whole one has to be known, and what was empty in
    most of the last four weeks too is no news. Even the most regular of rare events leave out a
    window now and then: nothing must be rarer than `alpha` where they come at random (Poisson).
    """
    counts = np.asarray(values, dtype=np.float64)
    full = np.flatnonzero(counts)
    begin = int(full[-1]) + 1 if full.size else 0
    if begin == len(counts) or begin < max(_LEAST, week):
        return None
    expected: list[float] = []
    for place in range(begin, len(counts)):
        past = counts[place - week :: -week][:_CYCLES] if week else counts[:begin][-_MOST:]
        if (past == 0).mean() <= 0.5:
            expected.append(float(past.mean()))
    if math.exp(-sum(expected)) > alpha:
        return None
    known = week if week and begin >= _CYCLES * week else period
    found = change(values, alpha, period=known)
    if found is None or found.ratio > 1:
        return None
    return found._replace(usual=sum(expected) / len(expected))


def finding(
    kind: Literal["traffic change", "latency change"], found: Change, now: float, unit: str
) -> Finding:
    """A change as a finding; `since` is a position among the values."""
    what = "rows" if kind == "traffic change" else "latency (95 %)"
    feature = VOLUME if kind == "traffic change" else LATENCY
    said = f"{what} {now:,.4g}{unit} where {found.usual:,.4g}{unit} were usual"
    if kind == "traffic change":
        grave = found.ratio < _GONE
    else:
        grave = now > _SLOW_RATIO * found.usual and now - found.usual > _SLOW_MS
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
        since=found.since,
        text=f"{kind.capitalize()} since window {found.since}: {said}.",
        detail={"ratio": found.ratio, "p": found.p, "usual": found.usual},
        share=abs(found.ratio - 1),
        form="sudden",
    )


def _gaps(
    now: Floats, before: Floats, period: int, first: int, floor: float
) -> tuple[Floats, float, int, int]:
    """How far each newest value is off; the spread of single values; how many tell the usual level,
    and how many degrees of freedom the spread.
    """
    if period and len(before) >= _CYCLES * period:
        phase = (np.arange(len(before)) - first) % period
        level = {k: float(before[phase == k].mean()) for k in range(period)}
        rest = before - np.array([level[k] for k in phase.tolist()])
        freedom = len(before) - period
        spread = float((rest @ rest / freedom) ** 0.5)
        gaps = now - np.array([level[k % period] for k in range(len(now))])
        return gaps, max(spread, floor), len(before) // period, freedom
    recent = before[-_MOST:]
    spread = max(float(recent.std(ddof=1)), floor)
    return now - recent.mean(), spread, len(recent), len(recent) - 1
