"""What predicts without features: the label seen last, and the commonest label.

The no-change classifier is the one to beat where labels are autocorrelated (Bifet, Read, Zliobaite,
Pfahringer and Holmes, ECML PKDD 2013; Zliobaite, Bifet, Read, Pfahringer and Holmes, Machine
Learning 2015, who define kappa-temporal).
"""

from __future__ import annotations

import numpy as np

from trimtab.loop.replay import losses
from trimtab.loop.replay.history import History
from trimtab.loop.replay.losses import Floats
from trimtab.tune.learner import Answer

NO_CHANGE = "no-change"


def no_change(history: History) -> dict[str, Floats]:
    """Losses on the tested rows of repeating the last label that was known when a row came."""
    at = np.arange(history.tested, history.rows)
    last = np.maximum(history.known_at[at] - 1, 0)
    return losses.of(Answer(history.codes[last], None), history.codes[at], history.task)


def commonest(history: History) -> tuple[str, dict[str, Floats]]:
    """The name and losses of what the labels known so far have most: a class, or the median."""
    parts: list[dict[str, Floats]] = []
    for window in history.windows:
        rows = history.rows_of(window)
        known = history.codes[: max(history.seen[window], 1)]
        size = rows.stop - rows.start
        if history.task == "regression":
            answer = Answer(np.full(size, float(np.median(known))), None)
        else:
            counts = np.bincount(known, minlength=len(history.classes)) + 0.5
            share = np.tile(counts / counts.sum(), (size, 1))
            answer = Answer(share.argmax(axis=1), share)
        parts.append(losses.of(answer, history.codes[rows], history.task))
    name = "median" if history.task == "regression" else "majority"
    return name, {key: np.concatenate([one[key] for one in parts]) for key in parts[0]}


def kappa_temporal(error: float, no_change_error: float) -> float | None:
    """(p - p') / (1 - p') for accuracies p and p' of no change; None where p' is 1."""
    return None if no_change_error <= 0 else (no_change_error - error) / no_change_error
