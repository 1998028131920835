"""False alarms and detection: the peers as they install, ours beside them, on the same rows.

`python benchmarks/monitoring/alarms.py [--repetitions 6] [--rows 1000]`. Per repetition a reference of
ten windows and eight windows of every scenario; peers see one feature, with their defaults. Ours is
`judge` at 1e-4 a feature and window, once with its margins and once without, a single scale. Prints
shares of windows that alarm with standard errors; then blind spots, broken joins, delays, wobble,
season, each with the peers on the same rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from environments import BUILD, Absent, Answer, ask, save
from numpy.typing import NDArray

from trimtab.monitor.budget import Budget, Margins
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import Reference, fit_reference

Draw = Callable[[np.random.Generator, int], NDArray[Any]]
WINDOWS = 8
NONE = Margins(shift=0.0, share=0.0, rate=0.0, correlation=0.0)


def level(alpha: float, features: int = 1, scales: int = 1) -> Budget:
    """The budget that gives a feature `alpha` at each scale."""
    return Budget(pages_per_month=alpha * (features + 1) * 30 * scales / 0.5, scales=scales)


def words(levels: int, moved: float = 0.0) -> Draw:
    share = 1 / np.arange(1, levels + 1)
    share /= share.sum()
    share[0] -= moved
    share[1] += moved
    names = np.array([f"l{k:03d}" for k in range(levels)])
    return lambda random, n: names[random.choice(levels, n, p=share)]


def outliers(random: np.random.Generator, n: int) -> NDArray[Any]:
    return random.normal(size=n) + 3 * (random.random(n) < 0.05)


FAMILIES: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal(1)": lambda random, n: random.lognormal(0, 1, n),
    "lognormal(2)": lambda random, n: random.lognormal(0, 2, n),
    "20 levels": words(20),
    "200 levels": words(200),
}
SCENARIOS: dict[str, tuple[str, Draw]] = {
    **{f"null {name}": (name, draw) for name, draw in FAMILIES.items()},
    "wobble .02": ("normal", lambda r, n: r.normal(size=n) + r.normal() * 0.02),
    "shift .05": ("normal", lambda r, n: r.normal(0.05, size=n)),
    "shift .1": ("normal", lambda r, n: r.normal(0.1, size=n)),
    "shift .2": ("normal", lambda r, n: r.normal(0.2, size=n)),
    "scale 1.2": ("normal", lambda r, n: r.normal(0, 1.2, n)),
    "5 % at +3": ("normal", outliers),
    "category -5 points": ("20 levels", words(20, 0.05)),
}


def one(name: str, table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: table if table.dtype.kind in "fi" else table.astype(object)}


def ours(reference: Reference, windows: NDArray[Any], margins: Margins) -> list[bool]:
    return [
        bool(judge(reference, [count(reference.bins, one("x", window))], budget=level(1e-4),
                   margins=margins).findings)
        for window in windows
    ]  # fmt: skip


def rates(
    rows: int, repetitions: int, seed: int = 7, reference: int = 0
) -> dict[str, dict[str, list[bool] | str]]:
    """Per scenario and method the alarms, or why there are none; a reference has ten windows' rows."""
    arrays: dict[str, NDArray[Any]] = {}
    found: dict[str, dict[str, Any]] = {name: {} for name in SCENARIOS}
    for repetition in range(repetitions):
        random = np.random.default_rng([seed, rows, repetition])
        bases = {name: draw(random, reference or 10 * rows) for name, draw in FAMILIES.items()}
        fitted = {name: fit_reference(one("x", base)) for name, base in bases.items()}
        arrays |= {f"reference|{name}|{repetition}": base for name, base in bases.items()}
        for scenario, (family, draw) in SCENARIOS.items():
            windows = np.stack([draw(random, rows) for _ in range(WINDOWS)])
            arrays[f"window|{family}|{repetition}|{scenario}"] = windows
            for label, margins in (("ours", Margins()), ("ours, no margin", NONE)):
                own = ours(fitted[family], windows, margins)
                found[scenario].setdefault(label, []).extend(own)
    path = BUILD / f"alarms-{rows}.npz"
    save(path, arrays)
    for peer in ("evidently", "nannyml", "alibi"):
        answer = ask(peer, "alarms", str(path))
        for scenario in SCENARIOS:
            if isinstance(answer, Absent):
                found[scenario][peer] = answer.reason
                continue
            hits = [hit for name, told in answer.value.items() if name.endswith(f"|{scenario}")
                    for hit in told]  # fmt: skip
            found[scenario][peer] = hits
    return found


