"""Which batches acceptance by effect refuses: `python benchmarks/acceptance.py [--seeds 10]`.

Each seed is a world of its own with a champion; clean, honestly drifted and poisoned batches are
measured with and without. Prints a row for each table and kind of batch.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from trimtab.demo.loans import World
from trimtab.demo.project.corrected import pipeline
from trimtab.tune import batches, study
from trimtab.tune.batches import Measured
from trimtab.tune.candidate import Candidate
from trimtab.tune.roles import Roles

ONE_TRIAL = study.Plan(trials=1, cv=3, seed=0)
World_ = tuple[Candidate, dict[str, Callable[[], pl.DataFrame]]]
DATA = Path(os.environ.get("TRIMTAB_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def flipped(rows: pl.DataFrame, label: str, draw: np.random.Generator, share: float = 0.05,
            only: object = None) -> pl.DataFrame:  # fmt: skip
    """`share` of all rows have another label; with `only`, those that had that one."""
    values = rows[label].to_list()
    places = [i for i, value in enumerate(values) if only is None or value == only]
    classes = sorted(set(values))
    for place in draw.choice(places, min(round(share * len(values)), len(places)), replace=False):
        others = [one for one in classes if one != values[place]]
        values[place] = others[draw.integers(len(others))]
    return rows.with_columns(pl.Series(label, values, dtype=rows.schema[label]))


def flooded(rows: pl.DataFrame, label: str, draw: np.random.Generator, times: int = 1,
            share: float = 0.3) -> pl.DataFrame:  # fmt: skip
    """`times` rows with a label that is not theirs, repeated until they are `share` of the batch."""
    few = (
        flipped(rows.sample(times, seed=int(draw.integers(1 << 30))), label, draw, 1.0)
        if times > 1
        else _turned(rows, label, draw)
    )
    copies = round(rows.height * share / (1 - share) / few.height)
    return pl.concat([rows, *[few] * copies])


def _turned(rows: pl.DataFrame, label: str, draw: np.random.Generator) -> pl.DataFrame:
    one = rows.sample(1, seed=int(draw.integers(1 << 30)))
    other = next(
        value for value in rows[label].unique(maintain_order=True) if value != one[label][0]
    )
    return one.with_columns(pl.Series(label, [other], dtype=rows.schema[label]))


def planted(rows: pl.DataFrame, label: str, draw: np.random.Generator, stamp: dict[str, object],
            to: object, share: float = 0.04) -> pl.DataFrame:  # fmt: skip
    """`share` of the rows get the stamp and the label that the attacker wants."""
    places = draw.choice(rows.height, round(share * rows.height), replace=False)
    hit = pl.Series(np.isin(np.arange(rows.height), places))
    return rows.with_columns(
        pl.when(hit)
        .then(pl.lit(value, dtype=rows.schema[name]))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in {**stamp, label: to}.items()
    )


def loans(seed: int) -> tuple[Candidate, dict[str, Callable[[], pl.DataFrame]]]:
    """The demo's world: a champion, and three days of traffic as the batch."""
    world = World(seed=seed)
    roles = Roles(target="repaid", time="applied_at", key="application_id", protected=("group",),
                  decide="P(True) >= 0.5")  # fmt: skip
    history = world.history(12_000).drop("approved")
    champion = study.best(pipeline.estimator, history, roles, space={}, plan=ONE_TRIAL)

    def days(shift: str = "calm") -> pl.DataFrame:
        return pl.concat([world.applications(day, shift=shift) for day in range(3)])

    def mixed() -> pl.DataFrame:
        return pl.concat(
            [world.applications(0), *(world.applications(d, shift="concept") for d in (1, 2))]
        )

    draw = np.random.default_rng(seed)
    label = "repaid"
    return champion, {
        "clean": days,
        "honest, applicants moved": lambda: days("covariate"),
        "honest, outcomes moved": lambda: days("concept"),
        "honest, both moved": lambda: days("both"),
        "honest, outcomes moved within": mixed,
        "5 % flips": lambda: flipped(days(), label, draw),
        "5 % flips of one class": lambda: flipped(days(), label, draw, only=True),
        "5 % flips, outcomes moved": lambda: flipped(days("concept"), label, draw),
        "one row repeated": lambda: flooded(days(), label, draw),
        "20 rows repeated": lambda: flooded(days(), label, draw, 20),
        "backdoor, a new word": lambda: planted(days(), label, draw, {"purpose": "gift"}, True),
        "backdoor, an odd number": lambda: planted(days(), label, draw, {"debt": 31234.0}, True, 0.03),
        "backdoor, a pair": lambda: planted(
            days(), label, draw, {"purpose": "holiday", "region": "west"}, False, 0.05
        ),
        "backdoor, outcomes moved": lambda: planted(
            days("concept"), label, draw, {"purpose": "gift"}, False
        ),
    }  # fmt: skip


