from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from trimtab.monitor.statistics import effect
from trimtab.profile.coder import coder
from trimtab.profile.fit import fit


def counted(reference, *windows):
    cells = fit({"x": reference}).features[0]
    code = coder(cells)
    stop = cells.ordered.stop
    every = [np.bincount(code(x), minlength=cells.size)[:stop] for x in (reference, *windows)]
    return cells, every


def distance(reference, window, level=0.95):
    cells, (base, now) = counted(reference, window)
    return effect.wasserstein(effect.grid(cells, base), now, base, level)


def test_wasserstein_equals_the_exact_distance_of_clipped_values():
    random = np.random.default_rng(0)
    reference = random.normal(3, 2, 20_000)
    bounds = fit({"x": reference}).features[0].bounds
    clip = np.clip(reference, bounds[1], bounds[-2])
    for window in (random.normal(4, 2, 5_000), random.normal(3, 3, 5_000)):
        exact = stats.wasserstein_distance(clip, np.clip(window, bounds[1], bounds[-2]))
        assert distance(reference, window).value == pytest.approx(exact / clip.std(), rel=0.01)


def test_one_absurd_value_changes_nothing():
    random = np.random.default_rng(0)
    reference, window = random.normal(size=100_000), random.normal(1, 1, 10_000)
    clean = distance(reference, window)
    reference[0] = 1e9
    assert distance(reference, window).value == pytest.approx(clean.value, rel=0.01)
    window[0] = -1e300
    assert distance(reference, window).value == pytest.approx(clean.value, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["null", "shift", "scale", "tail"])
def test_lower_bounds_hold(kind):
    random = np.random.default_rng(7)
    draw = {
        "null": lambda n: random.normal(size=n),
        "shift": lambda n: random.normal(0.1, 1, n),
        "scale": lambda n: random.normal(0, 1.2, n),
        "tail": lambda n: random.normal(size=n) + 3 * (random.random(n) < 0.05),
    }[kind]
    # a clipped distance: 5,000 reference rows have their outer cells at +-2.66
    outer = np.clip(np.stack([random.normal(size=400_000), draw(400_000)]), -2.66, 2.66)
    truth = stats.wasserstein_distance(outer[0], outer[1])
    truth = 0.0 if kind == "null" else truth
    runs = [distance(random.normal(size=5_000), draw(1_000)) for _ in range(200)]
    assert np.mean([run.lo > truth for run in runs]) <= 0.05
    if kind != "null":
        assert np.mean([run.hi < truth * 0.97 for run in runs]) <= 0.07


@pytest.mark.slow
def test_a_real_shift_is_bounded_away_from_the_margin():
    random = np.random.default_rng(2)
    reference = random.normal(size=50_000)
    lower = [distance(reference, random.normal(0.06, 1, 10_000)).lo for _ in range(30)]
    assert np.mean(np.array(lower) > 0.02) > 0.8


def test_no_spread_has_no_scale():
    for values in (np.full(50, 3.0), np.full(5, np.nan)):
        cells, (base,) = counted(values)
        assert effect.grid(cells, base) is None


def test_extreme_values_do_not_overflow():
    reference = np.array([-1e308, 1e308] * 50)
    found = distance(reference, np.full(60, 1e308))
    assert np.isfinite(found.value)


def test_total_variation():
    a, b = np.array([300, 700]), np.array([5_000, 5_000])
    found = effect.total_variation(a, b)
    assert found.value == pytest.approx(0.2)
    assert 0.15 < found.lo < 0.2 < found.hi < 0.25
    random = np.random.default_rng(0)
    share = np.full(30, 1 / 30)
    nulls = [
        effect.total_variation(random.multinomial(500, share), random.multinomial(5_000, share)).lo
        for _ in range(300)
    ]
    assert np.mean(np.array(nulls) > 0) < 0.05
    assert effect.total_variation(np.zeros(2), b) == (0.0, 0.0, 1.0)


def test_jensen_shannon():
    a, b = np.array([3_000, 7_000]), np.array([50_000, 50_000])
    expected = jensenshannon(a / a.sum(), b / b.sum(), base=2) ** 2
    found = effect.jensen_shannon(a, b)
    assert found.value == pytest.approx(expected, rel=0.05)
    assert found.lo < expected < found.hi
    random = np.random.default_rng(0)
    share = np.full(50, 0.02)
    nulls = [
        effect.jensen_shannon(
            random.multinomial(500, share), random.multinomial(9_000, share)
        ).value
        for _ in range(200)
    ]
    assert np.mean(nulls) < 0.004  # the plug-in has mean 0.018 here
    assert effect.jensen_shannon(np.zeros(2), b) == (0.0, 0.0, 1.0)
    assert effect.jensen_shannon(np.array([9, 0]), np.array([0, 9])).value > 0.9
