"""Where errors rose: the slices whose excess stands out, among those that requirements group by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.log import traffic
from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]

_LEAST: Final = 30
_MOST: Final = 50
_ALPHA: Final = 0.01


def slices(
    columns: Mapping[str, NDArray[Any]], outcome: Floats, chance: Floats, margin: float
) -> tuple[str, ...]:
    """The slices (`column=value`) in which outcomes exceed their chances by more than `margin`, worst
    first; nothing where that is every slice, so that the change is everywhere.

    Intervals are at 99 % for all slices together (Bonferroni); slices under 30 rows are not judged.
    """
    parts: list[tuple[str, NDArray[np.bool_]]] = []
    for name, values in columns.items():
        said = np.array([traffic.text(one) for one in values], dtype=object)
        kinds = list(dict.fromkeys(said.tolist()))[:_MOST]
        parts += [(f"{name}={kind}", said == kind) for kind in kinds]
    parts = [(name, rows) for name, rows in parts if rows.sum() >= _LEAST]
    if not parts:
        return ()
    z = normal_isf(_ALPHA / (2 * len(parts)))
    found: list[tuple[float, str]] = []
    for name, rows in parts:
        excess = float((outcome - chance)[rows].mean())
        spread = float((chance * (1 - chance))[rows].sum()) ** 0.5 / int(rows.sum())
        if excess - z * spread > margin:
            found.append((-excess, name))
    return tuple(name for _, name in sorted(found)) if len(found) < len(parts) else ()
