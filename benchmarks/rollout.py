"""How often a rollout decides wrongly where it looks after every request, and what a look costs.

    python benchmarks/rollout.py               # 400 runs each, some minutes
    python benchmarks/rollout.py --runs 2000 --only arms   # or cost, guards, means, share

Every run draws the requests of a candidate and its champion and judges after each one, by the very
functions that a rollout judges by. Shares of wrong decisions are to be at most 5 %, the power for
.10 against .12 at 10,000 rows each at least 95 %. The cost is that of taking in 100,000 requests of
a prediction log and of one look at them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.config import Config, ProjectConfig
from trimtab.evaluate import ends, sequential
from trimtab.evaluate.policy import MIN_ROWS, MIN_UNITS, bonferroni
from trimtab.guarding import GuardConfig

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
    above, below = _edges(at, most, kind)
    up = down = 0
    for size in _chunks(runs):
        counts = (random.random((size, most)) < truth).cumsum(axis=1)
        up += int((counts >= above).any(axis=1).sum())
        down += int((counts <= below).any(axis=1).sum())
    return {"found above": up / runs, "found below": down / runs}


def means(kind: str, *, runs: int, most: int, seed: int) -> dict[str, float]:
    """A loss's mean on the log scale, from 50 rows on: how often the truth is ever above or below."""
    random = np.random.default_rng(seed)
    draw, truth = {
        "normal": (lambda size: random.normal(1, 0.3, size), 1.0),
        "exponential": (random.standard_exponential, 1.0),
        "lognormal": (lambda size: random.lognormal(0, 1, size), math.exp(0.5)),
    }[kind]
    n = np.arange(1, most + 1)
    factor = np.array([0.0, *(ends.end_factor(one, LEVEL) for one in range(2, most + 1))])
    below = above = 0
    for size in _chunks(runs):
        values = draw((size, most))
        mean = values.cumsum(axis=1) / n
        spread = np.sqrt(np.maximum((values**2).cumsum(axis=1) / n - mean**2, 0))
        half = (factor * spread / np.sqrt(n) / mean)[:, MIN_ROWS - 1 :]
        gap = np.log(mean[:, MIN_ROWS - 1 :] / truth)
        below += int((gap - half > 0).any(axis=1).sum())
        above += int((gap + half < 0).any(axis=1).sum())
    return {"truth below": below / runs, "truth above": above / runs}


def _edges(at: float, most: int, kind: ends.Sequences) -> tuple[Any, Any]:
    """After each row: the fewest successes whose interval lies above, the most whose lies below."""
    above, below, high, low = [], [], 0, -1
    for n in range(1, most + 1):
        while high <= n and kind.share(high, n, LEVEL)[0] < at:
            high += 1
        while kind.share(low + 1, n, LEVEL)[1] < at:
            low += 1
        above.append(high)
        below.append(low)
    return np.array(above), np.array(below)


def errors_guard(
    errs: tuple[float, float], *, runs: int, most: int, seed: int, every: int = 10
) -> Any:
    """The guard on errors at its margin and beyond, looked at after every tenth request."""
    random = np.random.default_rng(seed)
    margin = GuardConfig().error_margin
    looks = np.arange(every, most + 1, every)
    x = (random.random((runs, most)) < errs[0]).cumsum(axis=1)[:, looks - 1]
    y = (random.random((runs, most)) < errs[1]).cumsum(axis=1)[:, looks - 1]
    wrong = np.zeros(runs, dtype=bool)
    for at, n in enumerate(looks.tolist()):
        pairs = list(zip(x[:, at].tolist(), y[:, at].tolist(), strict=True))
        known = {(s, t): ends.share_arms((s, n), (t, n), LEVEL).lo for s, t in set(pairs)}
        wrong |= np.array([known[pair] > margin for pair in pairs])
    return {"rolled back": float(wrong.mean())}


def latency_guard(ratio: float, *, runs: int, most: int, seed: int, every: int = 50) -> Any:
    """The guard on p95 where the candidate takes `ratio` times as long, by `sigma` 0.5 in the log."""
    random = np.random.default_rng(seed)
    guard, each = GuardConfig(), bonferroni(LEVEL, 2)
    looks = range(every, most + 1, every)
    ranks = {n: sequential.quantile_ranks(0.95, n, each) for n in looks}
    wrong = 0
    for _ in range(runs):
        ours, theirs = ratio * random.lognormal(2, 0.5, most), random.lognormal(2, 0.5, most)
        for n in looks:
            low, high = ranks[n]
            if low < 1 or high > n:
                continue
            lo = np.partition(ours[:n], low - 1)[low - 1]
            hi = np.partition(theirs[:n], high - 1)[high - 1]
            if lo > guard.latency_ratio * hi and lo > hi + guard.latency_floor_ms:
                wrong += 1
                break
    return {"rolled back": wrong / runs}


