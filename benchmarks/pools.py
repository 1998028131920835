"""How often pools of windows alarm falsely, and how soon they find a small violation.

    python benchmarks/pools.py                # 400 lives each, a minute

A life is 200 windows of labelled rows; the requirement is a share (accuracy >= 0.8). Windows alone
and pools are judged by the intervals, levels and turns of `trimtab.monitor.outcomes.pooled`. Lives at the
very bound may ever fail in 5 % at most; worse ones are to fail soon.
"""

from __future__ import annotations

import argparse

import numpy as np

from trimtab.evaluate import intervals
from trimtab.monitor.outcomes import pooled
from trimtab.monitor.statistics import spread

BOUND, LEVEL, WINDOWS = 0.8, 0.95, 200


def first_fail(right: np.ndarray, rows: int, *, pools: bool) -> int:
    """The number of the window with which the requirement first fails; 0 for never."""
    share = pooled.ALONE if pools else 1.0
    looks = dict.fromkeys(pooled.SIZES, 0)
    sums = np.concatenate([[0], right.cumsum()])
    for window in range(1, len(right) + 1):
        if fails(right[window - 1], rows, share, window):
            return window
        for size in pooled.SIZES if pools else ():
            if window < size or (window - size) % max(size // 2, 1):
                continue
            looks[size] += 1
            each = (1 - pooled.ALONE) / len(pooled.SIZES)
            if fails(sums[window] - sums[window - size], size * rows, each, looks[size]):
                return window
    return 0


def fails(right: float, rows: int, share: float, look: int) -> bool:
    level = spread.confidence((1 - LEVEL) * share, look)
    _, hi = intervals.wilson(right / rows, rows, intervals.normal_factor(level))
    return bool(hi < BOUND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=400)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    for rows in (100, 400):
        for truth in (0.80, 0.79, 0.78, 0.76, 0.72):
            lives = random.binomial(rows, truth, (asked.lives, WINDOWS))
            for name, pools in (("windows alone", False), ("with pools", True)):
                found = np.array([first_fail(one, rows, pools=pools) for one in lives])
                ever = found[found > 0]
                when = f"half of them by window {np.median(ever):.0f}" if len(ever) else ""
                print(f"{rows} rows, accuracy {truth:.2f}, {name:13}: "
                      f"{len(ever) / len(lives):.1%} ever fail {when}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
