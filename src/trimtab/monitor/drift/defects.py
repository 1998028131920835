"""Defects counted per row: missing, mistyped, infinite, out of range, unseen; and spikes."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor import budget
from trimtab.monitor.drift.case import ALONE, Case, Signal, stronger, sure
from trimtab.monitor.drift.windows import LEAST_ROWS
from trimtab.monitor.findings import Kind, Test, figure
from trimtab.monitor.log.traffic import SCORE
from trimtab.monitor.statistics import rates
from trimtab.monitor.statistics.categories import comparable
from trimtab.monitor.statistics.effect import Effect
from trimtab.monitor.statistics.overdispersion import corrected
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.scales import CONFIDENCE

_SPIKE_CELL: Final = 0.02
_OUTPUTS: Final = (SCORE, CONFIDENCE)
_CROWDED: Final = 0.03
"""The share of a model's answers, beyond the reference's, that is more than moved inputs bring about."""
_KINDS: Final[dict[str, Kind]] = {
    "outside": "data drift",
    "unseen": "skew",
}
_WORDS: Final = {
    "missing": "missing",
    "mistyped": "of the wrong type",
    "infinite": "infinite",
    "far": "far outside the training range",
    "outside": "outside the training range",
    "unseen": "never seen in training",
}


def broken(case: Case) -> list[Signal]:
    """The strongest scale of every defect whose share rose (or, for missing, fell)."""
    groups = _groups(case)
    level = case.alpha * budget.RATES / len(groups)
    found = []
    for name, codes in _concerned(case, groups):
        best: Signal | None = None
        for entry in case.scales:
            signal = _defect(case, name, codes, entry, level)
            if signal is not None:
                best = stronger(best, signal)
        if best is not None:
            found.append(best)
    return found


def surest_defect(case: Case) -> float:
    """The smallest p of the newest window's defects, corrected for their number."""
    groups = _groups(case)
    n = int(case.rows[0])
    best = 1.0
    for name, codes in _concerned(case, groups):
        k = int(case.windows[0][list(codes)].sum())
        hits, total = _expected(case, name, codes, 0)
        # fewer than a grant is no defect, and nor is it that fewer rows are broken
        rose = name == "missing" or k * total >= hits * n
        if total and rose and rates.far_from(k, n, hits, total):
            best = min(best, _p(case, name, k, n, hits, total, 0))
    return min(1.0, best * len(groups))


def spike(case: Case) -> Signal | None:
    """The cell whose share changed most, over all scales.

    An exact test of the most deviant cell, Bonferroni-corrected over the cells. A new concentration
    in a cell that was thin and is not a known single value looks like a default or a sentinel.
    """
    cells = case.cells
    valued = slice(0, cells.ordered.stop + isinstance(cells, CategoryCells))
    best: Signal | None = None
    for entry in case.scales:
        codes = _single_cells(case, entry)
        window, n = case.windows[entry][codes], int(case.windows[entry][valued].sum())
        reference, total = case.bases[entry][codes], round(case.bases[entry][valued].sum())
        if n < LEAST_ROWS or total == 0 or len(codes) == 0:
            continue
        pooled = (window + reference) / (n + total)
        noise = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n + 1 / total), 1e-300))
        most = int((np.abs(window / n - reference / total) / noise).argmax())
        code, k = int(codes[most]), int(window[most])
        base = case.base(entry, (code,))
        if not rates.far_from(k, n, base, total):
            continue
        effect = rates.difference(k, n, base, total)
        if sure(effect) <= case.margins.share:  # known at once, an exact p is not
            continue
        p = corrected(rates.two_sided(k, n, base, total), case.at(case.single, entry), case.chunks)
        p = min(1.0, len(window) * p)
        if p >= case.alpha * budget.SPIKE:
            continue
        note = f"{cells.label(code)} holds {_percent(k / n)}, was {_percent(base / total)}"
        kind = _spike_kind(case, code, effect)
        best = stronger(
            best, Signal(cells.name, "spike", kind, p, effect, "share", note, entry, (code,))
        )
    return best


def _single_cells(case: Case, entry: int) -> NDArray[np.int64]:
    """The codes whose shares are compared one by one: those that other tests do not count."""
    cells = case.cells
    if isinstance(cells, CategoryCells):
        return comparable(cells, case.windows[entry], case.reference)
    first = NumberCells.FIRST
    return np.flatnonzero(case.reference[first : first + cells.inner]) + first


