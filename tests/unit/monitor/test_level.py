"""The level of every test on data that did not change: alarms come as often as the level says.

Windows and references are drawn from the same cell shares, of windows that differ in size from
anything the reference was made of. Seeds are fixed: a failure is a change and not a chance.
"""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.statistics import anderson, rates
from trimtab.monitor.statistics.categories import chi_square
from trimtab.profile.distance import anderson_darling, anderson_law
from trimtab.profile.fit import fit
from trimtab.profile.profile import count

NUMBERS = {
    "normal": lambda r, n: r.normal(size=n),
    "lognormal": lambda r, n: r.lognormal(0, 2, n),
    "heavy": lambda r, n: r.standard_cauchy(n),
    "counts": lambda r, n: np.floor(r.exponential(5, n)),
    "flag": lambda r, n: (r.random(n) < 0.5).astype(float),
    "spike": lambda r, n: np.where(r.random(n) < 0.4, 0.0, r.gamma(2, 1, n)),
}
SIZES = [(200, 10_000), (1_000, 1_000), (10_000, 50_000), (1_000_000, 100_000)]


def shares(family: str) -> np.ndarray:
    """The shares of a family's cells, from a sample of its own."""
    table = {"x": NUMBERS[family](np.random.default_rng(1), 30_000)}
    bins = fit(table)
    counts = count(bins, table).counts[bins.features[0].ordered]
    return counts / counts.sum()


def zipf(levels: int) -> np.ndarray:
    mass = 1 / np.arange(1, levels + 1)
    return mass / mass.sum()


def check(p: np.ndarray, level: float) -> None:
    expected = level * len(p)
    assert 0.5 * expected <= (p < level).sum() <= 2 * expected, (level, (p < level).mean())


def line(family: str, window: int, reference: int, draws: int) -> np.ndarray:
    random = np.random.default_rng([window, reference])
    mass = shares(family)
    statistics = anderson_darling(
        random.multinomial(window, mass, draws), random.multinomial(reference, mass, draws)
    )
    law = anderson_law(mass * reference)
    return np.array([anderson.p_value(a2, law=law) for a2 in statistics.tolist()])


def levels(size: int, window: int, reference: int, draws: int) -> np.ndarray:
    random = np.random.default_rng([size, window])
    mass = zipf(size)
    a = random.multinomial(window, mass, draws)
    b = random.multinomial(reference, mass, draws)
    return np.array([chi_square(x, y).p for x, y in zip(a, b, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "sizes"),
    list(zip(NUMBERS, [*SIZES, (3_000, 20_000), (500, 4_000)], strict=True)),
    ids=list(NUMBERS),
)
def test_numbers(family, sizes):
    p = line(family, *sizes, draws=12_000)
    check(p, 1e-2)
    check(p, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "sizes"), [(2, SIZES[1]), (20, SIZES[0]), (200, SIZES[2])])
def test_levels(size, sizes):
    check(levels(size, *sizes, draws=3_000), 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_family_at_every_size(sizes):
    for family in NUMBERS:
        p = line(family, *sizes, draws=20_000)
        check(p, 1e-2)
        check(p, 1e-3)
    for size in (20, 200):
        p = levels(size, *sizes, draws=10_000)
        check(p, 1e-2)
        check(p, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "sizes"), [("normal", SIZES[0]), ("spike", SIZES[1])])
def test_one_in_ten_thousand(family, sizes):
    """Cells eight at a time, which leaves the statistic its law and makes so many draws quick."""
    random = np.random.default_rng([4, *sizes])
    fine = shares(family)
    mass = np.add.reduceat(fine, np.arange(0, len(fine), 8))
    law = anderson_law(mass * sizes[1])
    found = []
    for _ in range(15):
        window, reference = (random.multinomial(rows, mass, 20_000) for rows in sizes)
        a2 = anderson_darling(window, reference)
        found += [anderson.p_value(one, law=law) for one in a2[a2 > 4].tolist()]
    p = np.ones(300_000)
    p[: len(found)] = found
    check(p, 1e-3)
    check(p, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.01, 0.0002])
def test_exact_tests_stay_under_their_level(share):
    """Counts are whole numbers: an exact test has its level or less, never more."""
    random = np.random.default_rng(3)
    found = np.array(
        [
            rates.two_sided(int(k), 1_000, int(b), 10_000)
            for k, b in zip(
                random.binomial(1_000, share, 6_000),
                random.binomial(10_000, share, 6_000),
                strict=True,
            )
        ]
    )
    for level in (1e-2, 1e-3):
        assert (found < level).sum() <= 2 * level * len(found)
    if share == 0.3:
        check(found, 1e-2)
