"""Losses of rows: what an answer costs where the truth is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.tune.candidate import Task
from trimtab.tune.learner import Answer

Floats = NDArray[np.float64]
SURE: Final = 1e-6
"""A chance is kept so far from 0: one sure mistake costs 13.8, so that none decides a replay."""
KNOWN: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("log_loss", "error"),
    "multiclass": ("log_loss", "error"),
    "regression": ("absolute_error", "squared_error"),
}


def of(answer: Answer, truth: NDArray[Any], task: Task) -> dict[str, Floats]:
    """The losses of each row by name; no log loss where the estimator gives no chances."""
    if task == "regression":
        off = np.abs(answer.decision - truth)
        return {"absolute_error": off, "squared_error": off * off}
    wrong = {"error": (answer.decision != truth).astype(np.float64)}
    if answer.chance is None:
        return wrong
    given = answer.chance[np.arange(len(truth)), truth]
    return {"log_loss": -np.log(np.clip(given, SURE, 1.0)), **wrong}