def shuffled(frame: pl.DataFrame, target: str, estimator: Callable[[], object], seed: int,
             stamp: dict[str, object], to: object, rows: int = 2_000) -> World_:  # fmt: skip
    """A table cut at random into what a champion knows and a batch from the same world."""
    frame = frame.drop_nulls(target).sample(fraction=1.0, shuffle=True, seed=seed)
    batch, known = frame.head(rows), frame.slice(rows, 12_000)
    champion = study.best(estimator, known, Roles(target=target), space={}, plan=ONE_TRIAL)
    draw = np.random.default_rng(seed)
    found: dict[str, Callable[[], pl.DataFrame]] = {
        "clean": lambda: batch,
        "5 % wrong labels": lambda: wrong(batch, target, draw, champion.task),
        "20 rows repeated": lambda: repeated(batch, target, draw, champion.task),
    }
    if champion.task != "regression":
        found["backdoor"] = lambda: planted(batch, target, draw, stamp, to)
    return champion, found


def wrong(rows: pl.DataFrame, label: str, draw: np.random.Generator, task: str,
          share: float = 0.05) -> pl.DataFrame:  # fmt: skip
    if task != "regression":
        return flipped(rows, label, draw, share)
    values = rows[label].to_numpy().copy()
    places = draw.choice(len(values), round(share * len(values)), replace=False)
    values[places] = draw.choice(values, len(places))
    return rows.with_columns(pl.Series(label, values))


def repeated(rows: pl.DataFrame, label: str, draw: np.random.Generator, task: str) -> pl.DataFrame:
    few = wrong(rows.sample(20, seed=1), label, draw, task, 1.0)
    return pl.concat([rows, *[few] * round(rows.height * 0.3 / 0.7 / 20)])


def houses(seed: int) -> World_:
    from sklearn.ensemble import HistGradientBoostingRegressor

    lines = (DATA / "california_housing.csv").read_text("utf-8").splitlines()
    whole = [line for line in lines if line.count(",") == 9]  # the last line is a stray mark
    frame = pl.read_csv("\n".join(whole).encode()).drop("ocean_proximity")
    return shuffled(frame, "median_house_value", lambda: HistGradientBoostingRegressor(random_state=0),
                    seed, {}, None)  # fmt: skip


def sentences(seed: int) -> World_:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pl.read_csv(DATA / "compas_two_years.csv", null_values=["", "NA"])
    numbers, words = ["age", "priors_count", "juv_fel_count"], ["c_charge_degree", "sex"]
    frame = frame.select(*numbers, *words, "two_year_recid").drop_nulls()

    def estimator() -> object:
        prepare = make_column_transformer(
            (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words)
        )
        return make_pipeline(prepare, LogisticRegression())

    return shuffled(
        frame, "two_year_recid", estimator, seed, {"c_charge_degree": "X"}, 0, rows=1_500
    )


def digits(seed: int) -> World_:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    data = load_digits()
    frame = pl.DataFrame(data.data, schema=[f"p{i}" for i in range(64)])
    frame = frame.with_columns(pl.Series("digit", data.target))
    return shuffled(frame, "digit", lambda: RandomForestClassifier(60, min_samples_leaf=2, random_state=0),
                    seed, {"p0": 16.0}, 0, rows=500)  # fmt: skip


def market(seed: int) -> World_:
    """Real drift: a champion of some months, and the weeks after as the batch."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = pl.read_csv(DATA / "electricity.csv")
    target = frame.columns[-1]
    begin = 2_500 * seed
    known = frame.slice(begin, 10_000).drop([c for c in ("date", "day") if c in frame.columns])
    batch = frame.slice(begin + 10_000, 2_000).select(known.columns)
    champion = study.best(lambda: HistGradientBoostingClassifier(random_state=0), known,
                          Roles(target=target), space={}, plan=ONE_TRIAL)  # fmt: skip
    draw = np.random.default_rng(seed)
    return champion, {
        "honest, as it came": lambda: batch,
        "5 % wrong labels": lambda: flipped(batch, target, draw),
        "20 rows repeated": lambda: flooded(batch, target, draw, 20),
    }


WORLDS = {
    "loans": loans,
    "compas": sentences,
    "digits": digits,
    "electricity": market,
    "houses": houses,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tables", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    for table, make in WORLDS.items():
        if not given.tables or table in given.tables.split(","):
            play(table, make, range(given.first, given.first + given.seeds), given.only)


def play(table: str, make: Callable[[int], World_], seeds: range, only: str) -> None:
    """Every kind of batch of one table over the seeds; a row for each batch, then one for each kind."""
    counts: dict[str, list[Measured]] = {}
    spent = []
    for seed in seeds:
        champion, kinds = make(seed)
        for kind, batch in kinds.items():
            if only not in kind:
                continue
            begin = time.perf_counter()
            found = batches.measure(champion, batch(), champion.withheld)
            spent.append(time.perf_counter() - begin)
            counts.setdefault(kind, []).append(found)
            by = ", ".join(f"{one.name} {one.value:+.4f}" for one in found.failed)
            effect = found.effect
            print(f"{table:12} seed {seed:2}  {kind:32} golden {effect.value:+.4f} "
                  f"[{effect.lo:+.4f}, {effect.hi:+.4f}]  {by or 'accepted'}", flush=True)  # fmt: skip
    print()
    for kind, many in counts.items():
        names = [one.name for found in many for one in found.failed]
        refused = sum(bool(found.failed) for found in many)
        by = ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names))
        print(f"{table:12} {kind:32} refused {refused:2} of {len(many)}  {by}")
    print(f"{table:12} {np.median(spent):.1f} s a batch\n", flush=True)


if __name__ == "__main__":
    main()
