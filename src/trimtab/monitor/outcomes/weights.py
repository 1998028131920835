"""How much likelier today's rows are than withheld ones: weights that make the old stand for the new.

The log of the density ratio is a sum of one step function per feature, fitted by ridge logistic
regression one feature at a time (backfitting; Hastie and Tibshirani 1986) on group numbers. Weights
help only where both samples overlap: Kish's effective sample size says whether they do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = NDArray[np.uint8]

LEAST_EFFECTIVE: Final = 0.1
"""Weights are used where (sum w)^2 / sum w^2 is at least this share of the withheld rows, or"""
ENOUGH_ROWS: Final = 1_000
"""so many of them, which is 50 for each cell of a calibration, however many more were withheld."""
_SWEEPS: Final = 12
_RIDGE: Final = 1.0
_RIDGE_ROWS: Final = 5_000.0
_CLIP: Final = 10.0


def weights(old: Groups, new: Groups) -> Floats:
    """A weight for each row of `old` (n, d): the density of `new` (m, d) there over its own.

    They average to about 1. Both need rows.
    """
    rows = np.concatenate([old, new])
    is_new = np.concatenate([np.zeros(len(old)), np.ones(len(new))])
    ridge = _RIDGE + _RIDGE_ROWS / len(new)
    prior = np.log(len(new) / len(old))
    lean = np.full(len(rows), prior)
    steps = [np.zeros(int(rows[:, j].max(initial=0)) + 1) for j in range(rows.shape[1])]
    for _ in range(_SWEEPS):
        largest = 0.0
        for j, step in enumerate(steps):
            group = rows[:, j]
            chance = 1 / (1 + np.exp(-lean))
            pull = np.bincount(group, is_new - chance, len(step)) - ridge * step
            stiff = np.bincount(group, chance * (1 - chance), len(step)) + ridge
            move = np.clip(pull / stiff, -1.0, 1.0)
            step += move
            lean += move[group]
            largest = max(largest, float(np.abs(move).max()))
        if largest < 1e-3:
            break
    found: Floats = np.exp(np.clip(lean[: len(old)] - prior, -_CLIP, _CLIP))
    return found


def effective(weight: Floats) -> float:
    """Kish's effective sample size as a share of the rows; 0 where there are none."""
    square = float(weight @ weight)
    return float(weight.sum()) ** 2 / square / len(weight) if square > 0 else 0.0


def unsupported(old: Groups, new: Groups) -> float:
    """The share of new rows that have a feature in a group which no old row has."""
    if not len(new):
        return 0.0
    strange = np.zeros(len(new), dtype=np.bool_)
    for j in range(new.shape[1]):
        known = np.bincount(old[:, j], minlength=256) > 0
        strange |= ~known[new[:, j]]
    return float(strange.mean())


def by_chance(old: Groups, new: Groups) -> float:
    """The share of new rows, at most in a thousand windows but a few, that lie beyond what old rows show
    although nothing moved: of each feature 2 / (n + 1) lie outside of the range of n rows.
    """
    each = 2 * old.shape[1] / (len(old) + 1)
    return float(each + 3 * (each / (len(old) + 1) + each / max(len(new), 1)) ** 0.5)


def imbalance(old: Groups, new: Groups, weight: Floats) -> float:
    """The largest distance (total variation) that is left between a feature's weighted old groups
    and its new ones.
    """
    worst = 0.0
    for j in range(new.shape[1]):
        before = np.bincount(old[:, j], weight, 256) / weight.sum()
        after = np.bincount(new[:, j], minlength=256) / len(new)
        worst = max(worst, float(np.abs(before - after).sum()) / 2)
    return worst
