"""`trimtab replay`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import NotFoundError, StorageError

if TYPE_CHECKING:  # brings numpy, polars and the database
    from trimtab.loop.project import Project
    from trimtab.loop.replay.engine import Ask
    from trimtab.loop.replay.report import Figure, Replayed

_TOLD = 10


@verb(
    "replay",
    "trimtab replay",
    "trimtab replay loans@v3 --window 1w --delay 30d --every 4",
    "trimtab replay power.csv --target class --in-order --estimator boosting --svg power.svg",
)
@click.argument("source", metavar="[SOURCE]", default="")
@click.option(
    "--policies",
    default="never,schedule,drift,continuous",
    show_default=True,
    help="Which to compare; never is always among them.",
)
@click.option("--window", default="", help="Rows or a time: 500, 1d (default: 50 windows).")
@click.option("--delay", default="0", show_default=True, help="When labels come: 500 rows, 7d.")
@click.option(
    "--first",
    type=click.FloatRange(0.01, 0.9),
    default=0.2,
    show_default=True,
    help="The share of rows that all are trained on at first.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Windows between scheduled trainings.",
)
@click.option("--min-rows", type=click.IntRange(10), help="Labelled rows that drift waits for.")
@click.option("--refit", is_flag=True, help="Continuous training without partial_fit: fit anew.")
@click.option("--loss", default="", help="log_loss, error, absolute_error or squared_error.")
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    help="How sure a gain must be.",
)
@click.option("--target", default="", metavar="COLUMN", help="What is predicted.")
@click.option("--time", default="", metavar="COLUMN", help="When a row came.")
@click.option("--in-order", is_flag=True, help="Rows stand in order of time: no column says it.")
@click.option(
    "--estimator",
    default="",
    metavar="NAME",
    help="linear, boosting, bayes or MODULE:FACTORY (default: the champion's; linear for a file).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="For the fits.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw it here.")
def replay(session: Session, source: str, svg: Path | None, **said: Any) -> None:
    """Decide by history whether to train once, or when again.

    History is run again, test then train, under each policy, and what they lose and cost is
    compared. SOURCE is a source of the project or a version of it, by default the one with the
    target; NAME@all is every version of it. The estimator is the champion's. Or SOURCE is a csv
    or parquet file. In a project the
    replay is kept as a run. Nothing is promoted or changed.
    """
    project = _project(session)
    with contextlib.redirect_stdout(sys.stderr):  # the project's own code may print
        found = _replay(project, source, said)
    if svg is not None:
        from trimtab.loop.replay import picture

        try:
            svg.write_text(picture.svg(found), "utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {svg}: {error.strerror}") from error
    session.answer(found, _render)


def _project(session: Session) -> Project | None:
    """The project, None where there is none: a file can be replayed anywhere."""
    try:
        return session.project()
    except NotFoundError:
        return None


def _replay(project: Project | None, source: str, said: dict[str, Any]) -> Replayed:
    from trimtab.loop.replay import engine, kept
    from trimtab.loop.replay import source as sources

    ask = _ask(project, said)
    engine.check(ask)
    wish = sources.Wish(
        target=said["target"],
        time=said["time"],
        in_order=said["in_order"],
        estimator=said["estimator"],
        seed=said["seed"],
    )
    tell = _Teller()
    path = Path(source)
    is_file = bool(source) and (path.suffix != "" or path.is_file())
    if is_file and not path.is_file():
        raise NotFoundError(
            f"there is no file {path}",
            hint="a source of the project has no suffix: loans, loans@v3",
        )
    if project is None and not is_file:
        from trimtab import config

        config.find()  # says how to begin a project
    if project is None:
        found = kept.of_source(sources.of_file(path, wish, Path.cwd()), ask, tell)
        note("not kept: there is no project here")
        return found
    home = project

    def find(run: str) -> sources.Source:
        if is_file:
            return sources.of_file(path, wish, home.folder)
        return sources.of_project(home, source, wish, run)

    return kept.replay(home, find, ask, _params(source, said), tell)


def _ask(project: Project | None, said: dict[str, Any]) -> Ask:
    from trimtab.loop.replay.engine import Ask
    from trimtab.loop.replay.history import Cut
    from trimtab.loop.replay.policies import Settings
    from trimtab.schedule import RetrainConfig

    config = project.config if project else None
    usual = config.retrain.min_rows if config else RetrainConfig().min_rows
    return Ask(
        policies=tuple(one.strip() for one in said["policies"].split(",") if one.strip()),
        cut=Cut(window=said["window"], delay=said["delay"], first=said["first"]),
        settings=Settings(
            every=said["every"], min_rows=said["min_rows"] or usual, refit=said["refit"]
        ),
        loss=said["loss"],
        level=said["level"],
        seed=said["seed"],
        pages=config.monitor.false_pages_per_month if config else 0.1,
        price=config.serve.price_per_hour if config else 0.0,
        selected=bool(config and config.serve.label_policy == "selected"),
    )


def _params(source: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"source": source} | {
        key: value for key, value in said.items() if value not in ("", None)
    }


class _Teller:
    """Tells of each tenth of a policy's windows on stderr."""

    def __init__(self) -> None:
        self._told = (-1, "")

    def __call__(self, done: int, total: int, text: str) -> None:
        tenth = (done * _TOLD // total, text)
        if tenth == self._told:
            return
        self._told = tenth
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            sys.stderr.write(f"\r{text}: window {done} of {total}{end}")
            sys.stderr.flush()
        elif done == total or done * 2 // total != (done - 1) * 2 // total:
            note(f"{text}: window {done} of {total}")


def _render(found: Replayed) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    names = list(found.policies[0].losses)
    paper.say(
        f"{found.source}: {found.rows:,} rows, {found.estimator}; trained on the first "
        f"{found.first_rows:,}, tested on {len(found.windows)} windows"
    )
    rows = []
    for one in found.policies:
        trained = f"{one.updates} updates" if one.updates else str(len(one.retrains))
        rows.append(
            (
                one.policy,
                *(_figure(one.losses[name]) for name in names),
                _gain(found, one.gain),
                words.number(one.kappa_temporal) if one.kappa_temporal is not None else "",
                trained,
                f"{one.seconds:.2f}",
                words.number(one.cost) if one.cost is not None else "",
                _windows([fit.window for fit in one.retrains]),
            )
        )
    for guess in found.guesses:
        shown = [_figure(guess.losses[name]) if name in guess.losses else "" for name in names]
        rows.append((guess.name, *shown, "", "", "", "", "", ""))
    paper.table(
        [
            "policy",
            *(name.replace("_", " ") for name in names),
            "saves",
            "kappa temporal",
            "retrains",
            "seconds",
            "cost",
            "before window",
        ],
        rows,
        right=["saves", "kappa temporal", "retrains", "seconds", "cost"],
    )
    paper.say()
    paper.say(f"{found.training} training: {found.recommends}")
    paper.say(f"because {found.because}")
    for line in found.warnings:
        paper.say(f"beware: {line}")
    for line in found.unknown:
        paper.say(f"not known: {line}")
    for line in found.notes:
        paper.say(f"note: {line}")
    if found.run:
        paper.say(f"run {found.run}")


def _figure(one: Figure) -> str:
    from trimtab.server import words

    return f"{words.number(one.value)} {words.interval(one.lo, one.hi)}"


def _gain(found: Replayed, gain: Figure | None) -> str:
    static = found.policies[0].losses[found.loss].value
    return f"{gain.value / static:.1%}" if gain is not None and static > 0 else ""


def _windows(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_TOLD]))
    return f"{shown}, …" if len(numbers) > _TOLD else shown
