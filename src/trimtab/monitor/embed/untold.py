"""Outputs that whoever logs rows inside another server leaves out: nobody told them, nothing broke.

Of some rows as of all: who answers with a decision alone logs no score, and None is no value that went
missing. A score of NaN is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trimtab.monitor.findings import OUTPUTS
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference


def untold(reference: Reference, window: Profile) -> frozenset[str]:
    """The model's outputs of which no row of a window says anything. A score of NaN says something."""
    bins = reference.bins
    spans, names = bins.spans(), [name for name in OUTPUTS if name in bins.names]
    blank = {name: bins.feature(name).groups()["missing"][0] for name in names}
    return frozenset(
        name for name in names if window.counts[spans[name]][blank[name]] == window.rows
    )


def heard(reference: Reference, window: Profile) -> Profile:
    """A window whose rows count for an output only where they tell it; all do of one that the
    reference's own rows do not all tell.
    """
    bins, counts = reference.bins, window.counts.copy()
    spans = bins.spans()
    for name in OUTPUTS:
        if name in bins.names:
            blank = spans[name].start + bins.feature(name).groups()["missing"][0]
            if not reference.profile.counts[blank]:
                counts[blank] = 0
    return replace(window, counts=counts)


def alike(reference: Reference, windows: Sequence[Profile]) -> int:
    """The position of the first of the newest windows that tell the same outputs: these are judged
    together. There has to be one.
    """
    same = untold(reference, windows[-1])
    first = len(windows) - 1
    while first > 0 and untold(reference, windows[first - 1]) == same:
        first -= 1
    return first
