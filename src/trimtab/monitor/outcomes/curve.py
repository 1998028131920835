"""From a score to a probability: isotonic regression on every withheld row, plain or weighted.

The same curve as scikit-learn's IsotonicRegression with `out_of_bounds="clip"` (Ayer et al. 1955),
kept as the ends of its level parts, so that estimates equal NannyML's to rounding.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.monitor.outcomes.calibration import checked, isotonic

Floats = NDArray[np.float64]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Linear between the points (`scores[i]`, `chances[i]`), flat beyond them."""

    scores: tuple[float, ...]
    chances: tuple[float, ...]


def fit(scores: NDArray[Any], events: NDArray[Any], weights: NDArray[Any] | None = None) -> Curve:
    """The non-decreasing curve nearest to 0/1 `events` in weighted least squares.

    Rows of weight 0 do not count. Raises DataError where no row is left or rows do not pair up.
    """
    score, event = checked(scores, events)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    score, event, weight = (part[weight > 0] for part in (score, event, weight))
    if len(score) == 0:
        raise DataError("there is no withheld row to calibrate on")
    at, place = np.unique(score, return_inverse=True)
    mass = np.bincount(place, weight).astype(np.float64)
    level = isotonic(np.bincount(place, weight * event) / mass, mass)
    if len(level) == 1:
        return Curve(scores=(float(at[0]),), chances=(float(level[0]),))
    step = level[1:] != level[:-1]
    kept = np.concatenate([[True], step]) | np.concatenate([step, [True]])
    return Curve(scores=tuple(at[kept].tolist()), chances=tuple(level[kept].tolist()))


def chance(curve: Curve, scores: NDArray[Any]) -> Floats:
    """The event's probability at each score."""
    result: Floats = np.interp(scores, curve.scores, curve.chances)
    return result


def of_classes(curves: tuple[Curve, ...], scores: NDArray[Any]) -> Floats:
    """Class probabilities (n, k): each class by its own curve, then made to sum to 1.

    Rows in which every class has probability 0 get equal ones, as in NannyML.
    """
    found = np.column_stack([chance(curve, scores[:, c]) for c, curve in enumerate(curves)])
    total = found.sum(axis=1, keepdims=True)
    equal = np.full_like(found, 1 / found.shape[1])
    result: Floats = np.divide(found, total, out=equal, where=total > 0)
    return result
