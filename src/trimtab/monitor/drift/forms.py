"""The form of a change over windows: sudden, gradual, or recurring.

Every window is measured along the direction of the change: 0 where it is as the reference, 1 where it
is as the windows that gave the alarm. A step and a ramp are fitted to this course by weighted least
squares; an earlier stretch that had the same direction and ended makes it recurring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.profile.cells import Cells, NumberCells
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference

Floats = NDArray[np.float64]
Form = Literal["", "sudden", "gradual", "recurring"]

_RUNS: Final = 12
_HIGH: Final = 0.5
_LOW: Final = 0.25
_SURE: Final = 4.0
_GAIN: Final = 10.0
_LEAST_RAMP: Final = 3
_SWITCH: Final = 8.0
"""So many weighted squares must speak for every turn from ordinary to changed windows, and back."""
_ROUNDS: Final = 5


class Course(NamedTuple):
    """How far each window lies along a change, its variance, and the change's direction.

    `share` is the least share of rows that must have moved (total variation over a dozen groups).
    `sign` tells one direction from another: 1 up and -1 down for numbers, the number of the group
    that gained most for categories. `floors` is the variance of a window of the change's own shares:
    one in which none of a rare value came is not sure of it.
    """

    values: Floats
    variances: Floats
    sign: int = 0
    share: float = 0.0
    floors: Floats | None = None


class Shape(NamedTuple):
    """A form, the window it began in, whether it lasts in the newest one, and the earlier episode
    (first and last window) that it repeats.
    """

    form: Form
    since: int
    lasts: bool
    before: tuple[int, int] | None = None


def course(
    reference: Reference,
    windows: Sequence[Profile],
    feature: str,
    since: int,
    seasons: Sequence[int | None] = (),
) -> Course | None:
    """The course of a feature's distribution; None where windows from `since` on hold no row.

    Each window lies along the change from the reference in its own season, where `seasons` tell it.
    """
    cells = reference.bins.feature(feature)
    span = reference.bins.spans()[feature]
    counts = np.array([one.counts[span] for one in windows], dtype=np.float64)
    group = _groups(cells, reference.profile.counts[span].astype(np.float64))
    size = int(group.max()) + 1
    counts = np.array([np.bincount(group, one, size) for one in counts])
    held = held_against(reference, seasons, len(windows))
    each = {id(one): one.counts[span] for one in held}
    grouped = {key: np.bincount(group, one, size) for key, one in each.items()}
    base = np.array([grouped[id(one)] for one in held], dtype=np.float64)
    rows = counts.sum(axis=1)
    late = counts[since:].sum(axis=0)
    if late.sum() <= 0 or not base.sum(axis=1).all():
        return None
    share, after = base / base.sum(axis=1)[:, None], late / late.sum()
    usual = rows[since:] @ share[since:] / rows[since:].sum()
    change, mass = after - usual, (after + usual) / 2
    lean = np.divide(change, mass, out=np.zeros(size), where=mass > 0)
    whole = float(lean @ change)
    if whole <= 0:
        return None
    now = counts / np.maximum(rows, 1.0)[:, None]
    values = (now - share) @ lean / whole
    spread = (now @ lean**2 - (now @ lean) ** 2) / np.maximum(rows, 1.0)
    noise = np.maximum(spread, 1e-12) / whole**2
    noise[rows == 0] = np.inf
    floors = float(after @ lean**2 - (after @ lean) ** 2) / np.maximum(rows, 1.0) / whole**2
    return Course(values, noise, _sign(cells, change), float(np.abs(change).sum()) / 2, floors)


def held_against(
    reference: Reference, seasons: Sequence[int | None], windows: int
) -> list[Profile]:
    """What each of so many windows is held against: the reference's rows of its season, or all."""
    parts = reference.seasons
    if parts is None or not seasons:
        return [reference.profile] * windows
    known = {key: one for key, one in zip(parts.keys, parts.profiles, strict=True) if one.rows}
    return [reference.profile if key is None else known.get(key, reference.profile)
            for key in seasons]  # fmt: skip


def shape(found: Course) -> Shape:
    """The form of a course whose newest stretch is the change that was found."""
    there = affected(found)
    lasts = bool(there[-1])
    if not there.any():
        lasts = bool(found.values[-1] > _LOW or found.values[-1] > 2 * found.variances[-1] ** 0.5)
    if not lasts:  # what is over is told by its own stretch, and does not repeat itself
        found = _until_over(found, there)
    values, weight = found.values, 1 / found.variances
    start = _begin(values, found.variances)
    before = _earlier(found, start)
    if before is not None:
        return Shape("recurring", start, lasts, before)
    first = max(0, start - 8)
    # a stretch in the opposite direction is another change: no part of this one
    values = np.where(values < -_LOW, 0.0, values)
    step, at = _step(values[first:], weight[first:])
    ramp, rise, length = _ramp(values[first:], weight[first:])
    scale = max(1.0, min(step, ramp) / max(len(values) - first - 3, 1))
    if length >= _LEAST_RAMP and (step - ramp) / scale > _GAIN:
        return Shape("gradual", first + rise, lasts)
    return Shape("sudden", first + at, lasts)


def affected(found: Course) -> NDArray[np.bool_]:
    """Which windows are in the change: the likeliest course of two states, with a price on each turn."""
    return _states(found)[0]


