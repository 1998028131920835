"""Spells: since when a feature has had a defect without a pause, and whether it still has it.

Told by the windows' own shares. Evidence that rows are as in the reference adds up from window to
window (a cumulative sum of log likelihood ratios, Page 1954), so that one small window without the
defect is no pause and many are; a sum of windows alone could tell neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.drift import forms
from trimtab.monitor.findings import FeatureFinding
from trimtab.monitor.statistics import rates
from trimtab.profile.cells import CategoryCells, Cells, NumberCells
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference

_PAUSED: Final = 6.9
"""The log likelihood ratio at which a pause is sure: a thousand to one."""
_SHOWN: Final = 10.8
"""The deviance, chi-square with one degree at 0.001, from which a window shows the defect by itself."""
_ROUNDS: Final = 4
"""How often a spell is looked for with the effect of the spell itself: the sum of windows that was found
holds some from before and after it, which make the effect smaller.
"""


class Spell(NamedTuple):
    """The position of the first window of the newest spell, whether the newest window is in it, and
    the feature's finding by the rows of the spell alone.
    """

    since: int
    lasts: bool
    found: FeatureFinding


def spell(
    reference: Reference,
    counted: Sequence[Profile],
    found: FeatureFinding,
    place: slice,
    seasons: Sequence[int | None] = (),
) -> Spell | None:
    """The newest spell of a feature's defect in windows, oldest first; None where the defect is not
    one of rows that are counted, or no window shows it. Its counts are at `place`, `seasons` are the
    windows' keys.
    """
    cells = reference.bins.feature(found.feature)
    base = reference.profile.counts[place]
    codes = _codes(cells, base, found.statistic)
    if not codes:
        return None
    hits = np.array([one.counts[place][list(codes)].sum() for one in counted], dtype=np.float64)
    # an output counts only in rows that tell it
    rows = np.array([one.counts[place].sum() for one in counted], dtype=np.float64)
    held = forms.held_against(reference, seasons, len(counted))
    every = reference.profile.rows
    before = np.array([_usual(cells, one, place, codes, every) for one in held])
    total = np.array([one.rows for one in held])
    usual = (before + 0.5) / (total + 1.0)
    span, size, mean = (0, len(counted)), found.effect, before / total
    k, n, share = 0, 1, 0.0
    for _ in range(_ROUNDS):
        broken = np.minimum(usual + size / 2, 1 - 1e-9)
        newest = _newest(_evidence(hits, rows, usual, broken))
        if newest is None:
            return None
        span, part = newest, slice(*newest)
        k, n = int(hits[part].sum()), int(rows[part].sum())
        share = float(rows[part] @ mean[part]) / n
        if k / n - share <= size:
            break
        size = k / n - share
    since, until = span
    effect = rates.difference(k, n, round(share * every), every)
    own = msgspec.structs.replace(
        found,
        since=since,
        effect=effect.value,
        lo=effect.lo,
        hi=effect.hi,
        note=f"{100 * k / n:.3g} %{found.note[found.note.index(' %') + 2 :]}",
    )
    return Spell(since, until == len(counted), own)


def _codes(cells: Cells, base: NDArray[np.int64], test: str) -> tuple[int, ...]:
    if test == "unseen" and isinstance(cells, NumberCells):
        first = NumberCells.FIRST
        gaps = np.flatnonzero(base[first : first + cells.inner] == 0) + first
        return tuple(gaps.tolist())
    return cells.groups().get(test, ())


def _usual(cells: Cells, base: Profile, place: slice, codes: Sequence[int], every: int) -> float:
    """Rows of the reference with the defect; of levels those that were new to the others (Good 1953),
    which all of its rows, so `every`, tell.
    """
    once = cells.once if isinstance(cells, CategoryCells) else 0
    unseen = isinstance(cells, CategoryCells) and tuple(codes) == cells.groups()["unseen"]
    return once * base.rows / every if unseen else float(base.counts[place][list(codes)].sum())


def _evidence(
    hits: NDArray[np.float64],
    rows: NDArray[np.float64],
    usual: NDArray[np.float64],
    broken: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of each window the log likelihood ratio of the usual share to the broken one; -inf where the
    window shows by itself that its share is above the usual one.
    """
    rest = rows - hits
    ratio = hits * np.log(usual / broken) + rest * np.log((1 - usual) / (1 - broken))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / rows
        deviance = 2 * (
            np.where(hits > 0, hits * np.log(share / usual), 0.0)
            + np.where(rest > 0, rest * np.log((1 - share) / (1 - usual)), 0.0)
        )
    shown = (hits > rows * usual) & (deviance > _SHOWN)
    return np.where(shown, -np.inf, ratio)


def _newest(evidence: NDArray[np.float64]) -> tuple[int, int] | None:
    """The first window of the newest spell and the one after its last."""
    since, until, total = -1, len(evidence), 0.0
    for place in range(len(evidence) - 1, -1, -1):
        total = max(0.0, total + float(evidence[place]))
        if total == 0.0 and evidence[place] < 0:
            since = place
        elif total > _PAUSED:
            if since >= 0:
                break
            until, total = place, 0.0
    return (since, until) if since >= 0 else None
