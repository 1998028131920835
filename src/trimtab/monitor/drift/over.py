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

_LOOKED: Final = 64


def still_there(finding: Finding, reference: Reference, counted: Sequence[Profile]) -> bool:
    """Whether the newest window may show what windows together do: nothing says that it is over."""
    if finding.since is None or not finding.features:
        return False
    cut = max(0, min(len(counted) - _LOOKED, finding.since - 1))
    found = _course(reference, counted[cut:], finding.features[0], finding.since - cut)
    return found is not None and bool(forms.affected(found)[-1])


def _course(
    reference: Reference, counted: Sequence[Profile], worst: FeatureFinding, since: int
) -> Course | None:
    if worst.statistic != "correlation":
        return forms.course(reference, counted, worst.feature, since)
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
