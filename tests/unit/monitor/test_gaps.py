"""Whole numbers leave gaps between their cells, and nothing falls into them: that is no drift."""

from __future__ import annotations

import numpy as np

from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference


def years(seed: int) -> dict[str, np.ndarray]:
    return {"years": np.random.default_rng(seed).integers(0, 30, 4_000).astype(float)}


def test_whole_numbers_that_stand_still_are_not_called_drifted():
    reference = fit_reference(years(1))
    seen = [judge(reference, [count(reference.bins, years(seed))]).drifted for seed in range(2, 8)]
    assert sum(map(len, seen)) <= 1


def test_halves_among_whole_numbers_are():
    reference, now = fit_reference(years(1)), years(2)
    now["years"][:600] += 0.5
    assert judge(reference, [count(reference.bins, now)]).drifted == ("years",)
