"""Model-months on data that never change: the pages that are raised stay within the budget."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.monitor.budget import Budget
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference

LEVELS = np.array([f"level {i}" for i in range(300)], dtype=object)


def rows_of(random, rows: int) -> dict[str, np.ndarray]:
    common = random.normal(size=rows)
    zipf = 1 / np.arange(1, 301)
    holes = random.normal(size=rows)
    holes[random.random(rows) < 0.1] = np.nan
    return {
        "normal": common + random.normal(size=rows),
        "twisted": common * random.normal(size=rows),
        "heavy": random.standard_cauchy(rows),
        "count": np.floor(random.exponential(5, rows)),
        "holes": holes,
        "rare": (random.random(rows) < 0.01).astype(float),
        "rarer": (random.random(rows) < 0.003).astype(float),
        "level": LEVELS[random.choice(300, rows, p=zipf / zipf.sum())],
        "user": np.array([f"u{v}" for v in random.zipf(1.3, rows) % 9_000], dtype=object),
    }


def findings(months: int, window: int, training: int, budget: Budget) -> int:
    pages = 0
    for month in range(months):
        random = np.random.default_rng([month, window])
        reference = fit_reference(rows_of(random, training))
        windows = []
        for _ in range(10):
            windows.append(count(reference.bins, rows_of(random, window)))
            pages += len(judge(reference, windows, budget=budget).findings)
    return pages


@pytest.mark.slow
@pytest.mark.parametrize(("window", "training"), [(100, 3_000), (600, 2_000)])
def test_months_without_change_stay_silent(window, training):
    """25 months of 10 windows at 0.1 pages: 1.25 are allowed to the inputs in all of them."""
    assert findings(25, window, training, Budget(windows_per_month=10)) <= 1


@pytest.mark.slow
def test_a_generous_budget_is_kept_too():
    """At 10 pages a month the tests do fire by chance, and by no more than the 5 of the inputs."""
    pages = findings(10, 300, 3_000, Budget(pages_per_month=10, windows_per_month=10))
    assert 0 < pages < 50
