"""Whether the monitor names what happened, over seeds: `python benchmarks/drift_seeds.py`.

Each seed is a world of its own: a model is fitted and packaged, answers 8 calm days, 4 days of
other applicants and 4 days on which the inputs are calm again and mean something else. Outcomes
come a day late. At every midnight the controller makes its pass. Prints a row for each seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import polars as pl

from trimtab import ids
from trimtab.demo.loans import Shift, World
from trimtab.demo.project.corrected.pipeline import estimator
from trimtab.demo.traffic import ANSWER, INPUTS, write_outcomes
from trimtab.deploy import local
from trimtab.loop.candidate.train import write_package
from trimtab.loop.project import Project, apply, open_project
from trimtab.loop.tick import tick
from trimtab.model import registry
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings
from trimtab.serve.logged.log import Log
from trimtab.serve.router import Router
from trimtab.store import operations, versions
from trimtab.store.records import Incident, Version
from trimtab.tune import roles, study

NAME = "loans"
CALM = range(8)
SHIFTED = range(8, 12)
SWITCHED = range(12, 16)
MOVED = {"years", "purpose"}
STILL = {"region"}
BATCH = 50
DAY = 86_400_000_000


@dataclass(frozen=True)
class Opened:
    """An incident and the number of whole days that had been lived when it opened."""

    lived: int
    incident: Incident


@dataclass(frozen=True)
class Outcome:
    """What one seed showed."""

    seed: int
    begin: int
    opened: list[Opened] = field(default_factory=list)
    seconds: float = 0.0

    def during(self, days: range) -> list[Opened]:
        """The incidents that opened by what these days showed."""
        return [one for one in self.opened if one.lived - 1 in days]

    def kinds(self, days: range) -> list[str]:
        return [one.incident.kind for one in self.during(days)]

    @property
    def right(self) -> bool:
        """Nothing while calm, then one incident for each cause, by its name."""
        return (self.kinds(CALM), self.kinds(SHIFTED), self.kinds(SWITCHED)) == (
            [],
            ["data drift"],
            ["concept drift"],
        )

    def features(self) -> list[str]:
        """The features that the data drift names, worst first."""
        found = (one["feature"] for opened in self.during(SHIFTED)
                 for one in opened.incident.detail.get("features", []))  # fmt: skip
        return list(dict.fromkeys(found))

    def losses(self) -> list[str]:
        """The requirements that the concept drift broke."""
        return [one["requirement"] for opened in self.during(SWITCHED)
                for one in opened.incident.detail.get("loss", [])]  # fmt: skip

    def since(self, days: range) -> list[int]:
        """The days on which these incidents say that it began."""
        return [(one.incident.since - self.begin) // DAY for one in self.during(days)]


def play(seed: int, folder: Path, *, rows: int = 12_000, a_day: int = 600) -> Outcome:
    """Live through a seed's days in an empty folder."""
    begun = time.perf_counter()
    world = World(seed=seed)
    project = make(folder)
    publish(project, world.history(rows), seed)
    waiting: pl.DataFrame | None = None
    found: list[Opened] = []
    seen: set[str] = set()
    with answering(project) as engine:
        for day in range(SWITCHED.stop):
            waiting = answer(engine, world.applications(day, a_day, shift=shift(day)))
            midnight = world.midnight(day + 1)
            write_outcomes(folder / "data" / "outcomes", waiting, midnight)
            tick(project, now=ids.from_datetime(midnight))
            new = [one for one in operations.incidents(project.ws) if one.id not in seen]
            found += [Opened(lived=day + 1, incident=one) for one in reversed(new)]
            seen |= {one.id for one in new}
    known = {one.id: one for one in operations.incidents(project.ws)}
    return Outcome(
        seed=seed,
        begin=ids.from_datetime(world.midnight(0)),
        opened=[Opened(lived=one.lived, incident=known[one.incident.id]) for one in found],
        seconds=time.perf_counter() - begun,
    )


