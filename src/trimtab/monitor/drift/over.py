"""Whether what was found is over: two states along the course of a change, as the reference or not.

That the newest window shows nothing by itself proves nothing where it has few rows. It must lie nearer
to the reference than to the change, by more than chance; and so must windows that are called a return.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.drift import forms
from trimtab.monitor.drift.forms import Course
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.profile.pairs import correlation
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference

LOOKED: Final = 64
"""Windows that a form is told by; what ended before them is remembered as an episode."""
BEFORE: Final = 8
_HALF: Final = 0.5
_CLEAR: Final = 3.0
"""So many standard deviations above the reference, and half of the change, leave no doubt."""


def still_there(
    finding: Finding,
    reference: Reference,
    counted: Sequence[Profile],
    seasons: Sequence[int | None] = (),
) -> bool:
    """Whether the newest window may show what windows together do: nothing says that it is over."""
    if finding.since is None or not finding.features:
        return False
    cut = max(0, min(len(counted) - LOOKED, finding.since - 1))
    found = _course(
        reference, counted[cut:], finding.features[0], finding.since - cut, seasons[cut:]
    )
    return found is not None and bool(forms.affected(found)[-1])


def moved_still(
    feature: FeatureFinding,
    reference: Reference,
    counted: Sequence[Profile],
    seasons: Sequence[int | None],
) -> bool:
    """Whether the newest window shows the drift that windows together do: clearly by itself, or as the
    newest stretch of its course.
    """
    since = feature.since or 0
    if feature.statistic == "correlation" or since >= len(counted) - 1:
        return True
    cut = max(0, min(len(counted) - LOOKED, since - BEFORE))
    found = forms.course(reference, counted[cut:], feature.feature, since - cut, seasons[cut:])
    if found is None:
        return True
    newest, noise = found.values[-1], float(found.variances[-1]) ** 0.5
    # windows that are as the reference dilute the change: its size is that of the windows that have it
    clear = newest > max(_HALF * found.values.max(), _CLEAR * noise)
    return bool(clear) or forms.shape(found).lasts


def _course(
    reference: Reference,
    counted: Sequence[Profile],
    worst: FeatureFinding,
    since: int,
    seasons: Sequence[int | None],
) -> Course | None:
    if worst.statistic != "correlation":
        return forms.course(reference, counted, worst.feature, since, seasons)
    names = list(reference.bins.names[: reference.bins.paired])
    if worst.partner not in names:
        return None
    i, j = names.index(worst.feature), names.index(worst.partner)
    both = [reference.profile, *counted]
    rows = np.array([one.rows for one in both])
    z = np.arctanh(
        correlation(
            reference.bins, np.stack([one.counts for one in both]),
            np.stack([one.moments for one in both]), rows,
        )[:, i, j]
    )  # fmt: skip
    moved = z[1:] - z[0]
    weight = rows[1:].astype(np.float64)
    late = _mean(moved[since:], weight[since:])
    if not late:
        return None
    variance = np.divide(
        float(reference.pairs.variance[i, j]),
        weight,
        out=np.full(len(weight), np.inf),
        where=weight > 0,
    )
    return Course(moved / late, variance / late**2)


def _mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    return float(values @ weight / weight.sum()) if weight.sum() else 0.0
