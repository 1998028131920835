from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from trimtab.monitor.statistics import tails

close = {"rel": 1e-9, "abs": 1e-300}


@given(st.floats(0.01, 3000), st.integers(1, 2000))
def test_chi_square_tail(x, freedom):
    assert tails.chi2_sf(x, freedom) == pytest.approx(
        special.chdtrc(freedom, x), rel=1e-8, abs=1e-290
    )


@given(st.floats(1e-3, 1e6), st.integers(1, 50), st.integers(1, 200))
def test_f_tail(x, numerator, denominator):
    expected = stats.f.sf(x, numerator, denominator)
    assert tails.f_sf(x, numerator, denominator) == pytest.approx(expected, rel=1e-8, abs=1e-290)


@given(st.integers(1, 2000), st.floats(1e-6, 1 - 1e-6), st.data())
def test_binomial_tails(n, p, data):
    k = data.draw(st.integers(0, n))
    up, down = stats.binom.sf(k - 1, n, p), stats.binom.cdf(k, n, p)
    assert tails.binomial_sf(k, n, p) == pytest.approx(up, rel=1e-7, abs=1e-12)
    assert tails.binomial_cdf(k, n, p) == pytest.approx(down, rel=1e-7, abs=1e-12)


@given(st.floats(1e-300, 0.999))
def test_normal_quantile(p):
    assert tails.normal_isf(p) == pytest.approx(
        float(special.ndtri(1 - p)) if p > 1e-5 else -float(special.ndtri(p)), rel=1e-8, abs=1e-8
    )


def test_far_out_and_at_the_ends():
    assert tails.normal_sf(30) == pytest.approx(stats.norm.sf(30), **close)
    assert tails.chi2_sf(0, 3) == tails.f_sf(-1, 1, 1) == 1
    assert tails.chi2_sf(1e5, 3) == 0
    assert tails.beta_cdf(0, 1, 1) == 0
    assert tails.beta_cdf(1, 1, 1) == 1
    assert tails.binomial_sf(0, 5, 0.5) == 1
    assert tails.binomial_sf(6, 5, 0.5) == 0
    assert tails.chi2_sf(25, 1) == pytest.approx(math.erfc(math.sqrt(12.5)))
    assert tails.chi2_sf(1500, 1000) == pytest.approx(special.chdtrc(1000, 1500), rel=1e-9)
    grid = np.array([tails.chi2_sf(x, 7) for x in np.linspace(0, 300, 500)])
    assert np.all(np.diff(grid) <= 0)