def shift(day: int) -> Shift:
    return "calm" if day in CALM else "covariate" if day in SHIFTED else "concept"


def make(folder: Path) -> Project:
    """The demo's corrected project in a folder; nobody retrains."""
    text = (files("trimtab.demo") / "project" / "corrected" / "trimtab.toml").read_text("utf-8")
    (folder / "trimtab.toml").write_text(text.partition("[retrain]")[0], encoding="utf-8")
    project = open_project(folder)
    apply(project)
    return project


def publish(project: Project, history: pl.DataFrame, seed: int) -> Version:
    """Fit, package, number and route a model; the endpoint has no process."""
    plan = study.Plan(trials=1, cv=3, seed=seed)
    candidate = study.best(estimator, history, roles.of(project.config), space={}, plan=plan)
    with tempfile.TemporaryDirectory() as place:
        packaged = write_package(project, candidate, Path(place) / "package")
        digest = registry.put(project.ws, packaged.folder)
    version = versions.add(project.ws, "model", NAME, digest)
    versions.set_alias(project.ws, "model", NAME, "champion", digest)
    local.set_routes(project.ws, NAME, [local.spec(project.ws, version, "champion", 1.0)])
    return version


@contextmanager
def answering(project: Project) -> Iterator[Engine]:
    """The endpoint's engine in this process."""
    place = local.folder(project.ws, NAME)
    log = Log(local.log_folder(project.ws, NAME), NAME)
    engine = Engine(
        name=NAME, router=Router(place), log=log, settings=Settings(name=NAME, event_time="client")
    )
    if not engine.router.reload():
        raise SystemExit(engine.router.error)
    try:
        yield engine
    finally:
        log.close()


def answer(engine: Engine, applications: pl.DataFrame) -> pl.DataFrame:
    """Applications with what the endpoint answered, as `trimtab.demo.traffic.send` gives them."""
    answers = []
    for rows in applications.iter_slices(BATCH):
        times = rows["applied_at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
        body = json.dumps({"rows": rows.select(INPUTS).to_dicts(), "event_time": times}).encode()
        said = engine.handle("POST", "/predict", {}, body)
        if said.status != 200:
            raise SystemExit(f"the endpoint answered {said.status}: {said.body[:500]!r}")
        reply = json.loads(said.body)
        answers += [
            (one["id"], reply["model_version"], one["decision"], one["score"])
            for one in reply["predictions"]
        ]
    return applications.hstack(pl.DataFrame(answers, schema=ANSWER, orient="row"))


def row(one: Outcome) -> str:
    cells = [str(one.seed), str(len(one.during(CALM)))]
    for days in (SHIFTED, SWITCHED):
        named = one.during(days)
        cells.append(", ".join(one.kinds(days)) or "none")
        cells.append(", ".join(str(opened.lived - days.start) for opened in named) or "-")
        cells.append(", ".join(str(day - days.start) for day in one.since(days)) or "-")
        if days is SHIFTED:
            cells.append(" ".join(one.features()) or "-")
    cells += ["; ".join(one.losses()) or "-", "yes" if one.right else "NO", f"{one.seconds:.1f}"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--a-day", type=int, default=600)
    asked = parser.parse_args()
    print(f"{len(CALM)} calm, {len(SHIFTED)} covariate, {len(SWITCHED)} concept days of "
          f"{asked.a_day} rows; delays and beginnings in days after the change.\n")  # fmt: skip
    heads = ["seed", "calm incidents", "covariate", "delay", "since", "features", "concept",
             "delay", "since", "requirements lost", "right", "s"]  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    found = []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(play(seed, Path(folder), rows=asked.rows, a_day=asked.a_day))
        print(row(found[-1]), flush=True)
    calm = sum(len(one.during(CALM)) for one in found)
    right = sum(one.right for one in found)
    print(f"\n{calm} calm incidents; names right in {right} of {len(found)} seeds. "
          f"{datetime.now(UTC):%Y-%m-%d}")  # fmt: skip
    return 0 if calm == 0 and right >= 0.95 * len(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
