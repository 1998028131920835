"""Goal 1: how often each test alarms where nothing changed, beside the level that it was asked for.

`python benchmarks/monitoring/level.py [--draws 200000]`: windows and references are multinomial draws
with the shares of a family's cells, the windows of other sizes than anything that the reference was
made of. Anderson-Darling of seven families of numbers, chi-square of 20 and 200 levels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.statistics import anderson
from trimtab.monitor.statistics.categories import chi_square
from trimtab.profile.distance import anderson_darling, anderson_law
from trimtab.profile.fit import fit
from trimtab.profile.profile import count

LEVELS = (1e-2, 1e-3, 1e-4)
BLOCK = 5_000
Floats = NDArray[np.float64]

NUMBERS: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal(2)": lambda random, n: random.lognormal(0, 2, n),
    "Cauchy": lambda random, n: random.standard_cauchy(n),
    "gamma": lambda random, n: random.gamma(2, 1, n),
    "counts": lambda random, n: np.floor(random.exponential(5, n)),
    "flag": lambda random, n: (random.random(n) < 0.5).astype(float),
    "40 % zeros": lambda random, n: np.where(random.random(n) < 0.4, 0.0, random.gamma(2, 1, n)),
}
SIZES = ((200, 10_000), (1_000, 1_000), (10_000, 50_000), (1_000_000, 100_000))
"""Rows of the window and of the reference."""
CASES = (
    *((family, size) for family, size in zip(NUMBERS, (SIZES * 2)[:7], strict=True)),
    *(("20 levels", size) for size in SIZES[:2]),
    ("200 levels", SIZES[2]),
)


def shares(family: str) -> Floats:
    """The shares of a family's cells, from a sample of its own."""
    if family.endswith("levels"):
        mass = 1 / np.arange(1, int(family.partition(" ")[0]) + 1)
    else:
        table = {"x": NUMBERS[family](np.random.default_rng(1), 30_000)}
        bins = fit(table)
        mass = count(bins, table).counts[bins.features[0].ordered].astype(float)
    result: Floats = mass / mass.sum()
    return result


def chances(family: str, window: int, reference: int, draws: int) -> Floats:
    """The p-values of so many windows, each against a reference of its own."""
    mass, found = shares(family), []
    random = np.random.default_rng([window, reference, *family.encode()])
    law = anderson_law(mass * reference)
    for _ in range(0, draws, BLOCK):
        now, before = (random.multinomial(rows, mass, BLOCK) for rows in (window, reference))
        if family.endswith("levels"):
            found += [chi_square(a, b).p for a, b in zip(now, before, strict=True)]
        else:
            a2 = anderson_darling(now, before)
            found += [anderson.p_value(one, law=law) for one in a2.tolist()]
    return np.array(found)


def measure(draws: int) -> dict[float, tuple[float, float]]:
    """The smallest and the largest alarm rate of all cases, as multiples of each level."""
    print("| |" + "|".join(f"{level:g}" for level in LEVELS) + "|\n|---|" + "---|" * len(LEVELS))
    ratios: dict[float, list[float]] = {level: [] for level in LEVELS}
    for family, (window, reference) in CASES:
        p = chances(family, window, reference, draws)
        rates = [float((p < level).mean()) for level in LEVELS]
        for level, rate in zip(LEVELS, rates, strict=True):
            ratios[level].append(rate / level)
        print(f"|{family}, {window:,} rows against {reference:,}|"
              + "|".join(f"{rate:.2g}" for rate in rates) + "|", flush=True)  # fmt: skip
    return {level: (min(all_), max(all_)) for level, all_ in ratios.items()}


def within(found: dict[float, tuple[float, float]]) -> bool:
    return all(low >= 0.5 and high <= 2 for low, high in found.values())


def said(found: dict[float, tuple[float, float]]) -> str:
    return "; ".join(
        f"{low:.2f} to {high:.2f} of {level:g}" for level, (low, high) in found.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200_000)
    found = measure(parser.parse_args().draws)
    print(f"each test within half and twice its level: {said(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
