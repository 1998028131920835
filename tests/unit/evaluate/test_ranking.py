"""DeLong's variances against the definition, and average precision's against the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from trimtab.errors import UndecidedError
from trimtab.evaluate import ranking


def by_definition(up: np.ndarray, down: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """DeLong et al., 1988, equations for the area and its structural components."""
    won = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    return won.mean(), won.mean(axis=1), won.mean(axis=0)


@given(
    hnp.arrays(float, st.integers(2, 40), elements=st.integers(0, 6).map(float)),
    st.integers(0, 2**32 - 1),
)
def test_area_and_variance_are_delongs(score, seed) -> None:
    positive = np.random.default_rng(seed).random(len(score)) < 0.5
    m, n = positive.sum(), (~positive).sum()
    if not m or not n:
        with pytest.raises(UndecidedError):
            ranking.area(positive, score)
        return
    found = ranking.area(positive, score)
    value, v10, v01 = by_definition(score[positive], score[~positive])
    assert found.value == pytest.approx(value, abs=1e-12)
    if m > 1 and n > 1:
        variance = v10.var(ddof=1) / m + v01.var(ddof=1) / n
        assert found.error**2 == pytest.approx(variance, abs=1e-12)


def test_two_areas_have_delongs_covariance() -> None:
    random = np.random.default_rng(1)
    positive = random.random(80) < 0.4
    one = random.normal(size=80) + positive
    two = one + random.normal(size=80)
    m, n = positive.sum(), (~positive).sum()
    a, b = ranking.area(positive, one), ranking.area(positive, two)
    _, a10, a01 = by_definition(one[positive], one[~positive])
    _, b10, b01 = by_definition(two[positive], two[~positive])
    covariance = np.cov(a10, b10)[0, 1] / m + np.cov(a01, b01)[0, 1] / n
    assert (a.influence @ b.influence) / 80**2 == pytest.approx(covariance, abs=1e-12)


@given(hnp.arrays(float, st.integers(1, 60), elements=st.integers(-4, 4).map(float)))
def test_midranks_are_average_ranks(values) -> None:
    assert np.array_equal(ranking.midranks(values), stats.rankdata(values))


@given(st.integers(0, 10_000))
def test_influences_have_mean_zero(seed) -> None:
    random = np.random.default_rng(seed)
    positive, score = random.random(60) < 0.5, np.round(random.random(60), 1)
    if not 0 < positive.sum() < 60:
        return
    assert ranking.area(positive, score).influence.mean() == pytest.approx(0, abs=1e-12)


def test_average_precision_moves_as_its_influence_says(binary) -> None:
    # The derivative by definition: a little more weight on one row moves the value by its influence.
    table = binary(120, seed=4, ties=True)
    found = ranking.average_precision(table)
    copies = 300
    for row in range(0, 120, 7):
        index = np.r_[np.repeat(np.arange(120), copies), row]
        moved = ranking.average_precision(table.take(index)).value
        slope = (moved - found.value) * len(index)
        assert slope == pytest.approx(found.influence[row], abs=0.02)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)
