"""Whether replay recommends the right training, and how long it takes: `python benchmarks/replay.py`.

Ten seeds of each generated history, then the electricity table of TRIMTAB_TEST_DATA with all policies.
Goals: right for 9 of 10 seeds each, and 60 s for electricity on one core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from pathlib import Path

# Set before numpy is loaded: the goal is one core's.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

import polars as pl  # noqa: E402

from trimtab.loop.replay import engine, history  # noqa: E402
from trimtab.loop.replay.engine import Ask  # noqa: E402
from trimtab.loop.replay.history import Cut  # noqa: E402
from trimtab.loop.replay.report import Replayed  # noqa: E402
from trimtab.testing import histories  # noqa: E402
from trimtab.tune import stock  # noqa: E402
from trimtab.tune.frames import kinds  # noqa: E402


def replayed(frame: pl.DataFrame, estimator: str, target: str) -> Replayed:
    features = kinds(frame, {target})
    known = history.build(frame, target=target, time="", features=features, cut=Cut())
    template = stock.make(estimator, features, known.task)
    return engine.replay(
        known, template, Ask(), source="generated", target=target, tell=lambda *_: None
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--estimators", default="linear,boosting,bayes")
    asked = parser.parse_args()
    for estimator in asked.estimators.split(","):
        print(f"| {estimator} | right | recommended | seconds a replay |\n|---|---|---|---|")
        for kind in histories.KINDS:
            begun = time.perf_counter()
            found = [
                replayed(histories.history(kind, seed, asked.rows), estimator, "y")
                for seed in range(asked.seeds)
            ]
            wanted = "static" if kind in histories.STATIC else "dynamic"
            right = sum(one.training == wanted for one in found)
            chosen = ", ".join(
                f"{name} {n}" for name, n in Counter(one.recommends for one in found).most_common()
            )
            spent = (time.perf_counter() - begun) / asked.seeds
            print(f"| {kind} | {right}/{asked.seeds} {wanted} | {chosen} | {spent:.1f} |")
    _electricity(asked.estimators.split(","))


def _electricity(estimators: list[str]) -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("TRIMTAB_TEST_DATA") or default) / "electricity.csv"
    if not path.is_file():
        print("TRIMTAB_TEST_DATA names no folder with electricity.csv: left out")
        return
    frame = pl.read_csv(path)
    print("| electricity | training | its error | no change's | seconds |\n|---|---|---|---|---|")
    for estimator in estimators:
        begun = time.perf_counter()
        found = replayed(frame, estimator, "class")
        spent = time.perf_counter() - begun
        chosen = next(one for one in found.policies if one.policy == found.recommends)
        guess = {one.name: one.losses["error"].value for one in found.guesses}["no-change"]
        error = chosen.losses["error"].value
        print(
            f"| {estimator} | {found.training}: {found.recommends} | {error:.3f} | {guess:.3f} "
            f"| {spent:.1f} |"
        )


if __name__ == "__main__":
    main()
