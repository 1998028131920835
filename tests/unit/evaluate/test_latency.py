"""Evidence of an endpoint."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import DataError, UsageError
from trimtab.evaluate.estimate import UNKNOWN
from trimtab.evaluate.latency import cost_evidence, quantile_evidence, quantile_share, rate_evidence

ABOUT = {"subject": "endpoint:loans", "window": "bench", "run": "r", "now": 7}


def test_quantile_is_an_order_statistic() -> None:
    found = quantile_evidence(np.arange(1000, 0, -1), "p99", **ABOUT)
    assert (found.metric, found.statistic, found.value, found.n) == ("latency_ms", "p99", 990, 1000)
    assert found.lo == 983 < 990 < found.hi == 997
    assert (found.subject, found.window, found.run, found.measured_at) == tuple(ABOUT.values())
    assert found.details == {}


def test_a_small_sample_bounds_the_quantile_from_below_only() -> None:
    found = quantile_evidence(np.arange(100) + 1.0, "p99", **ABOUT)
    assert found.value == 99
    assert found.lo > 90
    assert found.hi == UNKNOWN
    enough = found.details["rows_needed"]
    assert quantile_evidence(np.ones(enough), "p99", **ABOUT).hi == 1
    assert quantile_evidence(np.ones(enough - 1), "p99", **ABOUT).hi == UNKNOWN


def test_quantile_intervals_cover() -> None:
    random, true = np.random.default_rng(3), -np.log(0.1)
    hits = 0
    for _ in range(400):
        found = quantile_evidence(random.exponential(size=200), "p90", **ABOUT)
        hits += found.lo <= true <= found.hi
    assert 0.93 <= hits / 400 <= 0.995


def test_anytime_quantiles_are_wider() -> None:
    values = np.random.default_rng(3).exponential(size=3000)
    once = quantile_evidence(values, "p99", **ABOUT)
    always = quantile_evidence(values, "p99", **ABOUT, validity="anytime")
    assert always.lo < once.lo < once.hi < always.hi
    assert always.validity == "anytime"
    few = quantile_evidence(values[:50], "p99", **ABOUT, validity="anytime")
    assert few.hi == UNKNOWN
    needed = few.details["rows_needed"]
    assert quantile_evidence(np.ones(needed), "p99", **ABOUT, validity="anytime").hi == 1


def test_one_value() -> None:
    found = quantile_evidence([4.0], "p50", **ABOUT)
    assert (found.lo, found.value, found.hi) == (0.0, 4.0, UNKNOWN)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [-1.0], [np.inf]])
def test_bad_durations_are_refused(values) -> None:
    with pytest.raises(DataError):
        quantile_evidence(values, "p99", **ABOUT)


@pytest.mark.parametrize("name", ["99", "p0", "p100", "px", "p"])
def test_bad_quantiles_are_refused(name) -> None:
    with pytest.raises(UsageError, match="not a quantile"):
        quantile_evidence([1.0], name, **ABOUT)
    assert quantile_share("p99.9") == pytest.approx(0.999)


def test_error_rate() -> None:
    found = rate_evidence(1, 29, **ABOUT)
    assert (found.lo, found.hi) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert rate_evidence(1, 29, **ABOUT, validity="anytime").hi > found.hi
    for errors, requests in [(0, 0), (3, 2), (-1, 5)]:
        with pytest.raises(DataError):
            rate_evidence(errors, requests, **ABOUT)


def test_cost_is_price_times_time() -> None:
    # 100 calls of 36 ms for 2 rows each, at 1 an hour: 18 ms a row, 18 s a thousand, 0.005.
    found = cost_evidence([0.036] * 100, 2, price_per_hour=1.0, **ABOUT)
    assert found.value == pytest.approx(0.005)
    assert found.lo == pytest.approx(0.005)
    assert found.details == {"price_per_hour": 1.0, "rows": 200}


@pytest.mark.parametrize("validity", ["fixed", "anytime"])
def test_cost_intervals_cover(validity) -> None:
    random, hits = np.random.default_rng(5), 0
    for _ in range(300):
        rows = random.integers(1, 20, 60)
        seconds = rows * 0.002 * random.uniform(0.5, 1.5, 60)
        found = cost_evidence(seconds, rows, price_per_hour=3.6, **ABOUT, validity=validity)
        hits += found.lo <= 0.002 <= found.hi
    assert hits / 300 >= 0.92


def test_cost_needs_a_price_and_calls() -> None:
    with pytest.raises(UsageError, match="needs a price") as caught:
        cost_evidence([1.0, 1.0], 1, price_per_hour=0.0, **ABOUT)
    assert "price_per_hour" in caught.value.hint
    for seconds, rows in [([1.0], 1), ([1.0, 1.0], 0)]:
        with pytest.raises(DataError, match="two calls"):
            cost_evidence(seconds, rows, price_per_hour=1.0, **ABOUT)
