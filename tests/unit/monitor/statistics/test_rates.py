from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trimtab.monitor.statistics import rates


@given(st.integers(1, 500), st.integers(1, 3000), st.data())
def test_tails_are_hypergeometric(n, total, data):
    k = data.draw(st.integers(0, n))
    base = data.draw(st.integers(0, total))
    law = stats.hypergeom(n + total, k + base, n)
    assert rates.more(k, n, base, total) == pytest.approx(law.sf(k - 1), rel=1e-7, abs=1e-12)
    assert rates.fewer(k, n, base, total) == pytest.approx(law.cdf(k), rel=1e-7, abs=1e-12)


def test_values_the_reference_never_had():
    """k rows above the maximum of N others: all k top places belong to the window."""
    assert rates.more(1, 10, 0, 90) == pytest.approx(0.1)
    assert rates.more(2, 10, 0, 90) == pytest.approx(10 * 9 / (100 * 99))
    assert rates.more(100, 10_000, 0, 100_000) < 1e-100


def test_large_counts_stay_quick_and_exact():
    p = rates.more(310_000, 1_000_000, 300_000, 1_000_000)
    z = 0.01 / np.sqrt(0.305 * 0.695 * 2e-6)
    assert np.log10(p) == pytest.approx(stats.norm.logsf(z) / np.log(10), rel=0.02)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_screen_lets_no_small_p_go(n, total, data):
    k, base = data.draw(st.integers(0, n)), data.draw(st.integers(0, total))
    if not rates.far_from(k, n, base, total):
        assert rates.two_sided(k, n, base, total) > 1e-4


@given(st.integers(1, 2000), st.data())
def test_wilson(n, data):
    k = data.draw(st.integers(0, n))
    lo, hi = rates.wilson(k, n)
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (lo, hi) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_rows_no_knowledge():
    assert rates.wilson(0, 0) == (0.0, 1.0)


def test_newcombes_published_example():
    """Newcombe 1998, table II, method 10: 56/70 - 48/80."""
    effect = rates.difference(56, 70, 48, 80)
    assert effect.value == pytest.approx(0.2)
    assert (effect.lo, effect.hi) == pytest.approx((0.0524, 0.3339), abs=1e-4)