def share(hits: list[bool] | str) -> str:
    if isinstance(hits, str):
        return "absent"
    p = float(np.mean(hits))
    if p in {0.0, 1.0}:
        return f"{sum(hits)}/{len(hits)}"
    return f"{p:.3f} ± {max(p * (1 - p) / len(hits), 0) ** 0.5:.3f}"


def blind_spots(seed: int = 8) -> dict[str, dict[str, bool | str]]:
    """Reference 100,000 rows, window 10,000; public interfaces."""
    random = np.random.default_rng(seed)
    base, now = random.normal(size=100_000), random.normal(size=10_000)
    corrupt = base.copy()
    corrupt[0] = 1e9
    gone, zero = now.copy(), now.copy()
    gone[random.random(10_000) < 0.3] = np.nan
    zero[random.random(10_000) < 0.05] = 0.0
    level20 = words(20)
    unseen = level20(random, 10_000).astype("U8")
    unseen[random.random(10_000) < 0.01] = "new"
    constant = np.full(10_000, 5.0)
    constant[random.random(10_000) < 0.02] = 6.0
    cases = {
        "one 1e9 in the reference, shift 1 sd": (corrupt, now + 1),
        "30 % missing": (base, gone),
        "1 % unseen category": (level20(random, 100_000), unseen),
        "5 % exactly 0": (base, zero),
        "constant, 2 % new value": (np.full(100_000, 5.0), constant),
    }
    arrays = {f"{side}|{name}": pair[place] for name, pair in cases.items()
              for place, side in enumerate(("reference", "current"))}  # fmt: skip
    path = BUILD / "blind.npz"
    save(path, arrays)
    told: dict[str, dict[str, bool | str]] = {}
    for name, (reference, current) in cases.items():
        fitted = fit_reference(one("x", reference))
        window = count(fitted.bins, one("x", current))
        told[name] = {"ours": bool(judge(fitted, [window]).findings)}
    for peer in ("evidently", "nannyml"):
        answer = ask(peer, "blind", str(path))
        for name in cases:
            told[name][peer] = (
                answer.reason if isinstance(answer, Absent) else bool(answer.value[name])
            )
    return told


def mixture(random: np.random.Generator, n: int, broken: float = 0.0) -> NDArray[Any]:
    """Ten features on three factors; a share `broken` of rows has feature 0 of another row."""
    weights = np.random.default_rng(99).normal(size=(3, 10))
    x = random.normal(size=(n, 3)) @ weights + random.normal(size=(n, 10))
    rows = np.flatnonzero(random.random(n) < broken)
    x[rows, 0] = x[random.permutation(rows), 0]
    return x


JOINED = {
    "evidently": ("evidently", "joins"),
    "nannyml PCA": ("nannyml", "joins"),
}
"""What peers have for a broken join, and the task that asks for it."""


def joins(rows: int = 1_000, references: int = 20, seed: int = 9) -> dict[str, dict[str, Any]]:
    """Twenty windows of each share under every reference; peers see the first reference's."""
    shares = (0.0, 0.1, 0.25, 0.5, 1.0)
    found: dict[str, dict[str, Any]] = {f"{f:g}": {"ours": []} for f in shares}
    arrays: dict[str, NDArray[Any]] = {}
    for place in range(references):
        random = np.random.default_rng([seed, rows, place])
        base = mixture(random, 10 * rows)
        fitted = fit_reference({f"f{i}": base[:, i] for i in range(10)})
        drawn = {f: np.stack([mixture(random, rows, f) for _ in range(20)]) for f in shares}
        if not arrays:
            arrays = {"reference": base} | {f"window|{f:g}": own for f, own in drawn.items()}
        for f, windows in drawn.items():
            for window in windows:
                profile = count(fitted.bins, {f"f{i}": window[:, i] for i in range(10)})
                seen = judge(fitted, [profile], budget=level(1e-4, 10))
                found[f"{f:g}"]["ours"].append(bool(seen.findings))
    path = BUILD / f"joins-{rows}.npz"
    save(path, arrays)
    for label, (peer, task) in JOINED.items():
        answer = ask(peer, task, str(path))
        for f, told in found.items():
            told[label] = (
                answer.reason if isinstance(answer, Absent) else answer.value[f"window|{f}"]
            )
    return found


