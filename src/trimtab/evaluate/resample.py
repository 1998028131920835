"""The percentile bootstrap, for metrics that bring no formula of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import UndecidedError
from trimtab.evaluate.estimate import finite

REPLICATES: Final = 1000
_LOSS_ALLOWED: Final = 0.05


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    rows: int,
    level: float,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of `statistic(index)` over rows drawn with replacement.

    Seeded, so the same rows give the same interval (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13). Draws on which the statistic raises UndecidedError are left out;
    where they are more than one in twenty, raises UndecidedError.
    """
    random, values = np.random.default_rng(seed), []
    for _ in range(replicates):
        try:
            values.append(statistic(random.integers(0, rows, rows)))
        except UndecidedError:
            continue
    if len(values) < (1 - _LOSS_ALLOWED) * replicates:
        raise UndecidedError("too many resamples of these rows leave it undefined")
    tail = (1 - level) / 2
    lo, hi = np.quantile(values, [tail, 1 - tail])
    return finite(float(lo)), finite(float(hi))