def _states(found: Course) -> tuple[NDArray[np.bool_], Floats]:
    """Which windows are in the change, and the weighted squares that speak for it in each.

    The change's level is not known where windows from before or after it were counted in: it is the
    mean of the windows that are in it, found together with them.
    """
    variances = (
        found.variances if found.floors is None else np.maximum(found.variances, found.floors)
    )
    high = _high(found)
    level = _level(found.values, variances, high) if high.any() else 1.0
    there = np.zeros(len(found.values), dtype=np.bool_)
    gain = np.zeros(len(found.values))
    for _ in range(_ROUNDS):
        gain = (2 * level * found.values - level**2) / variances
        before, there = there, _path(gain)
        if not there.any() or (there == before).all():
            break
        level = _level(found.values, variances, there)
    return there, gain


def _level(values: Floats, variances: Floats, there: NDArray[np.bool_]) -> float:
    weight = there / variances
    return float(values @ weight / weight.sum()) if weight.sum() else 1.0


def _path(gain: Floats) -> NDArray[np.bool_]:
    """The states with the most gain, in which each turn costs; the first window is ordinary for free."""
    out, within = 0.0, -_SWITCH
    turns = np.zeros((len(gain), 2), dtype=np.bool_)
    for place, one in enumerate(gain.tolist()):
        turns[place] = within - _SWITCH > out, out - _SWITCH > within
        out, within = max(out, within - _SWITCH), max(within, out - _SWITCH) + one
    state, there = within > out, np.zeros(len(gain), dtype=np.bool_)
    for place in range(len(gain) - 1, -1, -1):
        there[place] = state
        state = state != turns[place, int(state)]
    return there


def _until_over(found: Course, there: NDArray[np.bool_]) -> Course:
    """The course up to its last window that was in the change; all of it where none was."""
    last = np.flatnonzero(there)
    end = int(last[-1]) + 1 if last.size else len(found.values)
    floors = None if found.floors is None else found.floors[:end]
    return found._replace(values=found.values[:end], variances=found.variances[:end], floors=floors)


def _high(found: Course) -> NDArray[np.bool_]:
    high: NDArray[np.bool_] = (found.values > _HIGH) & (found.values / found.variances**0.5 > _SURE)
    return high


def _begin(values: Floats, variances: Floats) -> int:
    """The first window of the newest stretch: back from the highest of the last ones."""
    start = len(values) - 1
    quiet = 0
    for place in range(len(values) - 1, -1, -1):
        if values[place] > _LOW:
            start, quiet = place, 0
        else:
            quiet += 1
            if quiet >= 2:
                break
    return start


def _earlier(found: Course, start: int) -> tuple[int, int] | None:
    """The first and last window of the newest earlier stretch that was in the change, and then over:
    for more than the best of so many ordinary windows could be by chance.
    """
    there, gain = _states(found)
    end = start
    while (past := np.flatnonzero(there[:end])).size:
        first = last = int(past[-1])
        while first > 0 and there[first - 1]:
            first -= 1
        sure = gain[first : last + 1].sum() > 2 * _SWITCH + 2 * np.log(start)
        if sure and (found.values[last + 1 : start] < _LOW).any():
            return first, last
        end = first
    return None


def _step(values: Floats, weight: Floats) -> tuple[float, int]:
    """The least squares of 0 before a window and a level from it on, and that window."""
    place = np.arange(len(values))
    left = _left(values, weight, (place >= place[:, None]).astype(np.float64))
    at = len(values) - 1 - int(left[::-1].argmin())  # of equal ones the latest
    return float(left[at]), at


def _ramp(values: Floats, weight: Floats) -> tuple[float, int, int]:
    """The least squares of 0, a rise over some windows, and a level; where it begins, how long."""
    best = (float("inf"), 0, 0)
    place = np.arange(len(values))
    for at in range(len(values)):
        lengths = np.arange(_LEAST_RAMP, len(values) - at + 1)
        if not lengths.size:
            break
        left = _left(values, weight, np.clip((place - at + 1) / lengths[:, None], 0.0, 1.0))
        short = int(left.argmin())
        best = min(best, (float(left[short]), at, _LEAST_RAMP + short))
    return best


def _left(values: Floats, weight: Floats, form: Floats) -> Floats:
    """The weighted squares that a level times each row of `form` leaves."""
    mass = (weight * form**2).sum(axis=1)
    lean = (weight * form * values).sum(axis=1)
    level = np.divide(lean, mass, out=np.zeros(len(form)), where=mass > 0)
    left: Floats = (weight * (values - level[:, None] * form) ** 2).sum(axis=1)
    return left


def _groups(cells: Cells, base: Floats) -> NDArray[np.int64]:
    """Codes in a dozen groups of about equal mass, and those beyond the ordered ones apart."""
    end = cells.ordered.stop
    ordered = base[:end]
    if isinstance(cells, NumberCells):
        middle = (np.cumsum(ordered) - ordered / 2) / max(float(ordered.sum()), 1.0)
        runs = np.minimum((middle * _RUNS).astype(np.int64), _RUNS - 1)
    else:
        runs = np.minimum(np.arange(end), _RUNS)
    last = int(runs.max()) + 1 if end else 0
    return np.concatenate([runs, last + np.arange(len(base) - end)])


def _sign(cells: Cells, change: Floats) -> int:
    if isinstance(cells, NumberCells):
        rank = np.arange(len(change)) - (len(change) - 1) / 2
        return 1 if float(rank @ change) >= 0 else -1
    return 1 + int(change.argmax())
