"""Goal 2: pages per model and month where nothing changed, through the judge as it runs.

`python benchmarks/monitoring/budget.py [--months 1000]`: 100 features, 30 daily windows of 2,000 rows
a month, B = 0.1. Each reference is fitted on 50,000 raw rows and watched for 20 months. Windows are
multinomial draws with the exact chances of the reference's cells, which is what counting raw rows
gives. Every (window, scale, feature) gets its statistics vectorised; where one is extreme
(A2 over 9.5, a cell 5.2 and a share of defects 4 standard errors off, chi-square beyond 1e-4: far less
strict than any level), the real `judge` is asked about that feature on that day. Bypassed: the
dependence test, which needs rows (its share of the level is 1/101), unless `--raw` months are asked
for, which count raw rows and judge everything every day.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.budget import Budget, merges
from trimtab.monitor.judge import judge
from trimtab.monitor.statistics.tails import normal_isf
from trimtab.profile import profile as profiles
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.distance import anderson_darling, pearson
from trimtab.profile.profile import Profile, count
from trimtab.profile.reference import Reference, fit_reference

FEATURES, DAYS, ROWS, REFERENCE, BLOCK = 100, 30, 2_000, 50_000, 20
MISSING, ZERO = range(10), range(10, 20)  # 5 % missing; 30 % exactly 0
LEVELS = {98: 20, 99: 200}
SCALES = merges(Budget().scales)
Floats = NDArray[np.float64]


def zipf(levels: int) -> Floats:
    share = 1 / np.arange(1, levels + 1)
    return share / share.sum()


def draw(random: np.random.Generator, rows: int) -> dict[str, NDArray[Any]]:
    table: dict[str, NDArray[Any]] = {}
    for i in range(FEATURES):
        if i in LEVELS:
            words = np.array([f"l{k}" for k in range(LEVELS[i])], dtype=object)
            table[f"f{i}"] = words[random.choice(LEVELS[i], rows, p=zipf(LEVELS[i]))]
            continue
        x = random.random(rows)
        if i in MISSING:
            x[random.random(rows) < 0.05] = np.nan
        if i in ZERO:
            x[random.random(rows) < 0.3] = 0.0
        table[f"f{i}"] = x
    return table


def chances(place: int, cells: NumberCells | CategoryCells) -> Floats:
    """The exact chance of each of a feature's codes."""
    if isinstance(cells, CategoryCells):
        share = dict(zip((f"l{k}" for k in range(LEVELS[place])), zipf(LEVELS[place]), strict=True))
        known = [share.pop(level) for level in cells.levels]
        if cells.tail:
            raise RuntimeError("levels were cut")
        return np.array([*known, 0.0, sum(share.values()), 0.0, 0.0])
    edges = np.array(cells.edges[:-1])
    below = np.clip(edges, 0, 1)
    if place in ZERO:
        below = 0.3 * (edges > 0) + 0.7 * below
    gone = 0.05 if place in MISSING else 0.0
    inside = np.diff(np.concatenate([[0.0], below, [1.0]])) * (1 - gone)
    return np.concatenate([inside, [gone, 0.0, 0.0]])


def extreme(cells: Any, windows: Floats, base: Floats, total: int) -> NDArray[np.bool_]:
    """Which sums of windows (k x codes) any test might call unusual."""
    n = windows.sum(axis=1, keepdims=True)
    pooled = (windows + base) / (n + total)
    error = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n + 1 / total), 1e-300))
    gap = windows / n - base / total
    inner = base > 0
    found = (np.abs(gap[:, inner]) > 5.2 * error[:, inner]).any(axis=1)
    for codes in cells.groups().values():
        own = list(codes)
        k, b = windows[:, own].sum(axis=1), base[own].sum()
        share = (k + b) / (n[:, 0] + total)
        spread = np.sqrt(share * (1 - share) * (1 / n[:, 0] + 1 / total))
        step = np.abs(k / n[:, 0] - b / total)
        found |= (step > 4 * spread) & (step > 0.002)
    if isinstance(cells, NumberCells):
        a2 = anderson_darling(windows[:, cells.ordered], base[cells.ordered])
        return np.asarray(found | (a2 > 9.5))
    keep = base[: len(cells.levels)] * (n.min() / total) >= 10
    rest = windows.shape[1] - 2
    first = np.column_stack([windows[:, :rest][:, : len(keep)][:, keep], n[:, 0]])
    second = np.concatenate([base[: len(keep)][keep], [total]])
    first[:, -1] -= first[:, :-1].sum(axis=1)
    second[-1] -= second[:-1].sum()
    freedom = len(second) - 1
    # Wilson and Hilferty's normal limit of chi-square at 1e-4
    limit = freedom * (1 - 2 / (9 * freedom) + normal_isf(1e-4) * (2 / (9 * freedom)) ** 0.5) ** 3
    return np.asarray(found | (pearson(first, second) > limit))


