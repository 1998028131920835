"""Which of many p-values are discoveries, when a share of false ones among them is accepted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def discoveries(p: Sequence[float], rate: float = 0.05) -> list[int]:
    """The places of the p-values that Benjamini and Hochberg (1995) reject, smallest first.

    The expected share of false ones among them is at most `rate` for independent tests and for
    those that depend positively (Benjamini and Yekutieli 2001), as features of the same rows do.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    passed = np.flatnonzero(values[order] <= rate * np.arange(1, len(values) + 1) / len(values))
    return order[: int(passed[-1]) + 1].tolist() if passed.size else []
