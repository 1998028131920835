"""Tables in order of time whose meaning changes in a known way, to decide on training by replay.

The label of a row is drawn from a logistic model on four normal features; the change turns three of
the four weights.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

KINDS: Final = ("stationary", "sudden", "gradual", "recurring", "covariate")
STATIC: Final = ("stationary", "covariate")
"""Kinds in which nothing is gained by training again: the inputs mean the same throughout."""
_BEFORE: Final = np.array([1.5, -1.0, 0.5, 0.0])
_AFTER: Final = np.array([-1.0, 1.0, 0.5, 1.0])


def history(kind: str, seed: int, rows: int = 10_000) -> pl.DataFrame:
    """Columns x0 to x3 and y (0 or 1).

    The change comes at half of the rows (sudden), over two fifths of them (gradual), at every fifth
    to and fro (recurring), or moves the inputs alone (covariate).
    """
    noise = np.random.default_rng([seed, KINDS.index(kind)])
    x = noise.normal(size=(rows, 4))
    passed = np.arange(rows) / rows
    turned = _turned(kind, passed)[:, None]
    if kind == "covariate":
        x += 1.5 * (passed > 0.5)[:, None]
    score = (x * ((1 - turned) * _BEFORE + turned * _AFTER)).sum(axis=1)
    y = (noise.random(rows) < 1 / (1 + np.exp(-score))).astype(np.int64)
    return pl.DataFrame({**{f"x{place}": x[:, place] for place in range(4)}, "y": y})


def _turned(kind: str, passed: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind == "sudden":
        return (passed > 0.5).astype(np.float64)
    if kind == "gradual":
        return np.clip((passed - 0.35) / 0.4, 0.0, 1.0)
    if kind == "recurring":
        return ((passed * 5).astype(np.int64) % 2).astype(np.float64)
    return np.zeros(len(passed))
