"""Published results made again: goals 9, 11, 12, 13 and 14, and real data with drift.

`python benchmarks/monitoring/published.py [PART...] [--detections FOLDER]`. Parts: `anderson`, `cbpe`,
`generators`, `errors`, `streams`, `electricity`, `detections`, `peeking`. `detections` needs a checkout
(or a bare git directory) of DFKI-NI/unsupervised-concept-drift-detection; `electricity` reads
TRIMTAB_TEST_DATA. What is not there is said to be missing.
"""

from __future__ import annotations

import argparse
import ast
import csv
import io
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from environments import BUILD, ROOT, Absent, ask, save
from numpy.typing import NDArray

from trimtab.evaluate.policy import MIN_UNITS
from trimtab.evaluate.sequential import asymptotic_factor
from trimtab.monitor.outcomes import calibration, cbpe, concept
from trimtab.monitor.statistics import anderson

CHANGES, NEAR = (10_000, 20_000, 30_000), 2_000
INSECTS = {
    "InsectsAbruptBalanced": (14_352, 19_500, 33_240, 38_682, 39_510),
}


def anderson_darling() -> dict[str, float]:
    """P at the published critical values of the limit law (Anderson and Darling 1952, 1954)."""
    known = {0.10: 1.933, 0.05: 2.492, 0.01: 3.857, 0.001: 6.000}
    found = {f"{level:g}": anderson.p_value(value) / level for level, value in known.items()}
    print("Anderson-Darling: p / level at published critical values:",
          {k: round(v, 3) for k, v in found.items()})  # fmt: skip
    return found


def estimates(data: Any, part: slice) -> dict[str, float]:
    try:
        from trimtab.monitor.outcomes import curve
        from trimtab.monitor.outcomes.cbpe import Known
    except ImportError:
        known = calibration.fit(data["ref_score"], data["ref_truth"])
        score = data["score"][part]
        return {"accuracy": cbpe.accuracy(known, score).value,
                "roc_auc": cbpe.roc_auc(known, score).value}  # fmt: skip
    known = Known(
        curve=curve.fit(data["ref_score"], data["ref_truth"]),
        calibration=calibration.fit(data["ref_score"], data["ref_truth"]),
    )
    found = cbpe.binary(known, data["score"][part], data["decided"][part].astype(bool),
                        ["accuracy", "roc_auc", "f1"])  # fmt: skip
    return {one.metric: one.value for one in found}


def without_labels() -> dict[str, float] | str:
    """Ours against NannyML's CBPE on both data sets of its wheel, in chunks of 5,000."""
    worst: dict[str, float] = {}
    for which in ("employment", "loans"):
        path = BUILD / f"cbpe-{which}.npz"
        answer = ask("nannyml", "cbpe", which, str(path))
        if isinstance(answer, Absent):
            print(f"CBPE, {which}: NannyML is absent: {answer.reason}")
            return answer.reason
        with np.load(path) as stored:
            data = {name: np.asarray(stored[name], dtype=np.float64)
                    for name in stored.files if "|" not in name}  # fmt: skip
        chunks = len(answer.value["accuracy"])
        rows = [slice(5_000 * k, 5_000 * (k + 1)) for k in range(chunks)]
        mine = [estimates(data, part) for part in rows]
        for metric in mine[0]:
            # NannyML may pad or join its last chunk; only whole chunks are compared
            whole = [k for k in range(chunks) if rows[k].stop <= len(data["score"])]
            gap = max(abs(mine[k][metric] - answer.value[metric][k]) for k in whole)
            worst[f"{which} {metric}"] = gap
        print(f"CBPE, {which}: {chunks} chunks, largest difference to NannyML:",
              {k: f"{v:.1e}" for k, v in worst.items() if k.startswith(which)}, flush=True)  # fmt: skip
    return worst


