from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.monitor.categories import chi_square, grouped, listed


def test_without_light_cells_it_is_the_contingency_table():
    a, b = np.array([30, 50, 20]), np.array([400, 350, 250])
    expected = stats.chi2_contingency(np.stack([a, b]), correction=False)
    found = chi_square(a, b)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == 2


def test_light_cells_are_pooled():
    a = np.array([60, 40, *[1] * 30])
    b = np.array([600, 400, *[9] * 30])
    pooled_a, pooled_b = grouped(a, b)
    assert pooled_a.tolist() == [60, 40, 30]
    assert pooled_b.tolist() == [600, 400, 270]


@pytest.mark.parametrize(("levels", "n", "total"), [(20, 1000, 1000), (200, 1000, 10_000)])
def test_size_under_equality(levels, n, total):
    random = np.random.default_rng([levels, n])
    share = 1 / np.arange(1, levels + 1)
    share /= share.sum()
    draws = 4000
    p = np.array(
        [
            chi_square(w, r).p
            for w, r in zip(
                random.multinomial(n, share, draws),
                random.multinomial(total, share, draws),
                strict=True,
            )
        ]
    )
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.006)


def test_nothing_to_compare_is_no_evidence():
    assert chi_square(np.array([5]), np.array([50])).p == 1
    assert chi_square(np.array([0, 0]), np.array([50, 50])).p == 1
    assert chi_square(np.array([], dtype=int), np.array([], dtype=int)).p == 1


def test_rare_levels_are_not_listed():
    assert listed(np.array([500, 10, 9, 1])).tolist() == [0, 1]
