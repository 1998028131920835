from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.statistics import anderson
from trimtab.monitor.statistics.overdispersion import Chunks, corrected, factor


@pytest.mark.parametrize(("critical", "level"), [(2.492, 0.05), (3.857, 0.01), (6.000, 0.001)])
def test_published_critical_values(critical, level):
    """Anderson and Darling 1954, table 1: the closed form is up to 12 % below, far out exact."""
    assert anderson.p_value(critical) == pytest.approx(level, rel=0.13)
    assert anderson.p_value(critical) < level


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "n", "total"), [(32, 1000, 10_000), (256, 200, 10_000), (64, 5_000, 5_000)]
)
def test_size_under_equality(cells, n, total):
    random = np.random.default_rng([cells, n])
    share = random.dirichlet(np.full(cells, 20.0))
    draws = 20_000
    windows = random.multinomial(n, share, size=draws)
    references = random.multinomial(total, share, size=draws)
    p = np.array(
        [
            anderson.p_value(float(anderson.anderson_darling(w, r)[0]))
            for w, r in zip(windows[:4000], references[:4000], strict=True)
        ]
    )
    for level in (0.05, 0.01):
        assert np.mean(p < level) == pytest.approx(level, rel=0.35)
    a2 = _many(windows, references)
    assert np.mean(a2 > 6.0) < 2.5e-3


def _many(windows, references):
    """A2 of paired rows at once, written out anew."""
    n, total = windows.sum(1, keepdims=True), references.sum(1, keepdims=True)
    f, g = windows / n, references / total
    gap = np.cumsum(f, 1) - f / 2 - np.cumsum(g, 1) + g / 2
    mass = (windows + references) / (n + total)
    middle = np.cumsum(mass, 1) - mass / 2
    return (n * total / (n + total))[:, 0] * np.sum(
        np.where(mass > 0, mass * gap**2 / (middle * (1 - middle)), 0), axis=1
    )


def test_overdispersed_statistics_need_more():
    plain = anderson.p_value(10.0)
    assert anderson.p_value(10.0, 1.0, 1000) == pytest.approx(plain, rel=0.3)
    assert anderson.p_value(10.0, 1.0, 20) > 10 * plain
    assert anderson.p_value(20.0, 2.0, 20) == pytest.approx(anderson.p_value(10.0, 1.0, 20))
    assert anderson.p_value(float("nan")) == 1.0


def test_correction_keeps_order_and_ends():
    assert corrected(0.5, 3.0, 0) == 0.5
    assert corrected(0.0, 3.0, 20) == 0.0
    assert corrected(1.0, 3.0, 20) == 1.0
    assert 1e-8 < corrected(1e-8, 1.0, 20) < corrected(1e-4, 1.0, 20)


SURE = Chunks(10**12, 100.0)
"""So many chunks that what they show is known."""
VAST = 1e15


def test_excess_variance_grows_with_rows():
    assert factor(1.0, SURE, 1000, VAST) == pytest.approx(1.0, abs=1e-4)
    assert factor(3.0, SURE, 100, VAST) == 3.0
    assert factor(3.0, SURE, 200, VAST) == pytest.approx(5.0, abs=1e-4)


def test_variance_of_bursts_does_not_grow_with_rows_and_unknown_variance_does_not_fall():
    assert factor(3.0, SURE, 50, VAST) == 3.0
    assert factor(3.0, SURE, 200, VAST, clusters=2.0) == pytest.approx(4.0, abs=1e-4)
    assert factor(1.5, SURE, 200, VAST, clusters=2.0) == pytest.approx(2.0, abs=1e-4)
    assert factor(1.0, Chunks(), 200, VAST, clusters=2.0) == 2.0


def test_excess_variance_grows_no_further_than_the_reference_has_rows():
    """The difference from 1,600 rows is as sure as they are, however large the window."""
    assert factor(1.5, SURE, 1e9, 1_600) == pytest.approx(1 + 0.5 * 17, rel=1e-3)
    many = factor(1.5, SURE, 1_000, 1_600, windows=32)
    assert factor(1.5, SURE, 1_000, VAST, windows=32) > many > 1.5


def test_variation_that_few_chunks_do_not_show_is_not_taken_for_none():
    assert factor(1.0, Chunks(12, 100.0), 100, 1e5) == 1.0
    few = factor(1.0, Chunks(12, 100.0), 1_000, 1e5)
    assert few > factor(1.0, Chunks(100, 100.0), 1_000, 1e5) > 1.5


def test_f_correction_has_the_right_size():
    """Statistics phi * chi2_1 with phi estimated from 20 chunks: rejections at the level."""
    random = np.random.default_rng(1)
    phi = 2.5
    rejected = 0
    for _ in range(4000):
        chunks = phi * random.chisquare(1, 20)
        statistic = phi * random.chisquare(1)
        rejected += anderson.p_value(statistic / 2, float(chunks.mean()), 20) < 0.01 * 3**0.5
    assert rejected / 4000 == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("chunks", [8, 30, 400])
@pytest.mark.parametrize("phi", [1.0, 3.0])
def test_ordinary_variation_from_chunks_makes_no_p_smaller_than_its_normal(phi, chunks):
    """What lets judging pass over features at once: Jensen's inequality."""
    for a2 in np.geomspace(1e-3, 50, 40).tolist():
        assert anderson.p_value(a2 / phi) <= anderson.p_value(a2, phi, chunks) + 1e-15
