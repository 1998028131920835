"""Whether a feature's distribution moved: Anderson-Darling for numbers, chi-square for levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor import anderson, budget
from trimtab.monitor.case import Case, Signal, stronger
from trimtab.monitor.categories import chi_square, comparable, grouped, with_rest
from trimtab.monitor.effect import Effect, Grid, grid, total_variation, wasserstein
from trimtab.monitor.findings import Measure
from trimtab.monitor.windows import LEAST_ROWS
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.distance import anderson_darling

Counts = NDArray[Any]


def numbers_moved(case: Case, cells: NumberCells) -> Signal | None:
    """The strongest scale at which a numeric feature's values moved by more than the margin."""
    windows, reference = case.windows[:, cells.ordered], case.reference[cells.ordered]
    line = grid(cells, reference)
    best: Signal | None = None
    statistics = anderson_darling(windows[list(case.scales)], reference)
    for entry, a2 in zip(case.scales, statistics.tolist(), strict=True):
        if windows[entry].sum() < LEAST_ROWS or line is None:
            continue
        p = anderson.p_value(a2, case.at(case.shape, entry), case.chunks)
        if p >= case.alpha * budget.SHAPE:
            continue
        effect = wasserstein(line, windows[entry], reference)
        if effect.lo <= case.margins.shift:
            continue
        note = _moved(line, windows[entry], reference, effect)
        signal = Signal(cells.name, "anderson_darling", "data drift", p, effect, "sd", note, entry)
        best = stronger(best, signal)
    return best


def rest_moved(case: Case, cells: NumberCells, entry: int, without: tuple[int, ...]) -> bool:
    """Whether the values outside the cells `without` moved too (at the 0.1 % level)."""
    keep = np.ones(cells.size, dtype=np.bool_)
    keep[list(without)] = False
    keep[cells.ordered.stop :] = False
    window, reference = case.windows[entry][keep], case.reference[keep]
    if window.sum() < LEAST_ROWS:
        return False
    a2 = float(anderson_darling(window, reference)[0])
    return anderson.p_value(a2, case.at(case.shape, entry), case.chunks) < 1e-3


def levels_moved(case: Case, cells: CategoryCells) -> Signal | None:
    """The strongest scale at which a category's level shares moved by more than the margin."""
    best: Signal | None = None
    for entry in case.scales:
        codes = comparable(cells, case.windows[entry], case.reference)
        window = with_rest(cells, case.windows[entry], codes)
        reference = with_rest(cells, case.reference, codes)
        if window.sum() < LEAST_ROWS:
            continue
        test = chi_square(window, reference, case.at(case.shape, entry), case.chunks)
        if test.p >= case.alpha * budget.SHAPE:
            continue
        effect = total_variation(*grouped(window, reference))
        if effect.lo <= case.margins.share:
            continue
        note = _swapped(cells, codes, window, reference)
        signal = Signal(
            cells.name, "chi_square", "data drift", test.p, effect, "share", note, entry
        )
        best = stronger(best, signal)
    return best


def known_levels_moved(case: Case, cells: CategoryCells, entry: int) -> bool:
    """Whether levels known from training moved among themselves (at the 0.1 % level)."""
    codes = comparable(cells, case.windows[entry], case.reference)
    window, reference = case.windows[entry][codes], case.reference[codes]
    return chi_square(window, reference, case.at(case.shape, entry), case.chunks).p < 1e-3


def measure(case: Case) -> Measure:
    """The newest window's distance from the reference, whether it alarms or not."""
    cells = case.cells
    if isinstance(cells, NumberCells):
        window, reference = case.windows[0][cells.ordered], case.reference[cells.ordered]
        a2 = float(anderson_darling(window, reference)[0])
        line = grid(cells, reference)
        effect = wasserstein(line, window, reference) if line else Effect(0.0, 0.0, 0.0)
        return Measure(
            feature=cells.name,
            statistic="anderson_darling",
            value=0.0 if np.isnan(a2) else a2,
            p=anderson.p_value(a2, case.at(case.shape, 0), case.chunks),
            effect=effect.value,
            lo=effect.lo,
            hi=effect.hi,
            unit="sd",
        )
    codes = comparable(cells, case.windows[0], case.reference)
    window, reference = (with_rest(cells, x, codes) for x in (case.windows[0], case.reference))
    test = chi_square(window, reference, case.at(case.shape, 0), case.chunks)
    effect = total_variation(*grouped(window, reference))
    return Measure(
        feature=cells.name,
        statistic="chi_square",
        value=test.statistic,
        p=test.p,
        effect=effect.value,
        lo=effect.lo,
        hi=effect.hi,
        unit="share",
    )


def _moved(line: Grid, window: Counts, reference: Counts, effect: Effect) -> str:
    """How a numeric feature moved, in its own unit."""
    f, g = window / window.sum(), reference / reference.sum()
    middle = line.middle * line.scale
    now, was = float(f @ middle), float(g @ middle)
    away = np.abs(middle - line.centre * line.scale)
    width_now, width_was = float(f @ away), float(g @ away)
    if abs(now - was) >= abs(width_now - width_was):
        word = "higher" if now > was else "lower"
        return f"{effect.value:.2g} sd {word}: mean {now:.4g}, was {was:.4g}"
    word = "wider" if width_now > width_was else "narrower"
    return (
        f"{effect.value:.2g} sd {word}: mean distance from the median {width_now:.3g}, "
        f"was {width_was:.3g}"
    )


def _swapped(cells: CategoryCells, codes: Counts, window: Counts, reference: Counts) -> str:
    """The level whose share changed most."""
    f, g = window / window.sum(), reference / reference.sum()
    most = int(np.abs(f - g).argmax())
    name = cells.label(int(codes[most])) if most < len(codes) else "other levels"
    return f"{name} {_percent(f[most])}, was {_percent(g[most])}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