def block(seed: tuple[int, int], months: int) -> tuple[list[int], list[int], int]:
    """Pages and alarms of each month under one reference, and how often the judge was asked."""
    random = np.random.default_rng(seed)
    reference = fit_reference(draw(random, REFERENCE))
    days = months * DAYS
    spans, base = reference.bins.spans(), reference.profile.counts.astype(np.float64)
    counts = np.empty((days, reference.bins.size), dtype=np.int64)
    suspect = np.zeros((days, FEATURES), dtype=np.bool_)
    for place, cells in enumerate(reference.bins.features):
        span = spans[cells.name]
        own = random.multinomial(ROWS, chances(place, cells), size=days)
        counts[:, span] = own
        sums = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0)])
        for scale in SCALES:
            if scale <= days:
                bad = extreme(cells, sums[scale:] - sums[:-scale], base[span], REFERENCE)
                suspect[scale - 1 :, place] |= bad
    empty = profiles.empty(reference.bins)
    windows = [dataclasses.replace(empty, rows=ROWS, counts=own) for own in counts]
    pages, alarms = told(reference, windows, suspect)
    return per_month(pages, months), per_month(alarms, months), int(suspect.any(axis=1).sum())


def raw(seed: tuple[int, int], months: int) -> tuple[list[int], list[int], int]:
    """The same with raw rows, every day judged, dependence too."""
    random = np.random.default_rng(seed)
    reference = fit_reference(draw(random, REFERENCE))
    windows = [count(reference.bins, draw(random, ROWS)) for _ in range(months * DAYS)]
    pages, alarms = told(reference, windows, np.ones((len(windows), FEATURES), dtype=np.bool_))
    return per_month(pages, months), per_month(alarms, months), len(windows)


def told(
    reference: Reference, windows: list[Profile], suspect: NDArray[np.bool_]
) -> tuple[list[int], list[int]]:
    """The days on which a kind of finding appears that the day before had not; those of alarms."""
    pages, alarms = [], []
    before: set[str] = set()
    names = reference.bins.names
    for day in range(len(windows)):
        if not suspect[day].any():
            before = set()
            continue
        past = windows[max(0, day - 31) : day + 1]
        others = {name for name, own in zip(names, suspect[day], strict=True) if not own}
        found = judge(reference, past, budget=Budget(), altered=others).findings
        fresh = [one for one in found if one.kind not in before]
        pages += [day] * len(fresh)
        alarms += [day] * sum(one.severity == "alarm" for one in fresh)
        before = {one.kind for one in found}
    return pages, alarms


def per_month(days: list[int], months: int) -> list[int]:
    return np.bincount(np.array(days, dtype=np.int64) // DAYS, minlength=months).tolist()


def measure(months: int = 1_000, seed: int = 7, raw_months: int = 0) -> dict[str, float]:
    begun = time.process_time()
    parts = []
    for place, first in enumerate(range(0, months, BLOCK)):
        parts.append(block((seed, place), min(BLOCK, months - first)))
        print(f"reference {place}: {sum(parts[-1][0])} pages, {parts[-1][2]} days", file=sys.stderr)
    pages = np.concatenate([part[0] for part in parts])
    rates = np.array([np.mean(part[0]) for part in parts])
    result = {
        "months": float(months),
        "references": float(len(parts)),
        "pages": float(pages.mean()),
        "error": float(rates.std(ddof=1) / len(rates) ** 0.5) if len(rates) > 1 else float("nan"),
        "p95": float(np.quantile(rates, 0.95)),
        "any": float((pages > 0).mean()),
        "alarms": float(np.concatenate([part[1] for part in parts]).mean()),
        "judged": float(sum(part[2] for part in parts)),
        "seconds": time.process_time() - begun,
    }
    if raw_months:
        begun = time.process_time()
        found = raw((seed, 10**6), raw_months)
        result |= {
            "raw_months": float(raw_months),
            "raw_pages": float(np.mean(found[0])),
            "raw_seconds": time.process_time() - begun,
        }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--raw", type=int, default=0, help="months of raw rows beside")
    given = parser.parse_args()
    found = measure(given.months, given.seed, given.raw)
    print(
        f"{found['months']:.0f} months, {found['references']:.0f} references, seed {given.seed}: "
        f"{found['pages']:.4f} pages a month (standard error {found['error']:.4f}), "
        f"{100 * found['any']:.1f} % of months with any; "
        f"95th percentile over references {found['p95']:.3f}; {found['alarms']:.4f} of alarm severity; "
        f"judge asked on {found['judged']:.0f} days; {found['seconds']:.0f} s CPU"
    )
    if given.raw:
        print(
            f"raw rows, dependence too: {found['raw_pages']:.3f} pages a month over "
            f"{given.raw} months; {found['raw_seconds']:.0f} s CPU"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
