"""How the model's scores moved within each slice: the predictions of one group, window against
reference.

A slice can move while the whole stands still. No alarm is raised by it: which slices are watched, and
what becomes of the list, is for those who read it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.drift.windows import LEAST_ROWS
from trimtab.monitor.findings import SliceMeasure
from trimtab.monitor.statistics import anderson
from trimtab.monitor.statistics.effect import total_variation
from trimtab.monitor.statistics.overdispersion import Chunks, factor
from trimtab.profile.distance import anderson_darling, anderson_law
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.profile.seasons import Base


def measure_slices(
    reference: Reference, joints: tuple[NDArray[np.int64], ...], base: Base
) -> tuple[SliceMeasure, ...]:
    """Every slice with 50 rows in the window (`joints`, as in a profile) and in `base`."""
    found: list[SliceMeasure] = []
    for joint, window, old in zip(reference.bins.joints, joints, base.joints, strict=True):
        place = reference.bins.names.index(joint.feature)
        rows, before = window.sum(axis=1), old.sum(axis=1)
        for code in np.flatnonzero((rows >= LEAST_ROWS) & (before >= LEAST_ROWS)).tolist():
            now, was = window[code][:-1], old[code][:-1]
            phi, chunks = _variation(reference, place, float(rows[code]), float(before[code]))
            a2 = float(anderson_darling(now, was)[0])
            effect = total_variation(now, was)
            found.append(
                SliceMeasure(
                    column=joint.slice.name,
                    value=joint.slice.label(code),
                    rows=int(rows[code]),
                    share=float(rows[code] / rows.sum()),
                    was=float(before[code] / before.sum()),
                    p=anderson.p_value(a2, phi, chunks, anderson_law(was)),
                    effect=effect.value,
                    lo=effect.lo,
                    hi=effect.hi,
                )
            )
    return tuple(found)


def _variation(reference: Reference, place: int, rows: float, before: float) -> tuple[float, int]:
    """The score's variance factor at windows of `rows` rows beside `before`, and its degrees of freedom."""
    chunks, bursts = reference.dispersion, reference.clusters
    own = float(bursts.shape[place]) if bursts else 1.0
    if chunks is None:
        return own, bursts.chunks if bursts else 0
    known = Chunks(chunks.chunks, chunks.rows)
    phi = factor(float(chunks.shape[place]), known, rows, before, clusters=own)
    return phi, chunks.chunks


def together(windows: Sequence[Profile]) -> tuple[NDArray[np.int64], ...]:
    """The joint counts of several profiles on the same bins."""
    return tuple(
        np.sum(parts, axis=0) for parts in zip(*(one.joints for one in windows), strict=True)
    )
