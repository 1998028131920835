"""A table held against a model's reference, a data version or another table: no endpoint needed.

The same bins, tests and names as in production. Only `record` writes anything: the windows, so that
the page shows them, and the quality of the requirements' metrics as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import config as project_file
from trimtab import hashing, ids
from trimtab.config import Config, duration
from trimtab.data.reader import TABLES
from trimtab.errors import NotFoundError, UsageError
from trimtab.loop.files import answered, looking, meaning
from trimtab.loop.files.answered import Quality
from trimtab.loop.files.base import Base, base_of, fit, said
from trimtab.loop.files.looking import Looked
from trimtab.loop.project import Project, open_project
from trimtab.loop.reports import Report
from trimtab.monitor import files
from trimtab.monitor.files import Spans, Table
from trimtab.monitor.findings import Finding, called
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes import joined
from trimtab.monitor.outcomes.quality import SHOWN
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.columns import Column, Kind
from trimtab.profile.derived import Projection
from trimtab.store import evidence, operations
from trimtab.store.records import Evidence, Window

MOST_WINDOWS: Final = 400


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """What to hold a file against, and what its columns are.

    `time` cuts rows into windows of length `window`. `truth`, `score` and `decision` name columns
    that are the outcome and the model's answers; a model's inputs are known by name.
    """

    against: str
    time: str = ""
    window: str = ""
    truth: str = ""
    score: str = ""
    decision: str = ""
    leave_out: tuple[str, ...] = ()
    record: bool = False


class Watch(Report, frozen=True, kw_only=True):
    """What was seen. `findings` holds what all windows showed, as `looking.union` joins it.

    `status` is "found", "nothing" or "undecided" (too few rows). `absent` are features that the file
    lacks, `ignored` columns that the reference does not know or cannot count.
    """

    subject: str
    against: str
    rows: int
    status: str
    findings: list[Finding]
    windows: list[Looked]
    drifted: list[str] = []
    quality: list[Quality] = []
    absent: list[str] = []
    ignored: list[str] = []
    notes: list[str] = []
    recorded: int = 0


def watch(file: Path, asked: Watching, *, start: Path | None = None) -> Watch:
    """Hold a file against a reference.

    Raises NotFoundError, UsageError and DataError; a project is opened (from `start`) only where
    `against` names a version or the result is to be recorded.
    """
    if asked.truth and not (asked.score or asked.decision):
        raise UsageError(
            "--truth goes with --score or --decision",
            hint="the column with what the model answered; without one only inputs are compared",
        )
    table = files.read(file)
    for name in (asked.time, asked.truth, asked.score, asked.decision):
        if name and name not in table:
            raise UsageError(
                f"{file.name} has no column {name!r}", hint=f"it has {', '.join(table)[:300]}"
            )
    named = [one for one in (asked.time, asked.truth, asked.score, asked.decision) if one]
    if len(set(named)) < len(named):
        raise UsageError(
            "--time, --truth, --score and --decision name columns of their own",
            hint="an outcome that is also the decision would be right in every row",
        )
    project = _project(asked, start)
    try:
        return _watched(project, file, asked, table, start)
    finally:
        if project is not None:
            project.ws.close()


def _watched(
    project: Project | None, file: Path, asked: Watching, table: Table, start: Path | None
) -> Watch:
    config = _config(project, start)
    base = _base(project, asked, config)
    for name in asked.leave_out:
        if name not in table and name not in base.reference.bins.needed:
            raise UsageError(
                f"--leave-out {name!r} is no column of {file.name} or {base.label}",
                hint=f"{file.name} has {', '.join(table)[:300]}",
            )
    _outputs_apart(base, asked)
    spans = _spans(config, asked, table)
    columns, absent = _columns(base, asked, table, spans.rows)
    missing = _missing(base, asked, table)
    unjudged = [name for name in absent if name not in missing]
    looked, newest = looking.look(base.reference, columns, unjudged, spans, config.monitor)
    found = looking.union(looked)
    told = _answers(config, asked, base, table, columns, spans, looked, file.name)
    looked, found = told.looked, looking.union(told.looked)
    recorded = _record(project, base, file, looked, told.proof) if asked.record else 0
    notes = [*spans.notes, *base.notes, *told.notes]
    left = [called(name) for name in absent if name not in missing]
    if left:
        notes.append(f"not in {file.name}, and so not judged: {', '.join(left)}")
    if missing:
        notes.append(
            f"{file.name} has no column {', '.join(missing)}, which {base.label} needs: it counts as "
            "missing in every row (--leave-out where that is meant)"
        )
    apart = [name for name in _apart(base) if name not in absent]
    if apart:
        notes.append(
            f"little can be told of {', '.join(apart)}: nearly every row of {base.label} has a word of its "
            "own (decimal commas and units make words of numbers)"
        )
    undecided = looked[-1].reason and not found
    known = {*columns, asked.time, asked.truth, asked.score, asked.decision}
    ignored = [name for name in table if name not in known]
    others = [name for name in ignored if name not in asked.leave_out]
    if others and base.model is None:
        why = f"key, time, entity or target of {base.label}, times, nested, or no column of it"
        notes.append(f"not compared: {', '.join(others)} ({why})")
    return Watch(
        subject=file.name,
        against=base.label,
        rows=len(spans.rows),
        status="found" if found else "undecided" if undecided else "nothing",
        findings=found,
        windows=looked,
        drifted=list(getattr(newest, "drifted", ())),
        quality=told.quality,
        absent=absent,
        ignored=ignored,
        notes=notes,
        recorded=recorded,
    )


def _project(asked: Watching, start: Path | None) -> Project | None:
    needed = asked.record or "@" in asked.against or hashing.is_digest(asked.against)
    if needed and not Path(asked.against).is_file():
        return open_project(start)
    if asked.record:
        return open_project(start)
    try:
        path = project_file.find(start)
    except NotFoundError:
        return None
    known = Path(asked.against).is_file() or not (path.parent / ".trimtab").is_dir()
    return None if known else open_project(start)


def _base(project: Project | None, asked: Watching, config: Config) -> Base:
    path = Path(asked.against)
    if path.is_file():
        left = {asked.truth, *asked.leave_out} - {asked.time}
        table = files.read(path)
        kept = {name: one for name, one in table.items() if name not in left}
        made = fit(_renamed(kept, asked), config, asked.time, asked.window)
        notes = said(path.name, kept, config, asked.time)
        return Base(path.name, hashing.file_digest(path), made, notes=notes)
    if project is None:
        raise NotFoundError(
            f"{asked.against!r} is no file, and there is no project here with such a version",
            hint="give a file, NAME@vN of a model or data version, or -C FOLDER",
        )
    if path.suffix.lower() in TABLES and "@" not in asked.against:
        raise NotFoundError(
            f"there is no file {asked.against} to compare with",
            hint="give a file, or NAME@vN of a model or data version",
        )
    return base_of(project.ws, asked.against, config, asked.window)


def _renamed(table: Table, asked: Watching) -> dict[str, files.Values]:
    """Columns under the names that a reference has for the model's outputs."""
    names = {asked.score: traffic.SCORE, asked.decision: traffic.DECISION}
    return {names.get(name) or name: values for name, values in table.items()}


