"""Twenty virtual weeks without anybody: `python benchmarks/weeks.py` (or `--weeks 6`).

The project is real, and so are `trimtab run` and `deploy`, the endpoint that answers over HTTP in a
process of its own, the controller's passes, its jobs and the files of late labels. Only time is
not: all processes read one shifted clock (`TRIMTAB_CLOCK`). Prints what each seed kept.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab import ids
from trimtab.demo.command import Command
from trimtab.deploy import local
from trimtab.loop.project import Project, open_project
from trimtab.loop.releases.release import champion_of
from trimtab.loop.tick import tick
from trimtab.loop.views.overview import overview
from trimtab.model import registry
from trimtab.model.load import LoadedModel, load
from trimtab.model.witness import arrays
from trimtab.monitor.log import catalogue, history
from trimtab.store import label_requests, operations, runs, versions
from trimtab.store.records import Incident, Rollout
from trimtab.testing.weeks import DAY, NUMBERS, SIX, TWENTY, WORDS, Chapter, World

NAME = "parcels"
HISTORY = 84
STEPS = 4
BATCH = 4
PATIENCE = 180.0
MARGIN = 0.03
RECOVERY = 21
"""Days after a change by which the champion must be within MARGIN of a model of the new world."""
AFTER = 16
"""Days after a chapter in which an incident counts as the chapter's own."""
OWN: dict[str, set[str]] = {
    "sudden": {"concept drift", "requirement", "data drift"},
    "gradual": {"concept drift", "requirement", "data drift"},
    "covariate": {"data drift"},
    "nulls": {"broken input", "data drift"},
    "unit": {"broken input", "skew", "data drift"},
    "no labels": set(),
    "kill": {"traffic change", "latency change"},
    "kill job": set(),
    "deploy": set(),
}
PROJECT = """\
[project]
name = "parcels"
owner = "dispatch@example.org"
purpose = "Which parcels will be late; the depot calls the customer"
[data.history]
source = "data/history/*.parquet"
key = "parcel_id"
time = "sent_at"
target = "late"
[model]
decide = "P(True) >= 0.5"
[require]
roc_auc = { min = 0.70 }
latency_ms = { p99 = 1000 }
[serve]
rollout = ["shadow", "20%", "100%"]
labels = "data/outcomes/*.parquet"
[retrain]
on = ["drift", "requirement"]
min_rows = 1000
"""
PIPELINE = '''\
"""Which parcels are late: learned from those that were."""

import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from trimtab import Candidate, Dataset, flow, search, step


@step
def known(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.drop_nulls("late").unique("parcel_id", keep="last", maintain_order=True)


def estimator(strength: float = 1.0) -> Pipeline:
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS_),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS_),
    )
    return make_pipeline(prepare, LogisticRegression(C=strength, max_iter=500))


@flow
def train(history: Dataset, seed: int = 0) -> Candidate:
    return search(estimator, known(history), space={"strength": (0.1, 3.0)}, trials=2, cv=3, seed=seed)
'''


