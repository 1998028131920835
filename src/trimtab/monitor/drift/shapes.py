"""Whether a feature's distribution moved: Anderson-Darling for numbers, chi-square for levels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.drift.case import Case, Signal, stronger
from trimtab.monitor.drift.windows import LEAST_ROWS
from trimtab.monitor.findings import figure
from trimtab.monitor.statistics import anderson
from trimtab.monitor.statistics.categories import chi_square, comparable, grouped, with_rest
from trimtab.monitor.statistics.effect import Effect, Grid, grid, total_variation, wasserstein
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.distance import anderson_darling

Counts = NDArray[Any]

_OUTER: Final = NumberCells.FIRST
"""Codes on either side of the reference's range."""
_TOLD: Final = 0.001


def numbers_moved(case: Case, cells: NumberCells) -> Signal | None:
    """The strongest scale at which a numeric feature's values moved by more than the margin."""
    windows, bases = case.windows[:, cells.ordered], case.bases[:, cells.ordered]
    best: Signal | None = None
    statistics = anderson_darling(windows[list(case.merges)], bases[list(case.merges)])
    for entry, a2 in zip(case.merges, statistics.tolist(), strict=True):
        if windows[entry].sum() < LEAST_ROWS:
            continue
        phi = case.at(case.shape, entry)
        # of any number of chunks p is larger still, by Jensen's inequality, and takes long to tell
        if anderson.p_value(a2 / phi, law=case.law) >= case.shape_alpha:
            continue
        p = anderson.p_value(a2, phi, case.chunks, case.law)
        if p >= case.shape_alpha:
            continue
        line = grid(cells, case.reference[cells.ordered])
        if line is None:
            break
        effect = wasserstein(line, windows[entry], bases[entry])
        if effect.lo <= case.margins.shift:
            continue
        note = _moved(line, windows[entry], bases[entry], effect)
        signal = Signal(cells.name, "anderson_darling", "data drift", p, effect, "sd", note, entry)
        best = stronger(best, signal)
    return best


def rest_moved(case: Case, cells: NumberCells, entry: int, without: tuple[int, ...]) -> bool:
    """Whether the values outside the cells `without` moved too (at the 0.1 % level)."""
    keep = np.ones(cells.size, dtype=np.bool_)
    keep[list(without)] = False
    keep[cells.ordered.stop :] = False
    window, reference = case.windows[entry][keep], case.bases[entry][keep]
    if window.sum() < LEAST_ROWS:
        return False
    a2 = float(anderson_darling(window, reference)[0])
    return anderson.p_value(a2, case.at(case.shape, entry), case.chunks, case.law) < 1e-3


def levels_moved(case: Case, cells: CategoryCells) -> Signal | None:
    """The strongest scale at which a category's level shares moved by more than the margin."""
    best: Signal | None = None
    for entry in case.merges:
        codes = comparable(cells, case.windows[entry], case.reference)
        window = with_rest(cells, case.windows[entry], codes)
        reference = with_rest(cells, case.bases[entry], codes)
        if window.sum() < LEAST_ROWS:
            continue
        test = chi_square(window, reference, case.at(case.shape, entry), case.chunks)
        if test.p >= case.shape_alpha:
            continue
        effect = total_variation(*grouped(window, reference))
        if effect.lo <= case.margins.share:
            continue
        note = _swapped(cells, codes, case.windows[entry], case.bases[entry])
        signal = Signal(
            cells.name, "chi_square", "data drift", test.p, effect, "share", note, entry
        )
        best = stronger(best, signal)
    return best


def known_levels_moved(case: Case, cells: CategoryCells, entry: int) -> bool:
    """Whether levels known from training moved among themselves (at the 0.1 % level)."""
    codes = comparable(cells, case.windows[entry], case.reference)
    window, reference = case.windows[entry][codes], case.bases[entry][codes]
    return chi_square(window, reference, case.at(case.shape, entry), case.chunks).p < 1e-3


def _moved(line: Grid, window: Counts, reference: Counts, effect: Effect) -> str:
    """How a numeric feature moved, in its own unit."""
    f, g = window / window.sum(), reference / reference.sum()
    middle = line.middle * line.scale
    now, was = float(f @ middle), float(g @ middle)
    away = np.abs(middle - line.centre * line.scale)
    width_now, width_was = float(f @ away), float(g @ away)
    if abs(now - was) >= abs(width_now - width_was):
        word = "higher" if now > was else "lower"
        return f"{figure(effect.value, 2)} sd {word}: mean {figure(now)}, was {figure(was)}{_outside(f)}"
    word = "wider" if width_now > width_was else "narrower"
    return (
        f"{figure(effect.value, 2)} sd {word}: mean distance from the median {figure(width_now, 3)}, "
        f"was {figure(width_was, 3)}{_outside(f)}"
    )


def _outside(share: NDArray[Any]) -> str:
    """What a mean does not see: values beyond the reference's range count as its ends."""
    outside = float(share[:_OUTER].sum() + share[-_OUTER:].sum())
    if outside < _TOLD:
        return ""
    return f", {_percent(outside)} of values cut to the reference's range"


def _swapped(cells: CategoryCells, codes: Counts, window: Counts, reference: Counts) -> str:
    """The level whose share changed most; of those that are too rare to compare one by one also, where
    it makes up most of what they changed by together.
    """
    known = len(cells.levels)
    shares = [counts[: known + 2] / counts[: known + 2].sum() for counts in (window, reference)]
    change = np.abs(shares[0] - shares[1])
    rare = np.ones(known + 2, dtype=np.bool_)
    rare[codes] = False
    rest = [float(share[rare].sum()) for share in shares]
    moved = abs(rest[0] - rest[1])
    most = int(np.where(rare, -1.0, change).argmax())
    if not len(codes) or moved > change[most]:
        most = int(np.where(rare, change, -1.0).argmax())
        if 2 * change[most] <= moved:
            return f"other levels {_percent(rest[0])}, was {_percent(rest[1])}"
    return f"{cells.label(most)} {_percent(shares[0][most])}, was {_percent(shares[1][most])}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
