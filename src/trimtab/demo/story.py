"""The demo itself: seven acts in which a lending model is built, refused, put right, and kept right.

It does what a user does, with the `trimtab` command and HTTP, in a folder of its own. It promises
an exit code of 0 only where every act ended as it says. The world is `loans`, the user's project
lies in `project/`.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from trimtab.demo.command import Command, Failure, verdicts
from trimtab.demo.loans import Shift, World, as_first_delivered
from trimtab.demo.screen import Screen
from trimtab.demo.traffic import Outcomes, send

REFUSED: Final = 3
ROWS_A_DAY: Final = 600
CALM: Final = range(3)
SHIFTED: Final = range(3, 6)
SWITCHED: Final = range(6, 10)
LONGEST: Final = 24
"""Live days. From the first of `SWITCHED` on the meaning of the inputs has changed and the inputs
have not; the corrected course is measured until `LONGEST` at most."""
AFTERWARDS: Final = 2
"""Days that the new champion answers alone before the story is told."""


class Day(NamedTuple):
    """One live day as the demo saw it: what the world did, and the answered applications."""

    number: int
    shift: Shift
    answered: pl.DataFrame


@dataclass
class Stage:
    """What the acts share. `events` are what the controller did, by the day it did it."""

    folder: Path
    world: World
    rows: int
    screen: Screen
    command: Command
    outcomes: Outcomes
    url: str = ""
    days: list[Day] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)


def main(seed: int = 0, keep: Path | None = None, rows: int = 12_000) -> int:
    """Run the demo in `keep` (new or empty; it stays) or a temporary folder; 0 where all went well."""
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="trimtab-demo-")) if keep is None else keep.resolve()
    try:
        if folder.exists() and any(folder.iterdir()):
            raise Failure(f"{folder} is not empty")
        folder.mkdir(parents=True, exist_ok=True)
        stage = Stage(
            folder=folder,
            world=World(seed=seed),
            rows=rows,
            screen=screen,
            command=Command(folder),
            outcomes=Outcomes(folder / "data" / "outcomes"),
        )
        play(stage)
    except Failure as failure:
        screen.say(f"The demo stopped: {failure}")
        return 1
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    screen.say(f"All of it in {screen.total():.0f} s.")
    if keep is not None:
        screen.say(f"The project stays in {folder}; look around with `trimtab status`.")
    return 0


def play(stage: Stage) -> None:
    """All acts in order; whatever happens, the endpoint is stopped at the end."""
    acts = {
        "Data": ("a named source becomes a version with a record", data),
        "Train": ("a flow runs once, and again for nothing", train),
        "Gate": ("requirements decide, first no, then yes", gate),
        "Serve": ("one graph, one endpoint, every answer on record", serve),
        "Drift": ("the applicants change, then the meaning of what they write", drift),
        "Steer": ("the loop retrains, gates, rolls out, and closes the incidents", steer),
        "Account": ("from a prediction back to its causes, byte for byte", account),
    }
    try:
        for name, (title, act) in acts.items():
            with stage.screen.act(name, title):
                act(stage)
        summary(stage)
    finally:
        if (stage.folder / ".trimtab").exists():
            stage.command.ask("down", codes=range(256))


def data(stage: Stage) -> None:
    """Two deliveries of the history, the second one longer and corrected."""
    history = stage.world.history(stage.rows)
    source = stage.folder / "data" / "applications"
    source.mkdir(parents=True)
    write_project(stage.folder, "first")
    as_first_delivered(history).write_parquet(source / "history.parquet")
    for _ in range(2):
        added = stage.command.call("data", "add", "applications")
        version = added["version"]
        stage.screen.say(
            f"{version['name']}@v{version['number']}: {added['rows']:,} rows, {version['digest'][:23]}…"
        )
        history.write_parquet(source / "history.parquet")
    found = stage.command.call("data", "diff", "applications@v1", "applications@v2")
    stage.screen.say(
        f"by {found['key']}: {found['added']:,} rows added, {found['removed']} removed, "
        f"{found['changed']} changed in {', '.join(found['columns'])}"
    )
    ensure(found["added"] > 0 and found["changed"] > 0, "the diff sees added and changed rows")


def train(stage: Stage) -> None:
    """The plan, the run, and a second run that finds nothing to do."""
    for step in stage.command.call("plan")["steps"]:
        stage.screen.say(f"plan: {step['action']} {step['step']}, because {step['reason']}")
    stage.screen.doing("running the flow")
    first = stage.command.ask("run", codes=(REFUSED,)).body
    stage.screen.say(
        f"run {first['run']['id'][:12]}: {first['steps_run']} steps, {first['trials']} trials, "
        f"AUC {first['metrics']['roc_auc']:.3f} on withheld rows, "
        f"{first['run']['peak_bytes'] / 1e6:.0f} MB at most"
    )
    again = stage.command.ask("run", codes=(REFUSED,)).body
    ensure(again["nothing_to_do"], "a second run has nothing to do")
    stage.screen.say(f"again: nothing to do, {again['steps_cached']} steps are cached")


def gate(stage: Stage) -> None:
    """The first model is refused for its selection rates, the corrected one becomes champion."""
    refused = stage.command.ask("gate", codes=(REFUSED,)).body
    failed = [one for one in verdicts(refused) if one["status"] == "fail"]
    ensure(
        [one["metric"] for one in failed] == ["selection_rate"],
        "only fairness refuses the first model",
    )
    stage.screen.say(f"refused: {failed[0]['reason']}")
    write_project(stage.folder, "corrected")
    stage.screen.say("corrected: fitted on repayment instead of past approvals, no neighbourhood")
    stage.screen.doing("running the corrected flow")
    passed = stage.command.call("run")
    for one in verdicts(passed):
        stage.screen.say(f"{one['status']}: {one['reason']}")
    parity = passed["parity"]
    stage.screen.say(
        f"one {parity['engine'].upper()} graph, held against scikit-learn on {parity['rows']:,} rows: "
        f"differs by {parity['max_abs_diff']:.1g} at most, {parity['flipped']} decisions flipped"
    )
    ensure(parity["flipped"] == 0, "no decision is flipped by packaging")
    ensure(champion(stage) == "loans@v1", "the corrected model is loans@v1, champion")


def serve(stage: Stage) -> None:
    """The champion answers over HTTP, in a process of its own."""
    deployed = stage.command.call("deploy")
    stage.url = str(deployed["url"])
    stage.screen.say(str(deployed["message"]))
    live(stage, CALM, "calm")
    ensure(not incidents(stage), "calm days open no incident")
    stage.screen.say(f"{len(CALM)} calm days, {len(CALM) * ROWS_A_DAY:,} answers, no incident")


def drift(stage: Stage) -> None:
    """Other applicants, then another meaning; outcomes a day late."""
    live(stage, SHIFTED, "covariate")
    live(stage, SWITCHED, "concept")
    found = {one["kind"]: one for one in incidents(stage)}
    for one in sorted(found.values(), key=lambda one: int(one["opened_at"])):
        stage.screen.say(f"incident: {one['title']}")
    ensure(set(found) == {"data drift", "concept drift"}, "one incident each, called by its name")
    ensure(len(incidents(stage)) == len(found), "one cause, one incident")


def steer(stage: Stage) -> None:
    """The same pass as before now has evidence enough to act on."""
    day = SWITCHED.stop
    while champion(stage) != "loans@v2":
        if day >= LONGEST:
            raise Failure(f"loans@v2 is not champion after day {day}: {_last(stage)}")
        live(stage, range(day, day + 1), "concept")
        day += 1
    live(stage, range(day, day + AFTERWARDS), "concept")
    is_open = [one["kind"] for one in incidents(stage) if one["state"] == "open"]
    ensure(not is_open, "every incident is resolved by the promotion")
    stage.screen.say("loans@v2 is champion; the incidents are resolved")


def account(stage: Stage) -> None:
    """The lineage of the champion and of one prediction; every stored byte is read again."""
    prediction = stage.days[-1].answered["prediction_id"][-1]
    told = list(titles(stage.command.call("why", prediction)))
    for wanted in (
        "prediction",
        "loans@v2",
        "run train",
        "data applications@v3",
        "incident concept",
    ):
        line = next((one for one in told if one.startswith(wanted)), "")
        ensure(bool(line), f"`trimtab why` reaches {wanted}")
        stage.screen.say(f"because: {line[:100]}")
    ensure(
        bool(stage.command.call("why", "loans@champion")), "`trimtab why loans@champion` answers"
    )
    health = stage.command.call("doctor")
    ensure(health["ok"], "`trimtab doctor` finds all well")
    stage.screen.say(
        f"doctor: {health['entries']} ledger entries chain up, {health['blobs']} blobs are whole"
    )
    tamper(stage)


def tamper(stage: Stage) -> None:
    """In a copy of the project one stored number is changed by a hair; the doctor names the row."""
    with tempfile.TemporaryDirectory(prefix="trimtab-demo-") as place:
        copy = Path(place) / "copy"
        shutil.copytree(stage.folder, copy, ignore=shutil.ignore_patterns("endpoints", "work"))
        with closing(sqlite3.connect(copy / ".trimtab" / "store.db")) as store:
            first = store.execute("SELECT id FROM evidence WHERE metric = 'roc_auc'").fetchone()[0]
            store.execute("UPDATE evidence SET value = value + 0.001 WHERE id = ?", (first,))
            store.commit()
        found = Command(copy).ask("doctor", codes=(1,)).body
    said = next(one["message"] for one in found["checks"] if not one["ok"])
    ensure(first in said, "`trimtab doctor` names the row that was changed")
    stage.screen.say(f"doctor, after a change by hand in a copy: {said}")


def live(stage: Stage, days: range, shift: Shift) -> None:
    """Days of traffic: outcomes that are due come in, the loop passes, the day's rows go out."""
    for day in days:
        stage.outcomes.arrive(day, stage.world.midnight(day))
        steady(stage, day)
        stage.screen.doing(f"day {day}: {ROWS_A_DAY} applications")
        applications = stage.world.applications(day, ROWS_A_DAY, shift=shift)
        answered = send(stage.url, applications)
        stage.outcomes.expect(day, answered)
        stage.days.append(Day(day, shift, answered))