def _columns(
    base: Base, asked: Watching, table: Table, rows: NDArray[np.int64]
) -> tuple[dict[str, Column], list[str]]:
    """The reference's features in the file, filled with nothing where the file lacks them."""
    given = _renamed(table, asked)
    bins = base.reference.bins
    numbers = {cells.name for cells in bins.features if isinstance(cells, NumberCells)}
    made = {one.column: one.names for one in bins.derived}
    vectors = {one.column for one in bins.derived if isinstance(one, Projection)}
    found: dict[str, Column] = {}
    absent: list[str] = []
    for name in bins.needed:
        kind: Kind = "category"
        if name in numbers | vectors:
            kind = "number" if name in numbers else "embedding"
        if name in given and name not in asked.leave_out:
            values = files.column(given[name], kind)[rows]
            if name == traffic.DECISION and base.model is not None:
                classes = [traffic.text(one) for one in base.model.signature.classes]
                values = files.spelled(values, classes)
            found[name] = values
        else:
            absent += made.get(name, (name,))
            found[name] = files.absent(kind, len(rows))
    if len(absent) == len(bins.features):
        raise UsageError(
            f"the table has no column of {base.label}",
            hint=f"that has {', '.join(bins.needed)[:300]}",
        )
    return found, absent


def _apart(base: Base) -> list[str]:
    """Categories whose levels hardly ever come twice: any other row is new, and ordinary."""
    cells = [one for one in base.reference.bins.features if isinstance(one, CategoryCells)]
    return [one.name for one in cells if 2 * one.once > base.reference.profile.rows]


def _missing(base: Base, asked: Watching, table: Table) -> list[str]:
    """The model's inputs that the file has no column for: its rows could not be scored."""
    if base.model is None:
        return []
    inputs = (column.name for column in base.model.signature.inputs)
    return [name for name in inputs if name not in table and name not in asked.leave_out]