def delays(rows: int, step: float, repetitions: int = 200, seed: int = 10) -> list[int | None]:
    """Windows from the step to the first finding, at 1e-4 over six scales; -1: before the step."""
    result: list[int | None] = []
    for repetition in range(repetitions):
        random = np.random.default_rng([seed, rows, repetition])
        fitted = fit_reference({"x": random.normal(size=10 * rows)})
        windows, at = [], None
        for day in range(30):
            shift = step if day >= 10 else 0.0
            windows.append(count(fitted.bins, {"x": random.normal(shift, size=rows)}))
            if judge(fitted, windows[-32:], budget=level(1e-4 / 6, 1, 6)).findings:
                at = day - 9 if day >= 10 else -1
                break
        result.append(at)
    return result


CALM_DAYS = 10
COURSES: dict[str, Callable[[int], float]] = {
    "ramp to .5 over 20 windows": lambda day: 0.5 * min(day / 20, 1.0),
    "step .05": lambda _: 0.05,
    "step .1": lambda _: 0.1,
}
"""The mean, in sd, of the first, second, ... window after ten calm ones."""


class Told(NamedTuple):
    """One course: whether a calm window alarmed, and windows until the first alarm after them."""

    false: bool
    delay: int | None


def first(hits: Sequence[bool]) -> Told:
    later = list(hits[CALM_DAYS:])
    return Told(any(hits[:CALM_DAYS]), later.index(True) + 1 if True in later else None)


def courses(
    rows: int, days: int, names: Sequence[str], repetitions: int = 40, seed: int = 13
) -> dict[str, dict[str, list[Told] | str]]:
    """Ours over all sums at 1e-4 together, and the peers, who look at each window by itself."""
    arrays: dict[str, NDArray[Any]] = {}
    found: dict[str, dict[str, list[Told] | str]] = {}
    for repetition in range(repetitions):
        random = np.random.default_rng([seed, rows, repetition])
        base = arrays[f"reference|x|{repetition}"] = random.normal(size=10 * rows)
        fitted = fit_reference({"x": base})
        for name in names:
            means = [0.0] * CALM_DAYS + [COURSES[name](day) for day in range(1, days + 1)]
            windows = np.stack([random.normal(mean, size=rows) for mean in means])
            arrays[f"window|x|{repetition}|{name}"] = windows
            counted = [count(fitted.bins, {"x": window}) for window in windows]
            own = [bool(judge(fitted, counted[max(0, day - 31) : day + 1],
                              budget=level(1e-4 / 6, 1, 6)).findings)
                   for day in range(len(counted))]  # fmt: skip
            told = found.setdefault(name, {}).setdefault("ours", [])
            assert isinstance(told, list)
            told.append(first(own))
    for peer, answer in asked(f"courses-{rows}", arrays).items():
        for name in names:
            found[name][peer] = (
                answer.reason
                if isinstance(answer, Absent)
                else [first(answer.value[f"window|x|{k}|{name}"]) for k in range(repetitions)]
            )
    return found


def asked(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Answer | Absent]:
    """What every peer with a test of one column says of these references and windows."""
    path = BUILD / f"{name}.npz"
    save(path, arrays)
    return {peer: ask(peer, "alarms", str(path)) for peer in ("evidently", "nannyml", "alibi")}


def late(told: list[Told] | str) -> str:
    """`found/of, median delay (courses with a false alarm)`."""
    if isinstance(told, str):
        return "absent"
    delays = [one.delay for one in told if one.delay is not None]
    median = f"{np.median(delays):g}" if delays else "-"
    return f"{len(delays)}/{len(told)}, {median} ({sum(one.false for one in told)})"


def spoken(arrays: dict[str, NDArray[Any]], name: str, scenario: str) -> dict[str, float]:
    """Each peer's share of alarms in one scenario's windows; NaN, and a line, where it is absent."""
    result: dict[str, float] = {}
    for peer, answer in asked(name, arrays).items():
        if isinstance(answer, Absent):
            print(f"{peer} is absent: {answer.reason}")
            result[peer] = float("nan")
            continue
        hits = [hit for key, told in answer.value.items() if key.endswith(f"|{scenario}")
                for hit in told]  # fmt: skip
        result[peer] = float(np.mean(hits))
    return result


