"""`trimtab init`: a project out of a table."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from trimtab import config
from trimtab.cli import scaffold
from trimtab.cli.scaffold import Plan
from trimtab.cli.session import Session
from trimtab.cli.verb import verb
from trimtab.errors import ConflictError, DataError, NotFoundError, StorageError, UsageError

if TYPE_CHECKING:  # describing a table brings polars
    from trimtab.data.infer import TableDescription

_YOURS: Final = (".gitignore", ".python-version")  # what is there already stays as it is


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A new project: where it is, what was written, and what the table was taken for."""

    folder: str
    written: list[str]
    kept: list[str]
    rows: int
    task: str
    target: str
    key: str
    time: str
    numbers: list[str]
    words: list[str]
    left_out: dict[str, str]
    notes: list[str]


@verb(
    "init",
    "trimtab init --from houses.csv --target price",
    "trimtab init --from loans.parquet --target repaid --protected group --time applied_at",
)
@click.option("--from", "file", type=click.Path(path_type=Path), help="A csv or parquet file.")
@click.option("--target", default="", metavar="COLUMN", help="What is to be predicted.")
@click.option("--name", default="", help="The project's name (default: the file's).")
@click.option("--key", default="", metavar="COLUMN", help="What tells rows apart.")
@click.option("--time", default="", metavar="COLUMN", help="When a row came to be.")
@click.option(
    "--protected", multiple=True, metavar="COLUMN", help="Never fitted, always evaluated."
)
def init(
    session: Session,
    file: Path | None,
    target: str,
    name: str,
    key: str,
    time: str,
    protected: tuple[str, ...],
) -> None:
    """Write a project out of a table: configuration, pipeline, test.

    `trimtab run && trimtab deploy` then takes it to a live endpoint with no edit. No file that is
    there is changed, and the table stays where it is.
    """
    folder = (session.start or Path.cwd()).resolve()
    if (folder / config.FILE).exists():
        raise ConflictError(f"there is a project already: {folder / config.FILE}")
    if file is None or not target:
        raise UsageError(
            "say which table to begin with, and which of its columns is to be predicted",
            hint="trimtab init --from houses.csv --target price",
        )
    found = _describe(file, target)
    roles = {"key": key or found.key, "time": time or found.time}
    plan = _plan(found, folder, file, name, roles, protected)
    written, kept = _write(folder, scaffold.files(plan))
    begun = Begun(
        folder=str(folder),
        written=written,
        kept=kept,
        rows=found.rows,
        task=plan.task,
        target=target,
        key=plan.key,
        time=plan.time,
        numbers=list(plan.numbers),
        words=list(plan.words),
        left_out=_left_out(found, plan),
        notes=list(found.notes),
    )
    session.answer(begun, _render)


def _describe(file: Path, target: str) -> TableDescription:
    from trimtab.data import infer  # brings polars

    return infer.describe(file, target)


def _plan(
    found: TableDescription,
    folder: Path,
    file: Path,
    name: str,
    roles: dict[str, str],
    protected: tuple[str, ...],
) -> Plan:
    known = [column.name for column in found.columns]
    for column in (*roles.values(), *protected):
        if column and column not in known:
            raise NotFoundError(
                f"{file} has no column {column!r}", hint=f"it has {', '.join(known)}"
            )
    taken = {*roles.values(), *protected, found.target}
    free = [column for column in found.columns if column.name not in taken]
    numbers = [one.name for one in free if one.role == "number" or _is_flag(one.role, one.type)]
    words = [
        one.name
        for one in free
        if one.role == "category" and one.type == "text" and one.distinct <= scaffold.CATEGORIES
    ]
    if not numbers and not words:
        raise DataError(
            f"{file} has no column to predict {found.target!r} from",
            hint="; ".join(f"{column}: {why}" for column, why in found.left_out.items()),
        )
    return Plan(
        project=name or _project_name(file),
        data=scaffold.argument(file.stem),
        source=_source(file, folder),
        target=found.target,
        task=found.task,
        rows=found.rows,
        numbers=tuple(numbers),
        words=tuple(words),
        key=roles["key"],
        time=roles["time"],
        protected=protected,
        decide=_decide(found),
    )


def _is_flag(role: str, kind: str) -> bool:
    """A boolean is a number to the estimator: 0, 1 or missing."""
    return role == "category" and kind == "boolean"


def _decide(found: TableDescription) -> str:
    if found.task != "binary":
        return ""
    from trimtab.tune import roles  # the positive class is chosen where training chooses it

    positive, threshold = roles.decision("", found.classes, "binary")
    return f"P({positive}) >= {threshold}"


def _project_name(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-.") or "project"


def _source(file: Path, folder: Path) -> str:
    """The table's place from the project's folder; absolute only where it was given so."""
    whole = file.resolve()
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    return (
        whole.as_posix() if file.is_absolute() else Path(os.path.relpath(whole, folder)).as_posix()
    )


def _write(folder: Path, files: dict[str, str]) -> tuple[list[str], list[str]]:
    there = [name for name in files if (folder / name).exists()]
    in_the_way = [name for name in there if name not in _YOURS]
    if in_the_way:
        raise ConflictError(
            f"{', '.join(in_the_way)} would be overwritten in {folder}",
            hint="begin in another folder: trimtab -C FOLDER init ...",
        )
    written = [name for name in files if name not in there]
    try:
        for name in sorted(written, key=lambda name: name == config.FILE):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {error.filename}: {error.strerror}") from error
    return written, there


def _left_out(found: TableDescription, plan: Plan) -> dict[str, str]:
    used = {*plan.numbers, *plan.words, *plan.protected, plan.key, plan.time, plan.target}
    return {
        column.name: column.reason or f"it has {column.distinct} categories"
        for column in found.columns
        if column.name not in used
    }


def _render(begun: Begun) -> None:
    from trimtab.cli import paper  # rich is loaded only to print

    paper.say(f"wrote {', '.join(begun.written)}")
    paper.facts(
        {
            "predicts": f"{begun.target} ({begun.task}), from {begun.rows:,} rows",
            "numbers": ", ".join(begun.numbers),
            "words": ", ".join(begun.words),
            "key": begun.key,
            "time": begun.time,
            "kept as it was": ", ".join(begun.kept),
        }
    )
    for column, why in begun.left_out.items():
        paper.say(f"left out {column}: {why}")
    for line in begun.notes:
        paper.say(line)
    paper.say("next: trimtab run && trimtab deploy")