def generators() -> dict[str, float] | str:
    """River's generators against ours: the same rules on river's rows, and our share of positives."""
    try:
        from trimtab.testing import streams
    except ImportError:
        print("generators: trimtab.testing.streams is not there")
        return "not there"
    path = BUILD / "generators.npz"
    answer = ask("river", "generators", "20000", str(path))
    if isinstance(answer, Absent):
        print(f"generators: river is absent: {answer.reason}")
        return answer.reason
    found = {}
    with np.load(path) as data:
        for name in answer.value:
            kind, place = name[:-1], int(name[-1])
            noise = np.random.default_rng(1)
            _, label = streams.GENERATORS[kind](noise, 20_000, place)
            mine, theirs = float(label.mean()), float(data[f"y|{name}"].mean())
            if kind == "sea":  # ours turns a tenth of the labels, river by default none
                mine = (mine - 0.1) / 0.8
            found[name] = min(abs(mine - theirs), abs(1 - mine - theirs))
    print("share of either class, river less ours (20,000 rows, classes may be swapped):",
          {k: round(v, 3) for k, v in found.items()})  # fmt: skip
    return found


def first_alarm(errors: NDArray[Any], run_length: float, rate: float) -> int:
    state = concept.start(run_length, streams=("more",), margin=0.0, caution=0.0)
    known = calibration.constant(round(rate * 10**8), 10**8)
    state = concept.update(state, known, np.zeros(len(errors)), errors)
    return -1 if state.alarm is None else state.alarm.at


def delay(firsts: Sequence[int], change: int) -> tuple[int, int, float]:
    late = [at - change for at in firsts if at > change]
    return sum(0 < at <= change for at in firsts), len(late), float(np.median(late or [np.nan]))


def errors(streams: int = 60) -> dict[str, Any]:
    """Bernoulli errors .2, from row 10,000 on .3; and 50,000 rows at .2 for false alarms."""
    rows, change = 20_000, 10_000
    noise = np.random.default_rng(41)
    rate = np.where(np.arange(rows) < change, 0.2, 0.3)
    drift = (noise.random((streams, rows)) < rate).astype(np.int8)
    null = (noise.random((streams, 50_000)) < 0.2).astype(np.int8)
    found: dict[str, Any] = {}
    for length in (1e5, 3e6):
        told = [first_alarm(row.astype(float), length, 0.2) for row in drift]
        false = sum(first_alarm(row.astype(float), length, 0.2) > 0 for row in null)
        found[f"e-detector {length:g}"] = (*delay(told, change), false)
    paths = (BUILD / "errors.npz", BUILD / "null.npz")
    for path, array in zip(paths, (drift, null), strict=True):
        save(path, {"errors": array})
    answers = [ask("river", "bernoulli", str(path)) for path in paths]
    if all(not isinstance(answer, Absent) for answer in answers):
        for name, told in answers[0].value.items():
            false = sum(at > 0 for at in answers[1].value[name])
            found[f"river {name}"] = (*delay(told, change), false)
    else:
        print("river is absent:", answers)
    print(f"errors .2 -> .3 at row {change}, {streams} streams: false before, found, median delay; "
          "false in 50,000 rows at .2")  # fmt: skip
    for name, (early, late, median, false) in found.items():
        print(
            f"  {name:20} {early:3} {late:3}/{streams} {median:7.0f}   {false}/{streams}",
            flush=True,
        )
    return found


def score_trial(told: Sequence[Sequence[int]]) -> dict[str, float]:
    delays, false = [], 0
    for alarms in told:
        mine = [next((t - c for t in alarms if 0 <= t - c < NEAR), None) for c in CHANGES]
        delays += [x for x in mine if x is not None]
        false += len(alarms) - sum(x is not None for x in mine)
    mean = float(np.mean(delays)) if delays else float("nan")
    return {"found": len(delays), "of": 3 * len(told), "delay": mean, "false": false}


