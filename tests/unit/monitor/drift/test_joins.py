from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.monitor.drift import dependence
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import Reference, fit_reference


def factors(random, rows: int, broken: float = 0.0) -> dict[str, np.ndarray]:
    """Ten features on three factors, correlations with feature 0 up to 0.72 in size.

    A share `broken` of rows has feature 0 shuffled.
    """
    load = np.random.default_rng(0).normal(size=(3, 10))
    x = random.normal(size=(rows, 3)) @ load + 0.6 * random.normal(size=(rows, 10))
    hit = np.flatnonzero(random.random(rows) < broken)
    x[hit, 0] = x[random.permutation(hit), 0]
    return {f"f{i}": x[:, i] for i in range(10)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(factors(np.random.default_rng(1), 10_000))


def test_a_broken_join_is_found_and_named(reference):
    random = np.random.default_rng(2)
    calm = [count(reference.bins, factors(random, 1000)) for _ in range(4)]
    torn = count(reference.bins, factors(random, 1000, broken=1.0))
    assert judge(reference, calm).findings == ()
    (found,) = judge(reference, [*calm, torn]).findings
    assert found.kind == "broken join"
    assert found.features[0].feature == "f0"
    assert found.since == 4
    assert "both distributions stand still" in found.text
    assert found.features[0].lo * found.features[0].hi > 0


@pytest.mark.slow
def test_a_partly_broken_join_at_level_1e_4(reference):
    """A quarter of the rows shuffled, 1,000 rows."""
    from trimtab.monitor.budget import Margins
    from trimtab.monitor.drift.joins import came_apart
    from trimtab.monitor.drift.windows import suffixes

    random = np.random.default_rng(3)
    still = np.ones(10, dtype=bool)

    def seen(broken: float) -> bool:
        window = count(reference.bins, factors(random, 1000, broken))
        found = suffixes(window.bins, [window], 1, 50)
        assert found is not None
        return bool(came_apart(reference, found, still, 1e-4, Margins())[0])

    assert sum(seen(0.25) for _ in range(40)) >= 36
    assert sum(seen(0.0) for _ in range(100)) == 0


def test_dependence_that_appears_is_drift_not_a_broken_join():
    random = np.random.default_rng(4)
    reference = fit_reference({"a": random.normal(size=5000), "b": random.normal(size=5000)})
    a = random.normal(size=1000)
    tied = {"a": a, "b": (a + random.normal(size=1000)) / np.sqrt(2)}
    (found,) = judge(reference, [count(reference.bins, tied)]).findings
    assert found.kind == "data drift"
    assert found.features[0].statistic == "correlation"


def test_zou_interval_covers():
    random = np.random.default_rng(5)
    truth, hits = 0.5 - 0.3, 0

    def r(rho, n):
        a = random.normal(size=n)
        return float(np.corrcoef(a, rho * a + np.sqrt(1 - rho**2) * random.normal(size=n))[0, 1])

    for _ in range(400):
        found = dependence.difference(r(0.5, 300), 300, r(0.3, 900), 900, 1.0)
        hits += found.lo <= truth <= found.hi
    assert hits / 400 == pytest.approx(0.95, abs=0.035)


def test_levels_are_bonferroni():
    assert dependence.p_value(4.0, 10) == pytest.approx(20 * stats.norm.sf(4.0))
    assert dependence.p_value(0.1, 10) == 1.0


def test_culprits_cover_the_pairs():
    z = np.zeros((5, 5))
    z[2, :] = z[:, 2] = 9.0
    z[0, 1] = z[1, 0] = 8.0
    z[2, 2] = 0.0
    assert dependence.culprits(z, 4.0) == [(2, 0), (0, 1)]
    assert dependence.culprits(z, 10.0) == []


def answered(
    random, rows: int, *, far: float = 0.0, swapped: bool = False
) -> dict[str, np.ndarray]:
    """Two inputs, and a model's answer to them; `far` moves the first input."""
    x, y = random.normal(far, 1, rows), random.normal(size=rows)
    score = 1 / (1 + np.exp(-(-1 if swapped else 1) * (2 * x + y)))
    decision = np.where(score > 0.5, "yes", "no").astype(object)
    return {"x": x, "y": y, "__score__": score, "__decision__": decision}


def test_an_answer_that_follows_an_input_which_moved_is_no_broken_join():
    """More rows fall where the answer is sure, so that it has less to do with the other input."""
    random = np.random.default_rng(5)
    kinds = {"__decision__": "category"}
    reference = fit_reference(answered(random, 20_000), kinds=kinds)
    moved = [count(reference.bins, answered(random, 2_000, far=1.5)) for _ in range(4)]
    assert {one.kind for one in judge(reference, moved).findings} == {"data drift"}


def test_another_model_behind_the_same_inputs_is_seen():
    random = np.random.default_rng(6)
    kinds = {"__decision__": "category"}
    reference = fit_reference(answered(random, 20_000), kinds=kinds)
    other = [count(reference.bins, answered(random, 2_000, swapped=True)) for _ in range(4)]
    (found,) = judge(reference, other).findings
    assert "correlation" in found.text
