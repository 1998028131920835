"""The demo itself: seven acts in which a lending model is built, refused, put right, and kept right.

It does what a user does, with the `trimtab` command and HTTP, in a folder of its own. It promises
an exit code of 0 only where every act ended as it says. The world is `loans`, the user's project
lies in `project/`.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from trimtab.demo.command import Command, Failure
from trimtab.demo.loans import Shift, World, as_first_delivered
from trimtab.demo.screen import Screen
from trimtab.demo.traffic import Outcomes, send

REFUSED: Final = 3
ROWS_A_DAY: Final = 600
CALM: Final = range(3)
SHIFTED: Final = range(3, 5)
SWITCHED: Final = range(5, 9)
AFTERWARDS: Final = range(9, 12)
"""Live days. In the last two stretches the meaning of the inputs has changed and the inputs have
not; in the last one the corrected course is measured."""


class Day(NamedTuple):
    """One live day as the demo saw it: what the world did, and the answered applications."""

    number: int
    shift: Shift
    answered: pl.DataFrame


@dataclass
class Stage:
    """What the acts share."""

    folder: Path
    world: World
    rows: int
    screen: Screen
    command: Command
    outcomes: Outcomes
    url: str = ""
    days: list[Day] = field(default_factory=list)


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
        "Steer": ("the loop retrains, gates, rolls out, and closes the incident", steer),
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
    stage.command.call("data", "add", "applications")
    history.write_parquet(source / "history.parquet")
    stage.command.call("data", "add", "applications")
    stage.command.call("data", "diff", "applications@v1", "applications@v2")


def train(stage: Stage) -> None:
    """The plan, the run, and a second run that finds nothing to do."""
    stage.command.call("plan")
    stage.command.ask("run", codes=(0, REFUSED))
    stage.command.ask("run", codes=(0, REFUSED))


def gate(stage: Stage) -> None:
    """The first model is refused for its selection rates, the corrected one becomes champion."""
    stage.command.ask("gate", codes=(REFUSED,))
    write_project(stage.folder, "corrected")
    stage.command.call("run")


def serve(stage: Stage) -> None:
    """The champion answers over HTTP, in a process of its own."""
    stage.url = str(stage.command.call("deploy")["url"])
    live(stage, CALM, "calm")


def drift(stage: Stage) -> None:
    """Other applicants, then another meaning; outcomes a day late."""
    live(stage, SHIFTED, "covariate")
    live(stage, SWITCHED, "concept")
    stage.command.call("incidents", "ls")


def steer(stage: Stage) -> None:
    """The same pass as before now has evidence enough to act on."""
    live(stage, AFTERWARDS, "concept")
    stage.command.call("models", "ls")


def account(stage: Stage) -> None:
    """The lineage of the champion and of one prediction; every stored byte is read again."""
    prediction = stage.days[-1].answered["prediction_id"][-1]
    stage.command.call("why", "loans@champion")
    stage.command.call("why", prediction)
    stage.command.call("doctor")


def live(stage: Stage, days: range, shift: Shift) -> None:
    """Days of traffic: outcomes that are due come in, the loop passes once, the day's rows go out."""
    for day in days:
        stage.outcomes.arrive(day, stage.world.midnight(day))
        stage.screen.doing(f"day {day}: tick")
        stage.command.call("tick")
        stage.screen.doing(f"day {day}: {ROWS_A_DAY} applications")
        applications = stage.world.applications(day, ROWS_A_DAY, shift=shift)
        answered = send(stage.url, applications)
        stage.outcomes.expect(day, answered)
        stage.days.append(Day(day, shift, answered))


def summary(stage: Stage) -> None:
    """Day by day: what the world did, who answered, and how good the answers were in truth."""
    rows = []
    for day in stage.days:
        by = ", ".join(sorted(set(day.answered["model"])))
        truth, score = day.answered["repaid"], day.answered["score"]
        quality = f"{area(truth, score):.3f}"
        rows.append(
            [str(day.number), day.shift, by, quality, f"{selection_ratio(day.answered):.2f}"]
        )
    columns = ["day", "the world", "answered by", "AUC", "selection ratio"]
    stage.screen.table("Before, during, after", columns, rows)


def area(truth: pl.Series, score: pl.Series) -> float:
    """The area under the ROC curve: how often a payer outscores a defaulter, ties counted half."""
    above, below = score.filter(truth).to_numpy()[:, None], score.filter(~truth).to_numpy()
    return float((above > below).mean() + (above == below).mean() / 2)


def selection_ratio(answered: pl.DataFrame) -> float:
    """The smaller group's share of approvals over the larger one's."""
    shares = answered.group_by("group").agg(pl.col("decision").mean())["decision"].to_list()
    return float(min(shares) / max(shares))


def write_project(folder: Path, version: str) -> None:
    """Put one version of the user's project into the folder, over the other one."""
    with as_file(files("trimtab.demo") / "project" / version) as source:
        for name in ("trimtab.toml", "pipeline.py"):
            shutil.copyfile(source / name, folder / name)
