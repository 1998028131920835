from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from trimtab.profile import distance

counts = hnp.arrays(np.int64, 6, elements=st.integers(0, 50))


def test_anderson_darling_on_untied_cells_is_the_rank_statistic():
    random = np.random.default_rng(3)
    a, b = random.normal(size=60), random.normal(0.4, 1, size=90)
    edges = np.sort(np.concatenate([a, b]))
    cells = [np.bincount(np.searchsorted(edges, x), minlength=150) for x in (a, b)]
    binned = distance.anderson_darling(cells[0], cells[1])[0]
    # scipy standardises the same midrank statistic: undo it with its published variance
    random_pairs = stats.anderson_ksamp([a, b], variant="midrank", method=None)
    shift, scale = 1.0, _sigma(60, 90)
    assert binned == pytest.approx(random_pairs.statistic * scale + shift, rel=0.02)


def _sigma(n: int, m: int) -> float:
    """The standard deviation of A2 (Scholz and Stephens 1987, formula for k = 2)."""
    total = n + m
    inverse = 1 / n + 1 / m
    h = sum(1 / i for i in range(1, total))
    g = sum(1 / ((total - i) * j) for i in range(1, total - 1) for j in range(i + 1, total))
    a = (4 * g - 6) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    return float(
        np.sqrt(
            (a * total**3 + b * total**2 + c * total + d)
            / ((total - 1) * (total - 2) * (total - 3))
        )
    )


@given(counts, counts)
def test_pearson_equals_the_contingency_table_test(a, b):
    keep = (a + b) > 0
    if a.sum() == 0 or b.sum() == 0 or keep.sum() < 2:
        return
    expected = stats.chi2_contingency(np.stack([a[keep], b[keep]]), correction=False)[0]
    assert distance.pearson(a, b)[0] == pytest.approx(expected, abs=1e-9)


@given(counts, counts)
def test_equal_shares_have_no_distance(a, b):
    if a.sum() == 0:
        return
    assert distance.anderson_darling(3 * a, a)[0] == pytest.approx(0, abs=1e-12)
    assert distance.pearson(3 * a, a)[0] == pytest.approx(0, abs=1e-9)
    one = distance.anderson_darling(np.stack([a, b]), a)
    assert one[0] == pytest.approx(0, abs=1e-12)


def test_an_empty_side_is_nan():
    assert np.isnan(distance.anderson_darling(np.zeros(3), np.ones(3))[0])
    assert np.isnan(distance.pearson(np.zeros(3), np.ones(3))[0])


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 30)), st.floats(0.1, 20))
def test_pooled_groups_hold_enough_or_are_one(expected, least):
    groups = distance.pool(expected, least)
    mass = np.bincount(groups, weights=expected)
    assert sorted(set(groups.tolist())) == list(range(len(mass)))
    assert mass.sum() == pytest.approx(expected.sum())
    assert len(mass) == 1 or mass.min() >= least - 1e-9 or (mass[-1] == 0)


def test_correlations_of_moments():
    x = np.random.default_rng(0).normal(size=(500, 3))
    x[:, 1] += x[:, 0]
    found = distance.correlations(x.T @ x, x.sum(0), (x**2).sum(0), 500)
    assert found[0, 1] == pytest.approx(np.corrcoef(x.T)[0, 1])
    assert found[0, 0] == 0.9995
    constant = distance.correlations(np.ones((2, 2)) * 4, np.full(2, 4.0), np.full(2, 4.0), 4)
    assert np.all(constant == 0)