def steady(stage: Stage, day: int) -> None:
    """Pass after pass until the controller waits for nothing but the world."""
    until = time.monotonic() + stage.command.patience
    while time.monotonic() < until:
        stage.screen.doing(f"day {day}: tick")
        done = stage.command.call("tick")
        for action in done["acted"]:
            said = str(action["result"].get("said", action["kind"]))
            if (day, said) not in stage.events:
                stage.events.append((day, said))
                stage.screen.say(f"day {day}: {said[:150]}")
        if done["settled"]:
            return
        if not done["acted"]:
            stage.screen.doing(f"day {day}: {'; '.join(done['waiting'])[:100]}")
            time.sleep(0.3)
    raise Failure(f"the controller did not come to rest on day {day}: {_last(stage)}")


def summary(stage: Stage) -> None:
    """Day by day: what the world did, who answered, how good it was in truth, what was done."""
    rows = []
    for day in stage.days:
        by = ", ".join(sorted(set(day.answered["model"])))
        quality = area(day.answered["repaid"], day.answered["score"])
        done = [said for number, said in stage.events if number == day.number]
        rows.append(
            [
                str(day.number),
                day.shift,
                by,
                f"{quality:.3f}",
                f"{selection_ratio(day.answered):.2f}",
                "; ".join(_short(one) for one in done),
            ]
        )
    columns = ["day", "the world", "answered by", "AUC", "selection ratio", "the loop"]
    stage.screen.table("Before, during, after", columns, rows)
    before, during, after = (
        area_of(stage, lambda day: day.number in CALM),
        area_of(stage, lambda day: day.number in SWITCHED),
        area_of(stage, lambda day: day.number > stage.days[-1].number - AFTERWARDS),
    )
    stage.screen.say(
        f"AUC, required >= 0.76: {before:.3f} before, {during:.3f} during, {after:.3f} after"
    )
    ensure(before > 0.76 > during and after > 0.76, "quality is back above the requirement")


