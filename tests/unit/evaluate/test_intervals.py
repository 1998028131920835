"""Fixed-sample intervals against published tables, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trimtab.evaluate import intervals

Z95 = intervals.normal_factor(0.95)


# Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
@pytest.mark.parametrize(
    ("successes", "n", "lo", "hi"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_one(successes, n, lo, hi) -> None:
    assert intervals.wilson(successes / n, n, Z95) == pytest.approx((lo, hi), abs=5e-5)


@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_wilson_contains_its_share_and_grows_with_the_level(n, data, level) -> None:
    share = data.draw(st.integers(0, n)) / n
    lo, hi = intervals.wilson(share, n, intervals.normal_factor(level))
    wide = intervals.wilson(share, n, intervals.normal_factor(level + (1 - level) / 2))
    assert 0 <= wide[0] <= lo <= share <= hi <= wide[1] <= 1


def test_wilson_of_nothing_is_everything() -> None:
    assert intervals.wilson(0.0, 0, Z95) == (0.0, 1.0)


def test_factors_are_quantiles() -> None:
    assert pytest.approx(stats.norm.ppf(0.995)) == intervals.normal_factor(0.99)
    for level in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999999):
        for n in (2, 3, 4, 5, 6, 8, 11, 21, 51, 201, 1001, 100_001):
            ours, theirs = intervals.student_factor(level, n), stats.t.ppf((1 + level) / 2, n - 1)
            assert ours == pytest.approx(theirs, rel=3e-5), (level, n)


@pytest.mark.parametrize("scale", ["identity", "logit", "log", "log1m"])
@given(value=st.floats(0.01, 0.99), error=st.floats(1e-6, 1e6))
def test_a_transformed_interval_surrounds_its_value(scale, value, error) -> None:
    lo, hi = intervals.transformed(value, error, 2.0, scale)
    assert lo <= value * (1 + 1e-12)
    assert hi >= value * (1 - 1e-12)
    assert np.isfinite([lo, hi]).all()
    if scale == "logit":
        assert lo >= 0
        assert hi <= 1


@pytest.mark.parametrize(
    ("share", "n"), [(0.5, 21), (0.99, 50), (0.99, 400), (0.95, 100), (0.1, 999)]
)
def test_order_ranks_enclose_the_quantile_with_binomial_probability(share, n) -> None:
    lower, upper = intervals.order_ranks(share, n, 0.95)
    below = stats.binom(n, share)
    assert below.cdf(lower - 1) <= 0.025 < below.cdf(lower)
    if upper <= n:
        assert below.sf(upper - 1) <= 0.025 < below.sf(upper - 2)
    else:
        assert below.sf(n - 1) > 0.025


def test_order_ranks_survive_many_values() -> None:
    lower, upper = intervals.order_ranks(0.99, 1_000_000, 0.95)
    width = 1.96 * np.sqrt(1e6 * 0.99 * 0.01)
    assert lower == pytest.approx(990_000 - width, abs=3)
    assert upper == pytest.approx(990_000 + width, abs=3)
