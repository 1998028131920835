"""How often a rollout decides wrongly where it looks after every request, and what a look costs.

    python benchmarks/rollout.py            # 2,000 runs each, about three minutes
    python benchmarks/rollout.py --runs 400

Every run draws the requests of a candidate and its champion and judges after each one, by the very
functions that a rollout judges by. Shares of wrong decisions are to be at most 5 %, the power for
.10 against .12 at 10,000 rows each at least 95 %. The cost is that of taking in 100,000 requests of
a prediction log and of one look at them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trimtab.evaluate import ends
from trimtab.evaluate.policy import MIN_ROWS, MIN_UNITS, bonferroni

LEVEL = 0.95
CHUNK = 100


def arms(
    errs: tuple[float, float],
    *,
    runs: int,
    most: int,
    share: float,
    kind: ends.Sequences,
    seed: int,
) -> dict[str, float]:
    """Error rates of candidate and champion: how often the candidate's is ever found lower, higher.

    `most` rows of the candidate, who gets `share` of the requests.
    """
    random = np.random.default_rng(seed)
    tables = _early(kind)
    up = down = 0
    total = round(most / share)
    for size in _chunks(runs):
        mine = random.random((size, total)) < share
        wrong = random.random((size, total)) < np.where(mine, errs[0], errs[1])
        a, b = mine.cumsum(axis=1, dtype=np.int32), (~mine).cumsum(axis=1, dtype=np.int32)
        x = (wrong & mine).cumsum(axis=1, dtype=np.int32)
        y = (wrong & ~mine).cumsum(axis=1, dtype=np.int32)
        better, worse = _arm_looks(a, b, x, y, kind, tables)
        up += int(better.any(axis=1).sum())
        down += int(worse.any(axis=1).sum())
    return {"found better": up / runs, "found worse": down / runs}


def _arm_looks(
    a: Any, b: Any, x: Any, y: Any, kind: ends.Sequences, tables: Any
) -> tuple[Any, Any]:
    p, q = x / np.maximum(a, 1), y / np.maximum(b, 1)
    error = np.sqrt(p * (1 - p) / np.maximum(a, 1) + q * (1 - q) / np.maximum(b, 1))
    clock = np.maximum(np.round(4.0 * a * b / np.maximum(a + b, 1)), 2).astype(np.int32)
    factors = np.array([0.0, 0.0, *(kind.factor(n, LEVEL) for n in range(2, int(clock.max()) + 1))])
    half = factors[clock] * error
    many = (x >= MIN_UNITS) & (y >= MIN_UNITS) & (a - x >= MIN_UNITS) & (b - y >= MIN_UNITS)
    normal = many & (a >= MIN_ROWS) & (b >= MIN_ROWS)
    early = ~normal & (x < MIN_UNITS + 40) & (y < MIN_UNITS + 40)
    early &= (a < len(tables[0])) & (b < len(tables[0])) & (a > 0) & (b > 0)
    better, worse = normal & (q - p - half > 0), normal & (q - p + half <= 0)
    lo, hi = tables
    at = np.nonzero(early)
    better[at] |= lo[b[at], y[at]] > hi[a[at], x[at]]
    worse[at] |= lo[a[at], x[at]] >= hi[b[at], y[at]]
    return better, worse


def _early(kind: ends.Sequences, rows: int = 1200, counts: int = MIN_UNITS + 40) -> tuple[Any, Any]:
    """Ends of few successes in few rows, as the union of two arms' intervals takes them."""
    each = bonferroni(LEVEL, 2)
    lo, hi = np.zeros((rows, counts)), np.ones((rows, counts))
    for n in range(1, rows):
        for s in range(min(n + 1, counts)):
            if n < 200 or s <= MIN_UNITS:  # beyond, the normal limit is used
                lo[n, s], hi[n, s] = kind.share(s, n, each)
    return lo, hi


def bound(truth: float, at: float, *, runs: int, most: int, kind: ends.Sequences, seed: int) -> Any:
    """A share against a bound: how often its interval is ever wholly above it, or below."""
    random = np.random.default_rng(seed)
    above = np.array([_critical(n, at, kind, lower=True) for n in range(1, most + 1)])
    below = np.array([_critical(n, at, kind, lower=False) for n in range(1, most + 1)])
    up = down = 0
    for size in _chunks(runs):
        counts = (random.random((size, most)) < truth).cumsum(axis=1)
        up += int((counts >= above).any(axis=1).sum())
        down += int((counts <= below).any(axis=1).sum())
    return {"found above": up / runs, "found below": down / runs}


def _critical(n: int, at: float, kind: ends.Sequences, *, lower: bool) -> int:
    """The fewest successes whose interval lies above a bound, or the most whose lies below."""
    low, high = (round(at * n), n + 1) if lower else (-1, round(at * n))
    while high - low > 1:
        middle = (low + high) // 2
        lo, hi = kind.share(middle, n, LEVEL)
        if lower:
            low, high = (low, middle) if lo >= at else (middle, high)
        else:
            low, high = (middle, high) if hi < at else (low, middle)
    return high if lower else low


def _chunks(runs: int) -> Iterator[int]:
    for start in range(0, runs, CHUNK):
        yield min(CHUNK, runs - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    cases: list[tuple[str, Callable[[ends.Sequences], Any]]] = []
    for errs in ((0.10, 0.10), (0.12, 0.12), (0.02, 0.02), (0.5, 0.5), (0.10, 0.12), (0.12, 0.10)):
        for share in (0.5, 0.05) if errs in ((0.10, 0.10), (0.10, 0.12)) else (0.5,):
            most = 10_000 if share == 0.5 else 1_000
            name = f"arms {errs[0]:.2f} / {errs[1]:.2f}, {most:,} rows at {share:.0%}"
            cases.append((name, lambda kind, errs=errs, share=share, most=most: arms(
                errs, runs=asked.runs, most=most, share=share, kind=kind, seed=1)))  # fmt: skip
    for truth, at in ((0.9, 0.9), (0.98, 0.98), (0.5, 0.5), (0.9, 0.885), (0.87, 0.885)):
        cases.append((f"share {truth:g}, bound {at:g}, 10,000 rows", lambda kind, t=truth, at=at: bound(
            t, at, runs=asked.runs, most=10_000, kind=kind, seed=2)))  # fmt: skip
    for name, run in cases:
        if asked.only in name:
            for label, kind in (("each end", ends.EACH), ("both ends", ends.BOTH)):
                begun = time.perf_counter()
                print(
                    f"{name:45} {label:10} {run(kind)} {time.perf_counter() - begun:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
