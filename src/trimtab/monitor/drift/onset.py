"""When a signal began: the run of newest windows that carries the most evidence for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.drift.case import Case, Signal
from trimtab.monitor.statistics.categories import comparable, with_rest
from trimtab.profile.cells import NumberCells
from trimtab.profile.distance import anderson_darling, pearson, pool

Floats = NDArray[np.float64]


def strongest_run(case: Case, signal: Signal) -> int:
    """The entry (newest blocks less one) at which the signal's statistic is largest.

    Each statistic grows with the rows that changed and is diluted by rows that did not, so its
    maximum over runs estimates the change point. As a two-sample statistic it grows with the harmonic
    mean of both samples, so that of a small reference short runs would be preferred: it is held
    against a reference as large as one likes, at whose maximum a window belongs to the change if it
    has half of it.
    """
    endless = 1 + case.rows / np.maximum(case.totals, 1)
    return int(np.nan_to_num(_evidence(case, signal) * endless).argmax())


def _evidence(case: Case, signal: Signal) -> Floats:
    """The signal's statistic of every sum."""
    if signal.codes:
        return _shares(case, signal)
    if isinstance(case.cells, NumberCells):
        ordered = case.cells.ordered
        windows, bases = case.windows[:, ordered], case.bases[:, ordered]
        return anderson_darling(windows, bases)
    codes = comparable(case.cells, case.windows[-1], case.reference)
    windows = with_rest(case.cells, case.windows, codes)
    bases = with_rest(case.cells, case.bases, codes)
    turn = _turn(windows[-1] + bases[-1], int(windows[0].sum()))
    return pearson(windows @ turn, bases @ turn)


def _shares(case: Case, signal: Signal) -> Floats:
    """The deviance of the signal's share from the reference's, of every sum.

    A standardised difference would not do: where the reference has no such row its variance is that of
    the window's own rows, and every window that is affected then says as much as all of them.
    """
    codes = list(signal.codes)
    hits, rows = case.windows[:, codes].sum(axis=1), case.rows
    base = np.minimum(case.bases[:, codes].sum(axis=1), case.totals)
    pooled = (hits + base) / np.maximum(rows + case.totals, 1)
    result: Floats = _apart(hits, rows, pooled) + _apart(base, case.totals, pooled)
    return result


def _apart(hits: NDArray[Any], rows: NDArray[Any], share: Floats) -> Floats:
    """Twice the log likelihood ratio of `hits` in `rows` at their own share and at another."""
    found = np.zeros(len(hits))
    for count, expected in ((hits, rows * share), (rows - hits, rows * (1 - share))):
        some = (count > 0) & (expected > 0)
        found[some] += 2 * count[some] * np.log(count[some] / expected[some])
    return found


def _turn(counts: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """The matrix that pools light levels at a window of `rows` rows."""
    groups = pool(counts.astype(np.float64) * (rows / max(counts.sum(), 1)), 5.0)
    return np.eye(int(groups.max()) + 1, dtype=np.int64)[groups]