@dataclass
class Clock:
    """The one clock of all processes; it only ever goes forward."""

    path: Path

    def to(self, moment: int) -> None:
        ids.set_offset(self.path, moment - time.time_ns() // 1_000)


@dataclass
class Life:
    """One project's weeks: what was sent, what is not known yet, what was seen."""

    world: World
    folder: Path
    clock: Clock
    days: int
    project: Project
    sent: int = 0
    resent: int = 0
    outcomes: pl.DataFrame | None = None
    files: int = 0
    killed: list[int] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)

    @property
    def command(self) -> Command:
        return Command(self.folder, patience=PATIENCE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weeks", type=int, default=20, choices=(6, 20))
    parser.add_argument("--keep", type=Path, help="a folder for the projects; they stay")
    parser.add_argument("--json", action="store_true", help="a document a line")
    parser.add_argument("--live", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.live:
        print(json.dumps(live(asked.seed, asked.weeks, asked.live)))
        return 0
    kept = True
    for seed in range(asked.seed, asked.seed + asked.seeds):
        with place(asked.keep, seed) as folder:
            found = apart(seed, asked.weeks, folder)
        kept = kept and all(one["kept"] for one in found["promises"])
        if asked.json:
            print(json.dumps(found), flush=True)
        else:
            show(found)
    return 0 if kept else 1


@contextmanager
def place(keep: Path | None, seed: int) -> Iterator[Path]:
    if keep is not None:
        folder = keep / f"seed-{seed}"
        folder.mkdir(parents=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="trimtab-weeks-") as made:
        yield Path(made)


def apart(seed: int, weeks: int, folder: Path) -> dict[str, Any]:
    """Live a seed in a process under a clock of its own, from the next Monday on."""
    clock = folder / "clock"
    ids.set_offset(clock, 0)
    done = subprocess.run(
        [sys.executable, __file__, "--live", str(folder), "--seed", str(seed),
         "--weeks", str(weeks)],
        env={**os.environ, ids.CLOCK: str(clock), "POLARS_MAX_THREADS": "1"},
        stdout=subprocess.PIPE, check=True, encoding="utf-8",
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def live(seed: int, weeks: int, folder: Path) -> dict[str, Any]:
    begun = time.perf_counter()
    start = (ids.now() // (7 * DAY) + 2) * 7 * DAY - 3 * DAY
    world = World(seed=seed, start=start, story=TWENTY if weeks == 20 else SIX)
    clock = Clock(folder / "clock")
    clock.to(start - 3_600_000_000)
    life = Life(
        world=world, folder=folder, clock=clock, days=weeks * 7, project=begin(world, folder)
    )
    try:
        for day in range(life.days):
            live_day(life, day)
        found = report(life)
    finally:
        life.command.ask("down", codes=range(256))
    found["seconds"] = round(time.perf_counter() - begun, 1)
    return found


def begin(world: World, folder: Path) -> Project:
    """A person writes the project, trains the first model and deploys it."""
    source = folder / "data" / "history"
    source.mkdir(parents=True)
    (folder / "data" / "outcomes").mkdir()
    world.history(HISTORY).write_parquet(source / "history.parquet")
    (folder / "trimtab.toml").write_text(PROJECT, encoding="utf-8")
    code = PIPELINE.replace("NUMBERS_", str(list(NUMBERS))).replace("WORDS_", str(list(WORDS)))
    (folder / "pipeline.py").write_text(code, encoding="utf-8")
    command = Command(folder, patience=PATIENCE)
    command.call("data", "add", "history")
    command.call("run")
    command.call("deploy")
    return open_project(folder)


def live_day(life: Life, day: int) -> None:
    truth = life.world.day(day)
    rows = life.world.as_sent(truth, day)
    for step in range(STEPS):
        edges = [life.world.midnight(day) + DAY * (step + more) // STEPS for more in (0, 1)]
        moments = truth["sent_at"].dt.timestamp("us").to_numpy()
        part = (moments >= edges[0]) & (moments < edges[1])
        if step == 2 and life.world.during(day, "kill"):
            kill(life, day)
        send(life, rows.filter(pl.Series(part)))
        expect(life, truth.filter(pl.Series(part)))
        life.clock.to(edges[1])
        if step % 2:
            arrive(life, edges[1])
        settle(life, day)
    people(life, day)
    look(life, day)


def send(life: Life, rows: pl.DataFrame) -> None:
    """Parcels go out in the order of their time; who gets no answer asks again after a pass."""
    endpoint = operations.endpoint(life.project.ws, NAME)
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=30)
    for some in rows.iter_slices(BATCH):
        life.clock.to(int(some["sent_at"].dt.timestamp("us").max()))
        body = json.dumps(
            {"rows": some.select([*NUMBERS, *WORDS]).to_dicts(), "ids": some["parcel_id"].to_list()}
        ).encode()
        try:
            post(connection, body)
        except (OSError, http.client.HTTPException):
            life.resent += len(some)
            settle(life, -1)
            endpoint = operations.endpoint(life.project.ws, NAME)
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=30)
            post(connection, body)
        life.sent += len(some)
    connection.close()


def post(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/predict", body, {"content-type": "application/json"})
    response = connection.getresponse()
    said = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {said[:500]!r}")


def expect(life: Life, truth: pl.DataFrame) -> None:
    known = truth.drop_nulls("known_at").select(
        pl.col("parcel_id").alias("prediction_id"), "late", pl.col("known_at").alias("labelled_at")
    )
    life.outcomes = known if life.outcomes is None else pl.concat([life.outcomes, known])


def arrive(life: Life, moment: int) -> None:
    """Outcomes that became known since the last time come as one more file."""
    if life.outcomes is None:
        return
    due = life.outcomes["labelled_at"].dt.timestamp("us") <= moment
    fresh, life.outcomes = life.outcomes.filter(due), life.outcomes.filter(~due)
    if len(fresh):
        path = life.folder / "data" / "outcomes" / f"{life.files:05d}.parquet"
        fresh.write_parquet(path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        life.files += 1


def settle(life: Life, day: int) -> None:
    """Pass after pass until the controller waits for nothing but the world."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        begun = time.perf_counter()
        done = tick(life.project)
        life.ticks.append(time.perf_counter() - begun)
        life.said += [
            (day, f"{one.kind}: {one.result.get('said', one.state)}") for one in done.acted
        ]
        if done.settled:
            return
        if life.world.during(day, "kill job") and not life.struck:
            strike(life)
        elif not done.acted:
            time.sleep(0.1)
    raise RuntimeError(f"the controller did not come to rest: {done.waiting}")


def kill(life: Life, day: int) -> None:
    """Power off: the endpoint's processes are gone without a word."""
    endpoint = operations.endpoint(life.project.ws, NAME)
    os.killpg(endpoint.pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(endpoint.pid, 0)
    life.killed.append(day)


def strike(life: Life) -> None:
    """Kill a retrain in the middle: once its flow has begun and before its model is packaged."""
    ws = life.project.ws
    for action in operations.actions(ws, kind="retrain"):
        if action.state != "running":
            continue
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and action.state == "running":
            flows = [one.id for one in runs.find(ws, kind="flow") if one.id > action.id]
            if any(runs.find(ws, parent=one) for one in flows):
                os.killpg(action.result["pid"], signal.SIGKILL)
                life.struck.append(action.id)
                return
            time.sleep(0.01)
            action = next(
                one for one in operations.actions(ws, kind="retrain") if one.id == action.id
            )


def people(life: Life, day: int) -> None:
    """Somebody mends what broke upstream and closes its incident the day after; one day somebody
    deploys the first model again, since its world is back.
    """
    for chapter in life.world.story:
        if chapter.kind == "deploy" and day == chapter.begin:
            life.command.call(
                "deploy", f"{NAME}@v1", "--direct", "--by", "maria", "--reason", "roads are back"
            )
        if chapter.kind in ("nulls", "unit") and day == chapter.end:
            for one in operations.incidents(life.project.ws, state="open", endpoint=NAME):
                if one.kind in OWN[chapter.kind] and day_of(life, one.opened_at) >= chapter.begin:
                    life.command.call(
                        "incidents", "resolve", one.id, "--note", f"{chapter.column} was mended"
                    )


def look(life: Life, day: int) -> None:
    """How good the champion is in truth, and what the controller says of it."""
    champion = champion_of(life.project, NAME)
    assert champion is not None
    fresh = life.world.present(day, 4_000)
    life.quality.append(
        {
            "day": day,
            "champion": champion.label,
            "auc": round(area_of(life, champion.digest, fresh), 4),
            "sentence": overview(life.project).sentence,
        }
    )


_models: dict[str, LoadedModel] = {}


def area_of(life: Life, digest: str, rows: pl.DataFrame) -> float:
    if digest not in _models:
        _models[digest] = load(registry.folder(life.project.ws, digest))
    model = _models[digest]
    score = model.predict(arrays(rows, model.signature)).score
    return area(rows["late"].to_numpy(), np.asarray(score, dtype=np.float64))


def area(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """The area under the ROC curve by ranks, ties counted half."""
    ranks = pl.Series(score).rank().to_numpy()
    yes = int(truth.sum())
    return float((ranks[truth].sum() - yes * (yes + 1) / 2) / (yes * (len(truth) - yes)))


def report(life: Life) -> dict[str, Any]:
    promises = [
        {"promise": check.__doc__, "kept": not failures, "failures": failures}
        for check in PROMISES
        if (failures := check(life)) is not None
    ]
    ws = life.project.ws
    found = sorted(operations.incidents(ws), key=lambda one: one.opened_at)
    return {
        "seed": life.world.seed,
        "days": life.days,
        "sent": life.sent,
        "resent": life.resent,
        "ticks": len(life.ticks),
        "tick_ms": [round(1e3 * float(np.quantile(life.ticks, q)), 1) for q in (0.5, 0.95, 1.0)],
        "promises": promises,
        "incidents": [
            {"day": day_of(life, one.opened_at), "kind": one.kind, "severity": one.severity,
             "state": one.state, "false": is_false(life, one), "title": one.title[:160]}
            for one in found
        ],
        "retrains": [
            {"day": day_of(life, one.created_at), "state": one.state, "cause": one.cause["kind"],
             "said": one.result.get("said", ""), "reason": one.result.get("reason", "")[:300]}
            for one in reversed(operations.actions(ws, kind="retrain"))
        ],
        "rollouts": [
            {"opened": day_of(life, one.opened_at), "closed": day_of(life, one.closed_at),
             "state": one.state, "reason": one.reason[:200]}
            for one in reversed(operations.rollouts(ws))
        ],
        "requests": [
            {"day": day_of(life, one.opened_at), "state": one.state, "wanted": one.wanted,
             "answered": one.answered} for one in label_requests.find(ws, endpoint=NAME)
        ],
        "quality": [[one["day"], one["champion"], one["auc"]] for one in life.quality],
    }  # fmt: skip


def day_of(life: Life, moment: int) -> int:
    return (moment - life.world.start) // DAY


def changes(life: Life) -> list[Chapter]:
    return [one for one in life.world.story if one.kind in ("sudden", "gradual")]


def recovered(life: Life) -> list[str]:
    """quality is back within the margin of a model of the new world after each real drift"""
    failures = []
    for one in changes(life):
        by = min(one.end + RECOVERY, life.days - 1)
        rows = life.world.present(by)
        best = fresh_model(life, by, rows)
        champion = next(each["champion"] for each in life.quality if each["day"] == by)
        digest = versions.get(life.project.ws, "model", champion).digest
        reached = area_of(life, digest, rows)
        if reached < best - MARGIN:
            failures.append(f"day {by}: {champion} has {reached:.3f}, a fresh model {best:.3f}")
    return failures


def fresh_model(life: Life, day: int, rows: pl.DataFrame) -> float:
    """What the project's own estimator reaches with 20,000 rows of a day's world."""
    import runpy

    code = runpy.run_path(str(life.folder / "pipeline.py"))
    half = len(rows) // 2
    columns = [*NUMBERS, *WORDS]
    fitted = code["estimator"]().fit(rows[:half].select(columns), rows[:half]["late"].to_numpy())
    score = fitted.predict_proba(rows[half:].select(columns))[:, 1]
    return area(rows[half:]["late"].to_numpy(), score)


def one_each(life: Life) -> list[str]:
    """at most one retrain for each real drift, and none for anything else"""
    failures = []
    days = [
        day_of(life, one.created_at) for one in operations.actions(life.project.ws, kind="retrain")
    ]
    own = {
        one: [day for day in days if one.begin <= day < one.end + RECOVERY] for one in changes(life)
    }
    failures += [f"{len(mine)} retrains after day {one.begin}: {mine}"
                 for one, mine in own.items() if len(mine) > 1]  # fmt: skip
    claimed = {day for mine in own.values() for day in mine}
    failures += [f"a retrain on day {day} without a drift" for day in days if day not in claimed]
    return failures


def no_worse(life: Life) -> list[str]:
    """no promotion of a model that is worse than the one it replaces, on 20,000 fresh rows"""
    return [
        f"day {day}: {new:.3f} replaced {old:.3f}"
        for day, new, old in (promotion(life, one) for one in promoted(life))
        if new < old
    ]


def promoted(life: Life) -> list[Rollout]:
    return operations.rollouts(life.project.ws, state="promoted")


def promotion(life: Life, one: Rollout) -> tuple[int, float, float]:
    day = day_of(life, one.closed_at)
    rows = life.world.present(day)
    return day, area_of(life, one.candidate, rows), area_of(life, one.champion, rows)


def calm(life: Life) -> list[str]:
    """calm weeks page nobody beyond the budget of 0.1 a month"""
    false = [one for one in operations.incidents(life.project.ws) if is_false(life, one)]
    pages = [one for one in false if one.severity == "page"]
    if len(pages) <= 1 * (life.days >= 70):
        return []
    return [f"day {day_of(life, one.opened_at)}: {one.kind}: {one.title[:160]}" for one in pages]


def is_false(life: Life, incident: Incident) -> bool:
    """Whether no chapter explains an incident."""
    day = day_of(life, incident.opened_at)
    if incident.kind == "retrain refused":
        return True
    return not any(
        incident.kind in OWN[one.kind] and one.begin <= day <= one.end + AFTER
        for one in life.world.story
    )


def named(life: Life) -> list[str]:
    """each drift and each broken column has an incident by its name"""
    failures = []
    names = {"sudden": "concept drift", "gradual": "concept drift", "nulls": "broken input",
             "unit": "broken input"}  # fmt: skip
    found = operations.incidents(life.project.ws)
    for one in life.world.story:
        wanted = names.get(one.kind)
        mine = [each for each in found if each.kind == wanted
                and one.begin <= day_of(life, each.since) + 2
                and one.begin <= day_of(life, each.opened_at) <= one.end + AFTER]  # fmt: skip
        if wanted and not mine:
            failures.append(f"day {one.begin}: {one.title}: no {wanted}")
        if one.column and mine and not any(one.column in each.title for each in mine):
            failures.append(f"day {one.begin}: {one.column} is not named: {mine[0].title}")
    return failures


def honest(life: Life) -> list[str]:
    """without labels it says that it cannot know, and asks for them"""
    failures = []
    for one in life.world.story:
        if one.kind != "no labels":
            continue
        said = [each for each in life.quality if one.begin + 5 <= each["day"] < one.end]
        failures += [f"day {each['day']}: {each['sentence']}" for each in said
                     if "Nothing is off course" in each["sentence"]]  # fmt: skip
        asked = [each for each in label_requests.find(life.project.ws, endpoint=NAME)
                 if one.begin <= day_of(life, each.opened_at) <= one.end]  # fmt: skip
        if not asked:
            failures.append(f"days {one.begin} to {one.end}: no label was asked for")
    return failures


def whole(life: Life) -> list[str]:
    """every answer is in the log, a killed endpoint or not, and `doctor` finds all well"""
    failures = []
    ws = life.project.ws
    with catalogue.open_catalogue(local.folder(ws, NAME)) as index:
        known = sum(
            len(
                history.read(
                    index, registry.signature_of(ws, one.digest), one.digest, tail=True
                ).ids
            )
            for one in versions.find(ws, "model", NAME)
        )
    counted = sum(one.rows for one in operations.windows(ws, endpoint=NAME) if one.role != "shadow")
    if counted < life.sent:
        failures.append(f"{life.sent} rows were answered, {counted} were counted")
    if known < life.sent:
        failures.append(f"{life.sent} rows were answered, {known} are in the log")
    health = life.command.ask("doctor", codes=range(256)).body
    failures += [one["message"] for one in health["checks"] if not one["ok"]]
    if len(life.killed) != sum(one.kind == "kill" for one in life.world.story):
        failures.append("nothing was killed")
    return failures


def taken_up(life: Life) -> list[str] | None:
    """a retrain that is killed in the middle is taken up, with one model and one rollout"""
    if not any(one.kind == "kill job" for one in life.world.story):
        return None
    if not life.struck:
        return ["no retrain was killed"]
    failures = []
    every = operations.actions(life.project.ws, kind="retrain")
    for one in (each for each in every if each.id in life.struck):
        if one.state != "done" or one.result.get("attempts") != 2:
            failures.append(f"it is {one.state} after {one.result.get('attempts')} attempts")
        opened = [each for each in operations.rollouts(life.project.ws)
                  if each.cause.get("action") == one.id]  # fmt: skip
        if len(opened) != 1:
            failures.append(f"it has {len(opened)} rollouts")
    models = len(versions.find(life.project.ws, "model", NAME))
    if models != 1 + sum(one.state == "done" for one in every):
        failures.append(f"{models} models of {len(every)} retrains")
    return failures


def respected(life: Life) -> list[str] | None:
    """a model that a person deploys stays: it is not retrained, rolled back or told of"""
    failures = []
    for one in life.world.story:
        if one.kind != "deploy":
            continue
        failures += [f"day {each['day']}: {each['champion']} answers" for each in life.quality
                     if each["day"] >= one.begin and each["champion"] != f"{NAME}@v1"]  # fmt: skip
        moment = life.world.midnight(one.end)
        acted = [*operations.rollouts(life.project.ws), *operations.incidents(life.project.ws)]
        failures += [f"day {day_of(life, each.opened_at)}: {each}" for each in acted
                     if each.opened_at >= moment]  # fmt: skip
    return failures if any(one.kind == "deploy" for one in life.world.story) else None


PROMISES: list[Callable[[Life], list[str] | None]] = [
    recovered, one_each, no_worse, calm, named, honest, whole, taken_up, respected
]  # fmt: skip


def show(found: dict[str, Any]) -> None:
    kept = sum(one["kept"] for one in found["promises"])
    print(f"seed {found['seed']}: {kept} of {len(found['promises'])} promises kept, "
          f"{found['days'] // 7} weeks in {found['seconds']:.0f} s, {found['ticks']} passes of "
          f"{found['tick_ms'][0]:.0f} ms (median), {found['sent']:,} answers")  # fmt: skip
    for one in found["promises"]:
        print(f"  {'kept  ' if one['kept'] else 'BROKEN'} {one['promise']}")
        for failure in one["failures"]:
            print(f"           {failure}")
    for one in found["incidents"]:
        print(f"  incident day {one['day']:3} {one['severity']:6} {one['state']:8} "
              f"{'FALSE ' if one['false'] else ''}{one['kind']}: {one['title'][:110]}")  # fmt: skip
    for one in found["retrains"]:
        print(f"  retrain  day {one['day']:3} {one['state']}: {one['said']} {one['reason']}")
    for one in found["rollouts"]:
        print(
            f"  rollout  day {one['opened']:3} to {one['closed']:3} {one['state']}: {one['reason'][:120]}"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
