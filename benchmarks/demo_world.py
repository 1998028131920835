"""What the demo's models can reach in its world, over seeds: `python benchmarks/demo_world.py`.

Trains both versions of the demo's estimator as written, without the search, and measures them with
the platform's own metrics: at the gate, on live days of every kind, and after retraining. Prints
the tables of docs/demo.md; each cell is the least, the median and the greatest value over seeds.
"""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

import trimtab.demo
from trimtab.config import Requirement
from trimtab.demo.loans import AFTER, BEFORE, Repayment, Shift, World, log_odds
from trimtab.evaluate.anytime import measure_anytime
from trimtab.evaluate.measure import measure
from trimtab.evaluate.scored import Scored
from trimtab.store.records import Evidence

PROJECT = Path(trimtab.demo.__file__).parent / "project"
SHIFTS: dict[Shift, Repayment] = {
    "calm": BEFORE,
    "covariate": BEFORE,
    "concept": AFTER,
    "both": AFTER,
}
AUC = Requirement(metric="roc_auc", min=0.76)
RATIO = Requirement(metric="selection_rate", ratio=0.80, across="group")
LOSS = Requirement(metric="log_loss", max=1.0)
PASSES = "passes both"

Figures = dict[str, float]
Tables = dict[str, dict[str, Figures]]


class Model:
    """One version of the project, fitted on rows."""

    def __init__(self, version: str, rows: pl.DataFrame, target: str = "repaid") -> None:
        code = runpy.run_path(str(PROJECT / version / "pipeline.py"))
        self.columns = [*code["NUMBERS"], *code["WORDS"]]
        self.estimator = code["estimator"]().fit(self._inputs(rows), rows[target].to_numpy())

    def scored(self, rows: pl.DataFrame) -> Scored:
        score = self.estimator.predict_proba(self._inputs(rows))[:, 1]
        return Scored(
            task="binary",
            truth=rows["repaid"].to_numpy(),
            score=score,
            decision=score >= 0.5,
            slices={"group": rows["group"].to_numpy().astype(object)},
        )

    def _inputs(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(self.columns).with_columns(pl.col(pl.String).fill_null(""))


def one(seed: int, rows: int, a_day: int) -> Tables:
    """Every figure of one seed: table, column, figure."""
    world = World(seed=seed)
    past = world.history(rows)
    early, withheld = past[: rows * 8 // 10], past[rows * 8 // 10 :]
    first, corrected = Model("first", early, "approved"), Model("corrected", early)
    best = {"AUC": ceiling(withheld, BEFORE)}
    at_gate = {
        "first": gate(first.scored(withheld)),
        "corrected": gate(corrected.scored(withheld)),
        "the true odds": best,
    }
    four = {shift: days(world, range(4, 8), a_day, shift) for shift in SHIFTS}
    again = {
        f"{count} {shift} days": gate(retrained(days(world, range(8, 8 + count), a_day, shift)))
        for shift in SHIFTS
        for count in (3, 4, 6)
    }
    mixed = [
        days(world, range(4), a_day, "calm"),
        days(world, range(4, 8), a_day, "covariate"),
        days(world, range(8, 12), a_day, "concept"),
    ]
    again["4 calm, 4 covariate, 4 concept days"] = gate(retrained(pl.concat(mixed)))
    on_days: dict[str, Figures] = {
        shift: live(shift, corrected, rows, a_day) for shift, rows in four.items()
    }
    return {"At the gate": at_gate, "On live days": on_days, "After retraining": again}


def days(world: World, which: range, a_day: int, shift: Shift) -> pl.DataFrame:
    return pl.concat([world.applications(day, a_day, shift=shift) for day in which])


def gate(scored: Scored) -> Figures:
    auc, ratio = look(scored, AUC), look(scored, RATIO)
    return {
        "AUC": auc.value,
        "AUC, lower": auc.lo,
        "ratio": ratio.value,
        "ratio, lower": ratio.lo,
        "ratio, upper": ratio.hi,
        PASSES: float(auc.value >= 0.76 and ratio.lo >= 0.80),
    }


def live(shift: Shift, model: Model, rows: pl.DataFrame, a_day: int) -> Figures:
    """The corrected model on four live days, and what a monitor knows after the first."""
    scored = model.scored(rows)
    first = look(scored.take(np.arange(scored.rows) < a_day), AUC, measure_anytime)
    truth, score = scored.known_truth, scored.known_score
    return {
        "AUC": look(scored, AUC).value,
        "AUC after day 1, at any look: lower": first.lo,
        "AUC after day 1, at any look: upper": first.hi,
        "AUC of the true odds": ceiling(rows, SHIFTS[shift]),
        "log loss": look(scored, LOSS).value,
        "mean score less share repaid": float(score.mean() - truth.mean()),
        "share repaid": float(truth.mean()),
        "share approved by the model": float(scored.decision.mean()),
        "selection ratio": look(scored, RATIO).value,
    }


def retrained(rows: pl.DataFrame) -> Scored:
    """A candidate fitted on the first 80 % of labelled live rows, scored on the rest."""
    cut = len(rows) * 8 // 10
    return Model("corrected", rows[:cut]).scored(rows[cut:])


def ceiling(rows: pl.DataFrame, law: Repayment) -> float:
    odds = log_odds(rows, law)
    truth, score = rows["repaid"].to_numpy(), 1 / (1 + np.exp(-odds))
    return look(Scored(task="binary", truth=truth, score=score, decision=odds >= 0), AUC).value


def look(
    scored: Scored, requirement: Requirement, how: Callable[..., list[Evidence]] = measure
) -> Evidence:
    found = how(scored, [requirement], subject="demo", window="bench")
    wanted = requirement.metric, requirement.statistic
    return next(e for e in found if (e.metric, e.statistic) == wanted)


def show(title: str, seeds: list[Tables]) -> None:
    """A table with a row for each figure, or for each model where there are many models."""
    names = list(seeds[0][title])
    figures = list(seeds[0][title][names[0]])
    cells = {
        (name, figure): cell(figure, [seed[title][name][figure] for seed in seeds])
        for name in names
        for figure in seeds[0][title][name]
    }
    down, across = (names, figures) if len(names) > len(figures) else (figures, names)
    print(f"\n### {title}\n\n| | {' | '.join(across)} |\n|---{'|---' * len(across)}|")
    for left in down:
        row = [cells.get((left, top), cells.get((top, left), "")) for top in across]
        print(f"| {left} | {' | '.join(row)} |")


def cell(figure: str, values: list[float]) -> str:
    if figure == PASSES:
        return f"{sum(values):.0f} of {len(values)}"
    return " / ".join(f"{of(values):.3f}" for of in (np.min, np.median, np.max))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--a-day", type=int, default=600)
    asked = parser.parse_args()
    seeds = [one(seed, asked.rows, asked.a_day) for seed in range(asked.seeds)]
    print(f"{asked.seeds} seeds, {asked.rows:,} rows of history, {asked.a_day} rows a day.")
    for title in seeds[0]:
        show(title, seeds)


if __name__ == "__main__":
    main()
