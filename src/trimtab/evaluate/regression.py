"""Root mean squared error and R2 as linear forms.

Both are smooth functions of means, so the delta method gives their influence (van der Vaart,
Asymptotic Statistics, 1998, chapter 3).
"""

from __future__ import annotations

import numpy as np

from trimtab.errors import UndecidedError
from trimtab.evaluate.estimate import Linear
from trimtab.evaluate.observe import squared_error
from trimtab.evaluate.scored import Scored


def rmse(scored: Scored) -> Linear:
    """The root of the mean squared error, in the target's unit."""
    squares = squared_error(scored)
    value = float(squares.mean() ** 0.5)
    influence = (squares - value**2) / (2 * value) if value else np.zeros_like(squares)
    return Linear(value, influence, len(squares))


def r2(scored: Scored) -> Linear:
    """1 - mean squared error / variance of the truth; raises UndecidedError for constant truth."""
    squares = squared_error(scored)
    spread = (scored.known_truth - scored.known_truth.mean()) ** 2
    variance = float(spread.mean())
    if not variance:
        raise UndecidedError("the truth is constant")
    rest = float(squares.mean()) / variance
    return Linear(1 - rest, -(squares - rest * spread) / variance, len(squares))
