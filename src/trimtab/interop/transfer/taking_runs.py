"""Taking in experiments and runs.

A run keeps its id. Its bytes are stored first, then its row, then those of its points that are not
here yet, then a mark that all of it is in; a run that has the mark and went on since is taken up again.
What is here stays: a param that differs is listed and not changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import ConflictError, DataError
from trimtab.interop.mlflow import limits, rows
from trimtab.interop.mlflow.board import ROOT
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import ACTIVE, DELETED, Experiment, TrackedRun
from trimtab.interop.transfer import bytes_in
from trimtab.interop.transfer.chosen import stored
from trimtab.interop.transfer.intake import OUTSIDE, Taking, is_dated, named
from trimtab.interop.transfer.source import missing
from trimtab.interop.transfer.tally import Tally
from trimtab.store import metrics, outside, runs, states, tables, tracked
from trimtab.store.records import Run
from trimtab.store.series import compaction, reading
from trimtab.store.series.points import Columns, Series, canonical, joined
from trimtab.store.workspace import Workspace

STATE: Final = "imported:"
OVER: Final = ("FINISHED", "FAILED", "KILLED")
_AT_ONCE: Final = 200_000


def experiment(taking: Taking, there: Experiment) -> Experiment | None:
    """The experiment here that is that one, made where there is none."""
    ws = taking.ws
    if not is_dated(there.created, there.updated):
        taking.tally.skip("experiment", there.name, OUTSIDE)
        return None
    with _writing(taking):
        known = [rows.to_experiment(row) for row in tracked.load(ws, "experiments")]
        if not known:
            now = ids.now() // 1000
            known = [Experiment(0, "Default", f"{ROOT}0", now, now)]
            if not taking.tally.dry_run:
                tracked.save(ws, "experiments", [rows.experiment(known[0])])
        same = [one for one in known if one.name == there.name]
        of_age = [one for one in same if one.created == there.created]
        living = [one for one in same if one.stage == ACTIVE]
        found = (living if there.stage == ACTIVE else of_age)[:1]
        if found:
            return found[0]
        if there.stage == ACTIVE and of_age:
            taking.tally.skip("experiment", there.name, "it is deleted here")
            return None
        number = max(tracked.last_experiment(ws), *(one.number for one in known)) + 1
        tags = named(taking.tally, there.name, there.tags, "experiment tag")
        made = replace(there, number=number, location=f"{ROOT}{number}", tags=tags)
        if not taking.tally.dry_run:
            tracked.save(ws, "experiments", [rows.experiment(made)])
            outside.note(ws)
        return made


def take(taking: Taking, there: Experiment, here: Experiment, run: TrackedRun, mark: str) -> None:
    """Take in a run, or what is new of it, with its points and files."""
    ws, tally = taking.ws, taking.tally
    location = f"{here.location.rstrip('/')}/{run.id}/artifacts"
    taking.places[run.location] = location
    own = stored(ws, run.id)
    reason = _other(ws, own, run, here)
    if reason:
        tally.skip("run", run.id, reason)
        return
    known = states.get(ws, STATE + run.id)
    is_over = run.status in OVER or run.stage == DELETED
    if own and is_over and known and known["mark"] == mark and not taking.again:
        tally.same += 1
        return
    before = (tally.points, tally.files)
    has = bytes_in.kept(ws, own.location if own else location)
    made = bytes_in.take(taking, run, has, trust=bool(known) and is_over)
    if tally.dry_run:
        tally.runs += own is None
        tally.grown += own is not None
        return
    one = _merged(tally, own, run, here, location, there)
    with _writing(taking):
        _save(taking, one, is_new=own is None, experiment=here.name)
        bytes_in.name(taking, one, made)
        outside.note(ws)
    tally.points += _points(taking, run, is_new=own is None)
    compaction.tidy(ws, run=run.id)
    last = reading.latest(ws, run.id)
    one.metrics = {key: (value, time // 1000, step) for key, (step, time, value) in last.items()}
    one.is_summed = run.status in OVER
    with _writing(taking):
        tracked.save(ws, "tracked_runs", [rows.tracked(one)])
        states.put(ws, STATE + run.id, {"mark": mark, "from": taking.source.about})
        outside.note(ws)
    if own is None:
        tally.runs += 1
    elif before == (tally.points, tally.files) and _same(own, one):
        tally.same += 1
    else:
        tally.grown += 1


def _other(ws: Workspace, own: TrackedRun | None, run: TrackedRun, here: Experiment) -> str:
    """Why a run cannot be the one of its id here; "" where it is, or there is none."""
    try:
        limits.run_id(run.id)
        limits.moment(run.start, "start_time")
        limits.moment(run.end or 0, "end_time")
    except Fault as fault:
        return str(fault)
    if own is None:
        table = tables.runs
        with ws.reading() as db:
            taken = db.execute(sa.select(table.c.id).where(table.c.id == run.id)).first()
        return "a run of that id is here that is none of MLflow's" if taken else ""
    if (own.start, own.user) != (run.start, run.user):
        return (
            f"a run of that id is here with other contents: it began at {own.start} ms and not at "
            f"{run.start} ms"
        )
    if own.experiment != here.number:
        return "a run of that id is here in another experiment"
    if own.stage == DELETED and run.stage == ACTIVE:
        return "it is deleted here: `trimtab runs restore` brings it back"
    return ""


def _merged(
    tally: Tally,
    own: TrackedRun | None,
    run: TrackedRun,
    here: Experiment,
    location: str,
    there: Experiment,
) -> TrackedRun:
    """The run as it is to be here: what was here stays, what it says of its end follows the source."""
    gone = run.deleted or (there.updated if there.stage == DELETED else ids.now() // 1000)
    stage = own.stage if own else run.stage
    return replace(
        run,
        experiment=here.number,
        location=own.location if own else location,
        stage=stage,
        deleted=(own.deleted if own else gone) if stage == DELETED else 0,
        params=_params(tally, run, own.params if own else {}),
        tags=(own.tags if own else {}) | named(tally, run.id, run.tags, "tag"),
        metrics={},
        inputs=_union(own.inputs if own else [], run.inputs),
        model_inputs=_union(own.model_inputs if own else [], run.model_inputs),
        outputs=_union(own.outputs if own else [], run.outputs),
    )


def _params(tally: Tally, run: TrackedRun, own: dict[str, str]) -> dict[str, str]:
    found = named(tally, run.id, run.params, "param")
    for key, value in found.items():
        if own.get(key, value) != value:
            reason = f"it is {own[key][:80]!r} here and {value[:80]!r} there"
            tally.skip("param", f"{run.id}/{key}", reason)
    return found | own


def _union(own: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*own, *(one for one in more if one not in own)]


def _same(own: TrackedRun, now: TrackedRun) -> bool:
    names = ("name", "status", "end", "params", "tags", "inputs", "outputs")
    return all(getattr(own, name) == getattr(now, name) for name in names)


def _save(taking: Taking, one: TrackedRun, *, is_new: bool, experiment: str) -> None:
    ws = taking.ws
    row = rows.ordinary(one)
    if is_new:
        cause = {"kind": "import", "from": taking.source.about, "experiment": experiment}
        runs.record(ws, Run(kind="run", cause=cause, **row))
    else:
        tracked.save_runs(ws, [row])
    tracked.save(ws, "tracked_runs", [rows.tracked(replace(one, is_summed=False))])


def _points(taking: Taking, run: TrackedRun, *, is_new: bool) -> int:
    """Add the points that are not here yet; how many."""
    ws, count, waiting = taking.ws, 0, 0
    parts: dict[str, list[Series]] = {}

    def flush() -> None:
        names = tuple(parts)
        lengths = [sum(map(len, parts[name])) for name in names]
        numbers = np.repeat(np.arange(len(names), dtype=np.uint32), lengths)
        whole = joined(part for name in names for part in parts[name])
        metrics.append_columns(ws, run.id, Columns(names, numbers, whole))
        parts.clear()

    for key in taking.source.keys(run):
        if not limits.is_name(key):
            taking.tally.skip(
                "series", f"{run.id}/{key[:100]}", "it is no name that is stored here"
            )
            continue
        have = None if is_new else reading.read(ws, run.id, key).get(key)
        try:
            for part in taking.source.points(run, key):
                new = missing(canonical(part), have)
                if len(new):
                    parts.setdefault(key, []).append(new)
                    waiting, count = waiting + len(new), count + len(new)
                if waiting >= _AT_ONCE:
                    flush()
                    waiting = 0
        except DataError as error:
            taking.tally.skip("series", f"{run.id}/{key}", error.message)
    if parts:
        flush()
    return count


@contextlib.contextmanager
def _writing(taking: Taking) -> Iterator[None]:
    """A transaction where anything is written."""
    if taking.tally.dry_run:
        yield
        return
    try:
        with taking.ws.transaction():
            yield
    except ConflictError as error:
        raise ConflictError(f"{error.message}: try again", hint=error.hint) from error