def _spike_kind(case: Case, code: int, effect: Effect) -> Kind:
    cells = case.cells
    if isinstance(cells, CategoryCells):
        return "data drift"
    if cells.name in _OUTPUTS and sure(effect) <= _CROWDED:
        return "data drift"  # answers crowd somewhere whenever inputs move
    cell = code - NumberCells.FIRST
    known = cell in cells.atoms
    thin = case.reference[code] < _SPIKE_CELL * case.reference[cells.ordered].sum()
    return "broken input" if thin and not known else "data drift"


def _groups(case: Case) -> dict[str, tuple[int, ...]]:
    """The codes of each defect; unseen are the cells that the whole reference left empty."""
    cells = case.cells
    groups = cells.groups()
    if isinstance(cells, NumberCells):
        first = NumberCells.FIRST
        gaps = np.flatnonzero(case.reference[first : first + cells.inner] == 0) + first
        groups["unseen"] = tuple(gaps.tolist())
    return groups


def _concerned(case: Case, groups: dict[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    """The defects that any row has: that there are fewer is news of missing values alone."""
    there = set(np.flatnonzero(case.windows.any(axis=0)).tolist())
    return [
        (name, codes)
        for name, codes in groups.items()
        if not there.isdisjoint(codes)
        or (name == "missing" and bool(case.bases[:, list(codes)].any()))
    ]


def _expected(case: Case, name: str, codes: tuple[int, ...], entry: int) -> tuple[int, int]:
    """Hits and rows of the reference to compare a defect with."""
    if name != "unseen":
        return case.base(entry, codes), round(case.totals[entry])
    if isinstance(case.cells, CategoryCells):
        hits, total = _unseen_levels(case.cells, case.total)
        own, rows = case.base(entry, codes), round(case.totals[entry])
        # bins that older rows made: levels that are new to those may be ordinary to the reference
        return (own, rows) if own * total > hits * rows else (hits, total)
    # each gap may have been missed by a hair: one row each is granted to the reference
    return len(codes), case.total


def _unseen_levels(cells: CategoryCells, total: int) -> tuple[int, int]:
    """Hits and rows that stand for the reference's own rate of new levels.

    A row of the reference was new to the others if its level was seen once, so once/rows estimates
    the unseen mass (Good 1953); its variance is (once + 2 twice)/rows^2, which is granted by
    shrinking the sample.
    """
    if cells.once == 0:
        return 0, total
    shrink = cells.once / (cells.once + 2 * cells.twice)
    return max(1, round(cells.once * shrink)), max(1, round(total * shrink))


def _defect(
    case: Case,
    name: str,
    codes: tuple[int, ...],
    entry: int,
    level: float,
) -> Signal | None:
    n = int(case.rows[entry])
    hits, total = _expected(case, name, codes, entry)
    k = int(case.windows[entry][list(codes)].sum())
    fell = name == "missing" and k * total < hits * n
    if total == 0 or not rates.far_from(k, n, hits, total) or (k * total < hits * n and not fell):
        return None
    effect = rates.difference(k, n, hits, total)
    if sure(effect) <= case.margins.rate:
        return None
    p = _p(case, name, k, n, hits, total, entry)
    if p >= level:
        return None
    kind = "data drift" if fell else _KINDS.get(name, "broken input")
    test: Test = name  # type: ignore[assignment]
    note = f"{_percent(k / n)} {_words(case, name)}, was {_percent(_before(case, codes, entry))}"
    return Signal(case.cells.name, test, kind, p, effect, "share", note, entry, codes)


def _p(case: Case, name: str, k: int, n: int, hits: int, total: int, entry: int) -> float:
    spread = (case.rates or {}).get(name, ALONE)
    return corrected(rates.two_sided(k, n, hits, total), case.at(spread, entry), case.chunks)


def _words(case: Case, name: str) -> str:
    cells = case.cells
    if name in {"far", "outside"} and isinstance(cells, NumberCells):
        if cells.inner == 0:
            return "present where training had no value"
        return f"{_WORDS[name]} {figure(cells.low)} to {figure(cells.high)}"
    return _WORDS[name]


def _before(case: Case, codes: tuple[int, ...], entry: int) -> float:
    return float(case.bases[entry][list(codes)].sum()) / max(float(case.totals[entry]), 1.0)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if math.isfinite(share) else "?"
