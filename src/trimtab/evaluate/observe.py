"""What each row contributes to a metric that is a mean.

Each function returns (n,) floats, NaN where a row does not count.
Such metrics have exact or Student intervals, paired differences and sequential intervals. The
caller has made sure that truth and score are there where they are read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluate.estimate import Linear
from trimtab.evaluate.scored import Floats, Scored


def correct(scored: Scored) -> Floats:
    """1 where the decision is the truth."""
    return np.asarray(scored.decision == scored.known_truth, dtype=np.float64)


def selected(scored: Scored) -> Floats:
    """1 where the decision is positive; needs no truth."""
    return scored.decision.astype(np.float64)


def hit(scored: Scored) -> Floats:
    """Among true positives: 1 where the decision is positive (recall)."""
    return _among(_truth(scored) == 1, scored.decision)


def false_alarm(scored: Scored) -> Floats:
    """Among true negatives: 1 where the decision is positive."""
    return _among(_truth(scored) == 0, scored.decision)


def precise(scored: Scored) -> Floats:
    """Among positive decisions: 1 where the truth is positive."""
    return _among(scored.decision == 1, _truth(scored))


def log_loss(scored: Scored) -> Floats:
    """Minus the log of the probability given to the truth, in nats.

    Probabilities are kept a machine epsilon away from 0, so one sure mistake costs 36.
    """
    score, truth = _score(scored), _truth(scored)
    if scored.task == "multiclass":
        given = score[np.arange(scored.rows), truth.astype(np.intp)]
    else:
        given = np.where(truth == 1, score, 1 - score)
    return -np.log(np.clip(given, np.finfo(np.float64).eps, 1.0))


def brier(scored: Scored) -> Floats:
    """The squared distance of P(positive) from the truth (Brier, Monthly Weather Review 1950)."""
    return np.asarray((_score(scored) - _truth(scored)) ** 2)


def error(scored: Scored) -> Floats:
    """Prediction minus truth."""
    return _score(scored) - _truth(scored)


def absolute_error(scored: Scored) -> Floats:
    """The size of the error."""
    return np.abs(error(scored))


def squared_error(scored: Scored) -> Floats:
    """The error squared."""
    return np.asarray(error(scored) ** 2)


def linear(values: Floats) -> Linear:
    """The linear form of a mean over the rows that count; at least one row must."""
    counted = ~np.isnan(values)
    n = int(counted.sum())
    value = float(values[counted].mean())
    influence = np.where(counted, values - value, 0.0) * (len(values) / n)
    return Linear(value, influence, n)


def _among(counted: NDArray[np.bool_], values: NDArray[np.generic] | Floats) -> Floats:
    return np.where(counted, values.astype(np.float64), np.nan)


def _truth(scored: Scored) -> Floats:
    truth: Floats = scored.known_truth.astype(np.float64)
    return truth


def _score(scored: Scored) -> Floats:
    return scored.known_score.astype(np.float64, copy=False)
