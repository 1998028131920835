"""Many features cost as many times as much as one: what is of all is worked out once."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.drift import compare
from trimtab.monitor.judge import judge
from trimtab.monitor.statistics import overdispersion, tails
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference

DAYS = np.repeat(np.arange(12), 60)


def words(seed, features, rows):
    random = np.random.default_rng(seed)
    return {f"c{at}": random.choice(["a", "b", "c"], rows).astype(object) for at in range(features)}


@pytest.mark.slow
def test_the_work_grows_with_the_features_and_not_with_their_square(monkeypatch):
    calls = []

    def counted(*given, **more):
        calls.append(given)
        return overdispersion.factor(*given, **more)

    monkeypatch.setattr(compare, "factor", counted)
    reference = fit_reference(words(0, 10, len(DAYS)), chunks=DAYS)
    assert reference.dispersion is not None
    judge(reference, [count(reference.bins, words(1, 10, 100))])
    assert 0 < len(calls) <= 20


@pytest.mark.slow
def test_what_surely_did_not_move_costs_no_long_sum(monkeypatch):
    """A normal's tail is below that of F, which takes a continued fraction, and is known at once."""
    calls = []

    def counted(*given):
        calls.append(given)
        return tails.f_sf(*given)

    monkeypatch.setattr(overdispersion, "f_sf", counted)
    random = np.random.default_rng(0)
    columns = {f"n{at}": random.normal(size=len(DAYS)) for at in range(10)}
    reference = fit_reference(columns, chunks=DAYS)
    windows = [
        count(reference.bins, {name: random.normal(size=100) for name in columns})
        for _ in range(12)
    ]
    judge(reference, windows)
    assert 0 < len(calls) <= 40, "each feature's measure, and hardly a test of sums"
