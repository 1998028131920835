"""What a profile says of a feature to somebody who looks: middle, ends, missing and a small picture.

The record alone; `shaping.py` makes it of counts.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One feature. Shares are of all rows that were counted.

    Numbers have `low`, `high` and `mean` of their finite values, `quantiles` (5, 25, 50, 75, 95 %) and
    `bars`: shares in even steps from `bars_from` to `bars_to`, which hold all but the outer 1 % at
    either end (those count in the end bars). Categories have about how many levels there were and
    the commonest of them. `unseen` are levels, or numbers beyond the ends, that the rows behind the
    bins did not have. None is what is not known.
    """

    name: str
    kind: Literal["number", "category"]
    rows: int
    missing: float
    unseen: float = 0.0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    quantiles: tuple[float, ...] = ()
    bars: tuple[float, ...] = ()
    bars_from: float | None = None
    bars_to: float | None = None
    distinct: float | None = None
    top: tuple[tuple[str, float], ...] = ()