def abrupt() -> dict[str, Any] | str:
    """Nine abrupt streams of 40,000 rows, generated after the papers, as in goal 12."""
    try:
        from trimtab.testing import streams
    except ImportError:
        print("abrupt streams: trimtab.testing.streams is not there")
        return "not there"
    found, arrays = {}, {"streams": len(streams.STREAMS)}
    for label, make in (("e-detector", streams.EDetector), ("our ADWIN", streams.AdwinDetector)):
        told = []
        for place, (kind, seed) in enumerate(streams.STREAMS):
            x, y = streams.abrupt(kind, seed)
            arrays |= {f"x{place}": x, f"y{place}": y}
            told.append(list(streams.detections(x, y, make)))
        found[label] = score_trial(told)
    path = BUILD / "abrupt.npz"
    save(path, arrays)
    answer = ask("river", "abrupt", str(path))
    if isinstance(answer, Absent):
        print("river is absent:", answer.reason)
    else:
        found |= {f"river {name}": score_trial(told) for name, told in answer.value.items()}
    print("nine abrupt streams, 27 changes: found, mean delay, false")
    for name, one in found.items():
        print(
            f"  {name:20} {one['found']}/{one['of']} {one['delay']:6.0f} {one['false']}", flush=True
        )
    return found


def electricity() -> dict[str, float] | str:
    """Elec2, prequential naive Bayes, reset on alarm; the no-change classifier beside it."""
    folder = Path(os.environ.get("TRIMTAB_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "electricity.csv"
    if not path.is_file():
        print(f"electricity: missing, there is no {path.name} in TRIMTAB_TEST_DATA")
        return "missing"
    try:
        from trimtab.testing import streams
    except ImportError:
        return "not there"
    with path.open() as file:
        rows = list(csv.reader(file))
    body = rows[1:] if not rows[0][0].replace(".", "").replace("-", "").isdigit() else rows
    words = [row[-1] for row in body]
    y = np.array([word in {"1", "UP", "1.0", max(set(words))} for word in words], dtype=np.int64)
    x = np.array([[float(v) for v in row[:-1]] for row in body])
    stale = float((y[1:] == y[:-1]).mean())
    found = {"no-change classifier": stale}
    for label, make in (("no detector", streams.Detector), ("e-detector", streams.EDetector),
                        ("our ADWIN", streams.AdwinDetector)):  # fmt: skip
        model = streams.Bayes(x.shape[1])
        detector, right, alarms = make(), 0, 0
        for row, truth in zip(x, y.tolist(), strict=True):
            correct = model.predict(row) == truth
            right += correct
            model.learn(row, truth)
            if label != "no detector" and detector.feed(float(not correct)):
                model, detector, alarms = streams.Bayes(x.shape[1]), make(), alarms + 1
        found[label] = right / len(y)
        found[f"{label}: alarms"] = alarms
    print("electricity (accuracy; it has no known change points):", found, flush=True)
    return found


def drift_metrics(known: Sequence[int], told: Sequence[int]) -> tuple[float, float, float, float]:
    """MTR, MTFA, MTD and MDR after Lukats et al. (2024), from times alone.

    The first alarm after a change is its detection; one with no change since the last alarm is false.
    """
    changes, delays, false, pending = set(known), [], [], None
    alarms = set(told)
    for at in sorted(changes | alarms):
        if at in changes:
            pending = at
        if at in alarms:
            if pending is None:
                false.append(at)
            else:
                delays.append(at - pending)
            pending = None
    mtfa = (false[-1] - false[0]) / (len(false) - 1) if len(false) > 1 else float("nan")
    mtd = sum(delays) / len(delays) if delays else float("nan")
    mdr = 1 - len(delays) / len(known)
    mtr = mtfa / mtd * (1 - mdr) if mtd else float("inf")
    return mtr, mtfa, mtd, mdr


def result_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every result on INSECTS abrupt balanced, from a checkout or a git directory."""
    for stream in INSECTS:
        if (folder / "results" / stream).is_dir():
            for path in sorted((folder / "results" / stream).glob("*.csv")):
                yield f"{stream}/{path.stem}", path.read_text()
            continue
        git = ["git", "--git-dir", str(folder)]
        listed = subprocess.run([*git, "ls-tree", "--name-only", f"HEAD:results/{stream}"],
                                capture_output=True, text=True, check=True).stdout  # fmt: skip
        for name in listed.split():
            shown = subprocess.run([*git, "show", f"HEAD:results/{stream}/{name}"],
                                   capture_output=True, text=True, check=True).stdout  # fmt: skip
            yield f"{stream}/{name.removesuffix('.csv')}", shown


def detections(folder: Path | None) -> dict[str, float] | str:
    """The published drift metrics from the published detections; the largest difference."""
    if folder is None:
        print("detections: missing, give --detections FOLDER")
        return "missing"
    csv.field_size_limit(2**30)
    worst, rows = 0.0, 0
    for name, text in result_files(folder):
        known = INSECTS[name.split("/")[0]]
        for row in csv.DictReader(io.StringIO(text)):
            mine = drift_metrics(known, [int(x) for x in ast.literal_eval(row["drifts"])])
            for key, value in zip(("mtr", "mtfa", "mtd", "mdr"), mine, strict=True):
                told = float(row[key]) if row[key] else float("nan")
                if np.isnan(told) and np.isnan(value):
                    continue
                worst = max(worst, abs(told - value) if np.isfinite(told - value) else np.inf)
            rows += 1
    print(f"published MTR, MTFA, MTD, MDR: {rows} rows, largest difference {worst:.1e}", flush=True)
    return {"rows": rows, "worst": worst}


def peeking(runs: int = 2_000, arm: int = 10_000, seed: int = 3) -> dict[str, float]:
    """Two Bernoulli arms, looked at after every pair of requests: how often 0 is ever excluded.

    The interval is `anytime`'s between arms: `asymptotic_factor` of both arms' rows times the root of
    the summed variances, from 50 rows and 20 successes and failures an arm on.
    """
    noise = np.random.default_rng(seed)
    n = np.arange(1, arm + 1)
    factor = np.array([asymptotic_factor(2 * int(k), 0.95) for k in n])
    hundred = np.zeros(arm, dtype=np.bool_)
    hundred[arm // 100 - 1 :: arm // 100] = True
    found = {}
    for name, (a, b) in {"false": (0.1, 0.1), "power": (0.1, 0.12)}.items():
        every, some, naive, stops = 0, 0, 0, []
        for _ in range(runs):
            x, y = (np.cumsum(noise.random(arm) < p) for p in (a, b))
            p, q = x / n, y / n
            rarest = np.minimum(np.minimum(x, n - x), np.minimum(y, n - y))
            ample = (rarest >= MIN_UNITS) & (n >= 50)
            error = np.sqrt((p * (1 - p) + q * (1 - q)) / n)
            told = ample & (np.abs(p - q) > factor * error)
            every += bool(told.any())
            some += bool((told & hundred).any())
            naive += bool((ample & (np.abs(p - q) > 1.96 * error)).any())
            if told.any():
                stops.append(int(n[told.argmax()]))
        found |= {name: every / runs, f"{name}, 100 looks": some / runs,
                  f"{name}, naive": naive / runs}  # fmt: skip
        if name == "power":
            found["median stop"] = float(np.median(stops))
    print(f"peeking, {runs} runs, {arm} an arm, a look after every pair:", found, flush=True)
    return found


PARTS = {
    "anderson": anderson_darling,
    "cbpe": without_labels,
    "generators": generators,
    "errors": errors,
    "streams": abrupt,
    "electricity": electricity,
    "peeking": peeking,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS, "detections"])
    parser.add_argument("--detections", type=Path)
    given = parser.parse_args()
    for name in given.parts or [*PARTS, "detections"]:
        begun = time.perf_counter()
        print(f"== {name}", flush=True)
        if name == "detections":
            detections(given.detections)
        else:
            PARTS[name]()
        print(f"   {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