def wobble(
    rows: int = 100_000, windows: int = 40, chunks: int = 20, seed: int = 11
) -> dict[str, float]:
    """Alarm shares where a window's mean varies by .02 sd, and with +.2 sd; the peers' without."""
    random = np.random.default_rng(seed)

    def draw(shift: float = 0.0) -> NDArray[Any]:
        return random.normal(shift + random.normal() * 0.02, size=rows)

    base = np.concatenate([draw() for _ in range(chunks)])
    fitted = fit_reference({"x": base}, chunks=np.repeat(np.arange(chunks), rows))
    result, drawn = {}, []
    for name, shift in (("none", 0.0), (".2", 0.2)):
        drawn = [draw(shift) for _ in range(windows)]
        hits = [bool(judge(fitted, [count(fitted.bins, {"x": x})], budget=level(1e-4)).findings)
                for x in drawn]  # fmt: skip
        result[name] = float(np.mean(hits))
        if not shift:
            arrays = {"reference|x|0": base, "window|x|0|none": np.stack(drawn)}
    return result | spoken(arrays, "wobble", "none")


def season(repetitions: int = 3, rows: int = 10_000, seed: int = 12) -> dict[str, float]:
    """A weekly sine of .15 sd and no drift: alarm share over 28 days, pooled, by weekday, the peers'."""
    arrays: dict[str, NDArray[Any]] = {}
    hits: dict[str, list[bool]] = {"pooled": [], "by weekday": []}
    for repetition in range(repetitions):
        random = np.random.default_rng([seed, repetition])

        def draw(day: int, random: np.random.Generator = random) -> NDArray[Any]:
            return random.normal(0.15 * np.sin(2 * np.pi * day / 7), size=rows)

        base, days = np.concatenate([draw(d) for d in range(28)]), np.repeat(np.arange(28), rows)
        pooled = fit_reference({"x": base})
        try:
            keyed = fit_reference({"x": base}, chunks=days, seasons=days % 7)
        except TypeError:  # a version before seasons
            keyed = None
        later = np.stack([draw(day) for day in range(28, 56)])
        arrays[f"reference|x|{repetition}"] = base
        arrays[f"window|x|{repetition}|season"] = later
        for day in range(28, 56):
            x = {"x": later[day - 28]}
            own = [count(pooled.bins, x)]
            hits["pooled"].append(bool(judge(pooled, own, budget=level(1e-4)).findings))
            if keyed is not None:
                own = [count(keyed.bins, x)]
                found = judge(keyed, own, budget=level(1e-4), seasons=[day % 7]).findings
                hits["by weekday"].append(bool(found))
    result = {name: float(np.mean(told)) if told else float("nan") for name, told in hits.items()}
    return result | spoken(arrays, "season", "season")


def table(found: dict[str, dict[str, Any]], cell: Callable[[Any], str]) -> None:
    names = list(next(iter(found.values())))
    print("| |" + "|".join(names) + "|\n|---|" + "---|" * len(names))
    reasons = {}
    for row, cells in found.items():
        print(f"|{row}|" + "|".join(cell(cells[name]) for name in names) + "|")
        reasons |= {name: told for name, told in cells.items() if isinstance(told, str)}
    for name, reason in reasons.items():
        print(f"{name} is absent: {reason}")
    print(flush=True)


def seen(told: bool | str) -> str:
    return "absent" if isinstance(told, str) else "found" if told else "missed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--reference", type=int, default=0, help="its rows")
    given = parser.parse_args()
    print(f"alarm rates, windows of {given.rows}, {given.repetitions} references x {WINDOWS} windows; "
          "standard errors take windows for independent")  # fmt: skip
    table(rates(given.rows, given.repetitions, reference=given.reference), share)
    print("blind spots")
    table(blind_spots(), seen)
    print("broken joins, n = 1,000, 20 references x 20 windows each; peers on the first 20")
    table(joins(), share)
    for rows, step in ((1_000, 0.1), (10_000, 0.05)):
        told = delays(rows, step)
        after = [x for x in told if x is not None and x > 0]
        print(f"delay, n = {rows}, step {step}: {len(after)}/{len(told)} found, median "
              f"{np.median(after) if after else float('nan'):g} windows, {told.count(-1)} false")  # fmt: skip
    for rows, days, names in ((1_000, 20, tuple(COURSES)), (10_000, 10, ("step .05",))):
        print(f"n = {rows}: found of 40, median windows to it (with an alarm in ten calm windows)")
        table(courses(rows, days, names), late)
    print("wobble .02, n = 100,000, alarm shares:", wobble())
    print("season, alarm shares:", season())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