def cost(requests: int = 100_000) -> dict[str, float]:
    """Microseconds of CPU per request of a log: added to a rollout's progress, and one look at all."""
    from trimtab import ids
    from trimtab.loop.releases import guards
    from trimtab.model import registry, signature
    from trimtab.model.signature import Column, Signature
    from trimtab.monitor.log import progress
    from trimtab.serve.logged.frame import Frame, pack, unpack
    from trimtab.store import operations, versions
    from trimtab.store.records import Rollout
    from trimtab.store.workspace import open_workspace

    random = np.random.default_rng(3)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        ws = open_workspace(Path(folder), "bench")
        models = []
        for name in ("a", "b"):
            place = Path(folder) / name
            place.mkdir()
            signed = Signature(
                task="binary", engine="onnx", inputs=(Column(name="x", kind="number"),), target=name,
                classes=("no", "yes"), positive="yes",
            )  # fmt: skip
            (place / signature.FILE).write_bytes(signature.encode(signed))
            models.append(versions.add(ws, "model", "bench", registry.put(ws, place)).digest)
        for stage, role in ((0, "shadow"), (1, "canary")):
            rollout = Rollout(
                id=ids.new_id(), endpoint=role, champion=models[0], candidate=models[1],
                stages=["shadow", "50%", "100%"], stage=stage, opened_at=1, staged_at=1,
            )  # fmt: skip
            operations.open_rollout(ws, rollout)
            score = random.random(requests // 2).astype("<f4")
            frames = []
            for which, what in ((0, "champion"), (1, role)):
                spent = random.lognormal(8, 0.5, len(score)).astype(int).tolist()
                for at, one in enumerate(score):
                    name = f"{at:032x}" if role == "shadow" else f"{which}{at:031x}"
                    frames.append(Frame(
                        ids=(name,), request=name, received_at=2, endpoint=role, role=what,
                        model=models[which], label="", contract="predict", latency_us=spent[at],
                        score=one.tobytes(), decision=["yes" if one >= 0.5 else "no"],
                    ))  # fmt: skip
            # as the log gives them: every text an object of its own
            frames = [read[0] for one in frames if (read := unpack(pack(one), 0))]
            taken = []
            for _ in range(5):
                begun = time.process_time()
                with ws.transaction():
                    progress.add(ws, role, frames)
                taken.append(time.process_time() - begun)
            found[f"{role}, per logged answer"] = 1e6 * min(taken) / len(frames)
            begun = time.process_time()
            guards.look(
                Config(project=ProjectConfig(name="bench")), rollout, progress.of(ws, rollout), None
            )
            found[f"{role}, a look at 500,000"] = 1e6 * (time.process_time() - begun) / len(frames)
        ws.close()
    return {name: round(value, 3) for name, value in found.items()}


def _chunks(runs: int) -> Iterator[int]:
    for start in range(0, runs, CHUNK):
        yield min(CHUNK, runs - start)


def others(asked: argparse.Namespace) -> None:
    if asked.only in "cost":
        print(f"{'cost in microseconds per request':56} {cost()}", flush=True)
    for errs in ((0.02, 0.02), (0.03, 0.02), (0.06, 0.02)):
        if asked.only in "guards":
            name = f"errors {errs[0]:.2f} / {errs[1]:.2f}, margin 0.01, 3,000 rows each"
            print(f"{name:56} {errors_guard(errs, runs=asked.runs, most=3000, seed=4)}", flush=True)
    for ratio in (1.0, 1.5, 2.0):
        if asked.only in "guards":
            name = f"latency {ratio:g} times, at most 1.5, 5,000 rows each"
            print(
                f"{name:56} {latency_guard(ratio, runs=asked.runs, most=5000, seed=5)}", flush=True
            )
    for kind in ("normal", "exponential", "lognormal"):
        if asked.only in "means":
            found = means(kind, runs=asked.runs, most=5000, seed=6)
            print(f"{f'mean of {kind} losses, 5,000 rows':56} {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
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
    others(asked)
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
