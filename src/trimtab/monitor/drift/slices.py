"""How the model's scores moved within each slice: the predictions of one group, window against
reference.

A slice can move while the whole stands still. No alarm is raised by it: which slices are watched, and
what becomes of the list, is for those who read it. A drift of the scores that is known already is placed
by it: told with the slices that it shows in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.budget import Margins
from trimtab.monitor.drift.windows import LEAST_ROWS, Suffixes
from trimtab.monitor.findings import FeatureFinding, Finding, SliceMeasure
from trimtab.monitor.names import sentence
from trimtab.monitor.statistics import anderson
from trimtab.monitor.statistics.effect import total_variation
from trimtab.monitor.statistics.overdispersion import Chunks, factor
from trimtab.profile.distance import anderson_darling, anderson_law
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.profile.seasons import Base

_ALPHA: Final = 0.01
_NAMED: Final = 3
_QUOTES: Final = "'\""


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


def shows_in(measures: Sequence[SliceMeasure], margin: float) -> tuple[str, ...]:
    """The slices (`column=value`) whose scores surely moved, most first: at 1 % for all together, by over
    `margin` of their rows, and by more than another slice of the column may have. So none is told where
    the change may be everywhere.
    """
    level = _ALPHA / max(len(measures), 1)
    found: list[tuple[float, str]] = []
    for one in measures:
        others = [each.hi for each in measures if each.column == one.column and each != one]
        if one.p < level and one.lo > margin and others and one.effect > min(others):
            found.append((-one.effect, f"{one.column}={one.value.strip(_QUOTES)}"))
    return tuple(name for _, name in sorted(found))


def placed(
    finding: Finding,
    reference: Reference,
    windows: Sequence[Profile],
    found: Suffixes,
    bases: Sequence[Base],
    margins: Margins,
    of: int,
) -> Finding:
    """A drift of the scores with the slices that it shows in, by all windows since it began; `of` so
    many features.
    """
    scores = {joint.feature for joint in reference.bins.joints}
    if finding.kind != "data drift" or not scores.intersection(x.feature for x in finding.features):
        return finding
    since = finding.since or 0
    entry = max(int((found.first >= since).sum()) - 1, 0)
    joints = together(windows[found.first[entry] :])
    names = shows_in(measure_slices(reference, joints, bases[entry]), margins.share)
    if not names:
        return finding
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    said = f"{', '.join(names[:_NAMED])}{more}"

    def told(one: FeatureFinding) -> FeatureFinding:
        if one.feature not in scores:
            return one
        return msgspec.structs.replace(one, note=f"{one.note} (most in {said})")

    features = tuple(map(told, finding.features))
    text = sentence(finding.kind, finding.form, features, of, since)
    return msgspec.structs.replace(finding, slices=names, features=features, text=text)


def together(windows: Sequence[Profile]) -> tuple[NDArray[np.int64], ...]:
    """The joint counts of several profiles on the same bins."""
    return tuple(
        np.sum(parts, axis=0) for parts in zip(*(one.joints for one in windows), strict=True)
    )