def _config(project: Project | None, start: Path | None) -> Config:
    """The project's settings, read without its store where nothing else is needed of it; the defaults
    where there is no project.
    """
    if project is not None:
        return project.config
    try:
        return project_file.load(project_file.find(start))
    except NotFoundError:
        return project_file.parse({"project": {"name": "none"}})


def _outputs_apart(base: Base, asked: Watching) -> None:
    """Refuse an input of the model for its score or decision."""
    known = base.model.signature.inputs if base.model else ()
    for option, name in (("--score", asked.score), ("--decision", asked.decision)):
        if name and any(one.name == name for one in known):
            raise UsageError(
                f"{option} {name!r} is an input of {base.label}",
                hint="name the column that holds what the model answered",
            )


def _spans(config: Config, asked: Watching, table: Table) -> Spans:
    count = files.rows(table)
    if not asked.time:
        if asked.window:
            raise UsageError("--window goes with --time COLUMN")
        return Spans(np.arange(count), np.empty(0, np.int64), [0], [0], 0, [])
    span = duration(asked.window or config.monitor.window)
    if span <= 0:
        raise UsageError("a window has a length above 0", hint="such as --window 1d")
    return files.cut(table, asked.time, span, config.project.timezone, most=MOST_WINDOWS)


class _Told(NamedTuple):
    """What the model's answers in a file show, beside what its inputs did."""

    looked: list[Looked]
    quality: list[Quality]
    proof: list[Evidence]
    notes: list[str]


def _answers(
    config: Config,
    asked: Watching,
    base: Base,
    table: Table,
    columns: Mapping[str, Column],
    spans: Spans,
    looked: list[Looked],
    name: str,
) -> _Told:
    if not asked.score and not asked.decision:
        return _Told(looked, [], [], [])
    if base.model is None:
        why = "quality is measured against a model version, not against a table"
        return _Told(looked, [], [], [why])
    given = answered.Answered(_renamed(table, asked), spans.rows, asked.truth)
    if not asked.truth:
        quality, notes = answered.estimated(base.model, given, looking.union(looked))
        return _Told(looked, quality, [], notes)
    known, notes = answered.outcomes(base.model, given)
    groups = {
        one: files.column(table[one], "category")[spans.rows]
        for one in joined.columns(config)
        if one in table
    }
    ready = meaning.due(spans, config)
    notes += _later(config, spans, ready)
    due = known.between(0, ready)
    quality, proof = answered.measured(base.model, due, config.require, f"file:{name}", groups)
    labelled = meaning.Labelled(known, columns, groups)
    looked, more = meaning.judge(base.model, labelled, spans, looked, config)
    return _Told(looked, quality, proof, [*notes, *more])


def _later(config: Config, spans: Spans, ready: int) -> list[str]:
    """What `[monitor] label_delay` leaves for later, or cannot."""
    delay, left = config.monitor.label_delay, len(spans.rows) - ready
    if left:
        since = ids.iso(int(spans.times[ready]) // spans.span * spans.span)
        said = f"outcomes of {left:,} rows, since {since}, are left for later"
        return [f'{said}: [monitor] label_delay = "{delay}"']
    if duration(delay) and not spans.span:
        return [f'without --time [monitor] label_delay = "{delay}" leaves no outcome for later']
    return []


def _record(
    project: Project | None,
    base: Base,
    file: Path,
    looked: list[Looked],
    proof: list[Evidence],
) -> int:
    """Keep windows and evidence; returns how many windows."""
    if project is None:
        raise UsageError("--record needs a project")
    ws, now = project.ws, ids.now()
    windows = [
        Window(
            endpoint=f"file:{file.name}",
            model=base.digest,
            role="file",
            start=one.start or now,  # rows without times are of the moment that they were looked at
            end=one.end or now,
            rows=one.rows,
            profile="",
            findings=[msgspec.to_builtins(finding) for finding in one.findings],
            features={
                "measures": [msgspec.to_builtins(measured) for measured in one.measures],
                "reason": one.reason,
                "against": base.label,
            }
            | _course(one),
            judged_at=now,
        )
        for one in looked
    ]
    with ws.transaction():
        if proof:
            evidence.append(ws, proof)
        for window in windows:
            operations.save_window(ws, window)
    return len(windows)


def _course(one: Looked) -> dict[str, Any]:
    """A window's quality as the page draws it."""
    known = {each.metric: each for each in one.quality if each.metric in SHOWN}
    if not known:
        return {}
    ends = ("value", "lo", "hi", "n")
    values = {name: {end: getattr(each, end) for end in ends} for name, each in known.items()}
    return {"quality": {"values": values}}