def ensure(held: bool, what: str) -> None:
    """Stop the demo where something it shows did not come true."""
    if not held:
        raise Failure(f"it should hold that {what}")


def incidents(stage: Stage) -> list[dict[str, Any]]:
    """Every incident, open and resolved."""
    found = stage.command.call("incidents", "ls")
    listed: list[dict[str, Any]] = found.get("incidents", found.get("items", []))
    return listed


def champion(stage: Stage) -> str:
    """The label of the champion."""
    shown = stage.command.call("models", "show", "loans@champion")
    version = shown.get("version", shown)
    return f"{version['name']}@v{version['number']}"


def titles(lineage: dict[str, Any]) -> Iterable[str]:
    """The titles of a lineage, from the top down."""
    yield str(lineage["title"])
    for cause in lineage["because"]:
        yield from titles(cause)


def area(truth: pl.Series, score: pl.Series) -> float:
    """The area under the ROC curve: how often a payer outscores a defaulter, ties counted half."""
    above, below = score.filter(truth).to_numpy()[:, None], score.filter(~truth).to_numpy()
    return float((above > below).mean() + (above == below).mean() / 2)


def area_of(stage: Stage, wanted: Any) -> float:
    """The area over some days together."""
    answered = pl.concat([day.answered for day in stage.days if wanted(day)])
    return area(answered["repaid"], answered["score"])


def selection_ratio(answered: pl.DataFrame) -> float:
    """The smaller group's share of approvals over the larger one's."""
    shares = answered.group_by("group").agg(pl.col("decision").mean())["decision"].to_list()
    return float(min(shares) / max(shares))


def write_project(folder: Path, version: str) -> None:
    """Put one version of the user's project into the folder, over the other one."""
    with as_file(files("trimtab.demo") / "project" / version) as source:
        for name in ("trimtab.toml", "pipeline.py"):
            shutil.copyfile(source / name, folder / name)


def _short(said: str) -> str:
    """The first words of what the controller did: what fits into a table."""
    head, _, rest = said.partition(": ")
    if head in ("opened", "named"):
        kind = re.match(r"(Data drift|Concept drift|Broken input|Broken join|Skew)", rest)
        return f"{head}: {kind[0].lower() if kind else 'requirement fails'}"
    if head.startswith("retrain on"):
        return " ".join(head.split()[:3]) + " rows"
    return f"{head}: {rest.partition(';')[0]}"


def _last(stage: Stage) -> str:
    return stage.events[-1][1] if stage.events else "it has done nothing yet"
