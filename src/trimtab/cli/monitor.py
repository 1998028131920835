"""`trimtab monitor`: any table against a model, a data version or another table; or what was seen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import NotFoundError, RefusedError, UndecidedError, UsageError

if TYPE_CHECKING:  # numerical libraries are loaded only when they are needed
    from trimtab.loop.files.against import Watch
    from trimtab.loop.files.answered import Quality
    from trimtab.monitor.findings import Finding, Measure
    from trimtab.server.answers import Monitored
    from trimtab.store.records import Window

_OK: Final = 20
"""So many features without a finding are shown."""


@verb(
    "monitor",
    "trimtab monitor january.parquet --against loans@v1",
    "trimtab monitor new.csv --against old.csv --time day --window 1d",
    "trimtab monitor scored.csv --against loans@v1 --score score --truth repaid --record",
    "cat january.csv | trimtab monitor - --against loans@v1",
    "trimtab monitor",
    "trimtab monitor loans",
)
@click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
@click.option(
    "--against", default="", metavar="WHAT", help="NAME@vN of a model or data version, or a file."
)
@click.option(
    "--time", default="", metavar="COLUMN", help="The column that cuts FILE into windows."
)
@click.option("--window", default="", metavar="SPAN", help="How long a window is, such as 1d.")
@click.option("--truth", default="", metavar="COLUMN", help="The column with the true outcome.")
@click.option("--score", default="", metavar="COLUMN", help="The column with the model's score.")
@click.option("--decision", default="", metavar="COLUMN", help="The column with its decision.")
@click.option("--leave-out", multiple=True, metavar="COLUMN", help="A column not to compare.")
@click.option("--record", is_flag=True, help="Keep windows for the page, and quality as evidence.")
def monitor(
    session: Session,
    file: Path | None,
    against: str,
    time: str,
    window: str,
    truth: str,
    score: str,
    decision: str,
    leave_out: tuple[str, ...],
    record: bool,
) -> int:
    """Hold a table against a model, a data version or a table.

    FILE is a csv, tsv, parquet, arrow or ndjson file and needs no endpoint; - reads a csv, parquet,
    arrow or ndjson table from stdin, and calls it stdin.csv and so on. With --time its rows
    are cut into windows, so that slow changes are found and dated. With --score of a model version
    its quality is estimated, with --truth too measured, and concept drift looked for. Nothing is
    stored without --record.
    Exits 0 where nothing was found, 3 where something was, 6 where the rows are too few to judge.

    Without FILE it shows what was seen at every endpoint, embedded monitor and recorded file; with the
    name of one instead, that one's windows.
    """
    if file is None:
        if against or time or record:
            raise UsageError("--against, --time and --record go with a FILE")
        return _seen(session)
    if not against:
        if not file.exists():
            return _seen(session, str(file))
        raise UsageError(
            f"there is nothing to compare {file} with",
            hint="give --against NAME@vN or a file; or the name of an endpoint alone",
        )
    from trimtab.loop.files.against import (
        Watching,
        watch,
    )  # brings polars, and the database where one is needed

    asked = Watching(
        against=against, time=time, window=window, truth=truth, score=score, decision=decision,
        leave_out=leave_out, record=record,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        given = _given(Path(folder)) if str(file) == "-" else file
        found = watch(given, asked, start=session.start)
    session.answer(found, _render)
    if found.status == "found":
        return RefusedError.exit_code
    return UndecidedError.exit_code if found.status == "undecided" else 0


def _given(folder: Path) -> Path:
    """What stdin holds, as a file."""
    from trimtab.monitor import files  # brings polars

    data = sys.stdin.buffer.read()
    path = folder / f"stdin{files.suffix_of(data[:1_000])}"
    path.write_bytes(data)
    return path


def _seen(session: Session, name: str = "") -> int:
    from trimtab.server import operations
    from trimtab.server.requests import Watched

    found = session.call(operations.MONITOR_SHOW, Watched(name=name))
    if name and not found.watched:
        raise NotFoundError(
            f"there is no file {name}, and nothing that is watched has this name",
            hint="`trimtab monitor` alone names everything that is watched",
        )
    session.answer(found, _render_one if name else _render_seen)
    return 0


def _render(found: Watch) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    newest = found.windows[-1]
    many = f" in {len(found.windows)} windows" if len(found.windows) > 1 else ""
    rows = "row" if found.rows == 1 else "rows"
    paper.say(f"{found.subject} against {found.against}: {found.rows:,} {rows}{many}")
    for finding in found.findings:
        paper.say(f"{'!' if finding.severity == 'alarm' else '-'} {finding.text}")
    if found.status == "undecided":
        paper.say(f"not judged: {newest.reason}")
    elif not found.findings:
        paper.say("nothing moved beyond its margin")
    if newest.measures:
        if newest.start:
            paper.say(f"the newest window, from {words.moment(newest.start)}:")
        _measures(newest.measures, found.findings, found.drifted)
    if len(found.windows) > 1:
        _windows(found)
    if found.quality:
        _quality(found.quality)
    for line in found.notes:
        note(line)
    if found.recorded:
        note(f"{found.recorded} {'window' if found.recorded == 1 else 'windows'} recorded")


def _measures(measures: list[Measure], findings: list[Finding], drifted: list[str]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.monitor.findings import called  # and what is counted, only to count
    from trimtab.server import words

    named: dict[str, str] = {}
    for finding in findings:
        for feature in finding.features:
            for name in feature.feature.split(" and "):
                named.setdefault(name, _kind(finding.kind, finding.detail))
    further = words.MEASURES.items()
    more = {name: label for name, label in further if any(getattr(m, name, 0.0) for m in measures)}
    order = sorted(measures, key=lambda one: (one.feature not in named, one.p, -one.effect))
    still = [one for one in order if one.feature not in named and one.feature not in drifted]
    calm = {one.feature for one in still[_OK:]}
    paper.table(
        ["feature", "test", "p", "effect", "interval", *more.values(), "verdict"],
        [
            (
                called(one.feature),
                one.statistic.replace("_", " "),
                f"{one.p:.2g}",
                f"{words.number(one.effect)} {one.unit}",
                words.interval(one.lo, one.hi),
                *(f"{getattr(one, name, 0.0):.3g}" for name in more),
                named.get(one.feature) or ("moved a little" if one.feature in drifted else "ok"),
            )
            for one in order
            if one.feature not in calm
        ],
        right=["p", "effect"],
    )
    if calm:
        note(f"{len(calm):,} more features are ok; --json tells of each")
    little = [called(one) for one in drifted if one not in named]
    if little:
        names = ", ".join(little)
        note(f"differ at a false discovery rate of 5 % (no alarms): {names}")


def _windows(found: Watch) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    measured = next((one.quality[0].metric for one in found.windows if one.quality), "")
    labels = [max((each.n for each in one.quality), default=0) for one in found.windows]
    part = measured and any(
        count < one.rows for count, one in zip(labels, found.windows, strict=True)
    )
    rows = []
    for count, one in zip(labels, found.windows, strict=True):
        seen = ", ".join(_kind(finding.kind, finding.detail) for finding in one.findings)
        quality = next((each.value for each in one.quality if each.metric == measured), None)
        row = (words.moment(one.start), f"{one.rows:,}", seen or one.reason or "ok")
        told = [*([f"{count:,}"] if part else []), *([words.number(quality)] if measured else [])]
        rows.append((*row, *told))
    more = [*(["labels"] if part else []), *([measured] if measured else [])]
    paper.table(["window", "rows", "seen", *more], rows, right=["rows", *more])


def _quality(quality: list[Quality]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    paper.table(
        ["metric", "how", "value", "interval", "rows", "note"],
        [
            (
                one.metric,
                one.how,
                words.number(one.value),
                words.interval(one.lo, one.hi),
                f"{one.n:,}",
                one.note,
            )
            for one in quality
        ],
        right=["value", "rows"],
    )


def _render_seen(found: Monitored) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    for said in found.undelivered:
        note(said)
    if not found.watched:
        paper.say("nothing is watched yet: no window of traffic has closed")
        return
    newest = [
        (one, next((w for w in reversed(one.windows) if w.judged_at), one.windows[-1]))
        for one in found.watched
        if one.windows
    ]
    paper.table(
        ["watched", "against", "windows", "newest judged", "rows", "inputs"],
        [
            (
                one.name,
                one.against,
                str(len(one.windows)),
                words.moment(window.start) if window.judged_at else "–",
                f"{window.rows:,}",
                _inputs(window),
            )
            for one, window in newest
        ],
        right=["windows", "rows"],
    )
    for one, _ in newest:
        if one.known:
            paper.say(f"{one.name}: {one.known}")


def _render_one(found: Monitored) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.monitor.outcomes.quality import SHOWN  # and what is measured, only to show it
    from trimtab.server import course, words

    for one in found.watched:
        values = [few | whole for few, whole in map(course.metrics, one.windows)]
        metric = next((name for name in SHOWN if any(name in known for known in values)), "")
        rows = []
        for each, known in zip(one.windows, values, strict=True):
            seen = _inputs(each) if each.judged_at else "not judged yet"
            row = (words.moment(each.start), f"{each.rows:,}", seen)
            value = known.get(metric, {})
            told = (words.number(value.get("n")), words.number(value.get("value")))
            rows.append((*row, *told) if metric else row)
        more = ["labels", metric] if metric else []
        paper.say(f"{one.name} against {one.against}")
        paper.table(["window", "rows", "seen", *more], rows, right=["rows", *more])
        if one.known:
            paper.say(one.known)


def _kind(kind: str, detail: Mapping[str, Any]) -> str:
    return kind + ("" if detail.get("lasts", 1) else " that is over")


def _inputs(window: Window) -> str:
    """What a window's judgement said of its inputs; nothing of the model's quality follows."""
    if not window.judged_at:
        return "no window has closed yet"
    seen = ", ".join(_kind(str(one["kind"]), one.get("detail", {})) for one in window.findings)
    return seen or str(window.features.get("reason") or "as in training")
