from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trimtab.monitor.drift.compare import compare, fit_lines
from trimtab.monitor.statistics import stack
from trimtab.monitor.statistics.effect import grid, jensen_shannon, wasserstein
from trimtab.monitor.statistics.multiplicity import discoveries
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference
from trimtab.profile.seasons import whole

SHAPES = {
    "normal": lambda r, n: r.normal(size=n),
    "heavy": lambda r, n: r.standard_cauchy(n),
    "spike": lambda r, n: np.where(r.random(n) < 0.5, 0.0, r.normal(size=n)),
    "flag": lambda r, n: (r.random(n) < 0.2).astype(float),
    "same": lambda r, n: np.full(n, 3.0),
    "nothing": lambda r, n: np.full(n, np.nan),
    "huge": lambda r, n: r.choice([1e308, -1e308, 0.5], n),
    "few": lambda r, n: np.where(r.random(n) < 0.99, np.nan, r.normal(size=n)),
    "infinite": lambda r, n: np.where(r.random(n) < 0.1, np.inf, r.normal(size=n)),
}


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.integers(60, 900), st.integers(0, 400))
def test_all_features_at_once_equal_them_one_by_one(seed, size, rows):
    random = np.random.default_rng(seed)
    reference = fit_reference({name: draw(random, size) for name, draw in SHAPES.items()})
    window = count(reference.bins, {name: draw(random, rows) for name, draw in SHAPES.items()})
    found = compare(reference, window.counts, float(rows), whole(reference.profile))
    spans = reference.bins.spans()
    for cells, measure in zip(reference.bins.features, found, strict=True):
        counts = window.counts[spans[cells.name]][cells.ordered]
        base = reference.profile.counts[spans[cells.name]][cells.ordered]
        line = grid(cells, base)
        js = jensen_shannon(counts, base)
        assert measure.feature == cells.name
        assert (measure.js, measure.js_lo, measure.js_hi) == pytest.approx(js)
        if line is None:
            assert (measure.effect, measure.lo, measure.hi) == (0, 0, 0)
            continue
        one = wasserstein(line, counts, base)
        assert (measure.effect, measure.lo, measure.hi) == pytest.approx(one, rel=1e-6, abs=1e-9)


def test_lines_of_a_reference_without_numbers():
    reference = fit_reference({"c": np.array(["a", "b"] * 50, dtype=object)})
    assert len(fit_lines(reference).places) == 0
    (measure,) = compare(reference, reference.profile.counts, 100.0, whole(reference.profile))
    assert (measure.value, measure.p, measure.psi) == (0, 1, 0)


def test_kolmogorov_on_fine_cells_is_scipys():
    random = np.random.default_rng(1)
    a, b = random.integers(0, 40, 500), random.integers(3, 43, 900)
    found = stack.kolmogorov(np.bincount(a, minlength=43)[None], np.bincount(b, minlength=43)[None])
    assert found.value[0] == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_kolmogorovs_interval_covers():
    random = np.random.default_rng(2)
    shares = np.array([0.2, 0.3, 0.1, 0.4]), np.array([0.3, 0.3, 0.2, 0.2])
    truth = np.abs(np.cumsum(shares[0]) - np.cumsum(shares[1])).max()
    found = stack.kolmogorov(
        random.multinomial(300, shares[0], 2_000), random.multinomial(900, shares[1], 2_000)
    )
    assert ((found.lo <= truth) & (truth <= found.hi)).mean() >= 0.95


@pytest.mark.parametrize(("n", "total"), [(500, 5_000), (5_000, 5_000)])
def test_the_stability_index_is_on_average_what_is_said_without_change(n, total):
    random = np.random.default_rng(3)
    mass = np.full(10, 0.1)
    value, usual = stack.stability(
        random.multinomial(n, mass, 4_000), random.multinomial(total, mass, 4_000)
    )
    assert usual[0] == pytest.approx(9 * (1 / n + 1 / total))
    assert value.mean() == pytest.approx(usual[0], rel=0.05)


def test_the_stability_index_of_a_known_pair():
    value, _ = stack.stability(np.array([[30, 70]]), np.array([[50, 50]]))
    assert value[0] == pytest.approx(-0.2 * np.log(0.6) + 0.2 * np.log(1.4))
    lost, _ = stack.stability(np.array([[0, 100]]), np.array([[50, 50]]))
    assert np.isfinite(lost[0])


def test_nothing_counted_is_no_effect():
    none, some = np.zeros((1, 9)), np.ones((1, 9))
    for a, b in ((none, some), (some, none), (none, none)):
        assert stack.kolmogorov(a, b) == (0, 0, 1)
        assert stack.jensen_shannon(a, b) == (0, 0, 1)
        assert stack.wasserstein(np.ones((1, 3)), np.zeros((1, 9)), a, b) == (0, 0, np.inf)
        assert stack.stability(a, b) == (0, 0)


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.01, 0.5))
def test_discoveries_are_those_of_the_step_up_procedure(p, rate):
    ranked = sorted(p)
    passed = [k for k in range(1, len(p) + 1) if ranked[k - 1] <= rate * k / len(p)]
    found = discoveries(p, rate)
    assert len(found) == max(passed, default=0)
    assert [p[place] for place in found] == ranked[: len(found)]


@pytest.mark.slow
def test_hundreds_of_features_are_compared_at_once():
    random = np.random.default_rng(5)
    reference = fit_reference({f"x{i}": random.normal(size=3_000) for i in range(300)})
    window = count(reference.bins, {f"x{i}": random.normal(size=500) for i in range(300)})
    found = compare(reference, window.counts, 500.0, whole(reference.profile))
    assert [one.feature for one in found] == list(reference.bins.names)
    assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(("rows", "total"), [(500, 5_000), (500, 500), (60, 5_000)])
def test_a_divergence_is_covered_where_cells_are_thin(rows, total):
    random = np.random.default_rng(3)
    share = np.full(256, 1 / 256)
    for moved in (0.0, 0.5):
        now = share * np.where(np.arange(256) < 128, 1 + moved, 1 - moved)
        middle = (now + share) / 2
        truth = (now @ np.log2(now / middle) + share @ np.log2(share / middle)) / 2
        found = stack.jensen_shannon(
            random.multinomial(rows, now, 200), random.multinomial(total, share, 200)
        )
        assert ((found.lo <= truth) & (truth <= found.hi)).mean() > 0.9
        if rows >= 500 or not moved:  # fewer rows in 256 cells show less of a change than there is
            assert abs(found.value.mean() - truth) < 0.01 + 0.2 * truth
