"""Whether the same inputs now lead to other outcomes: labelled rows held against the basis.

The detector goes over all labelled windows in order, each as one batch, so the same labels give
the same answer however they came in; it goes on from the first window that is not as it was. It
keeps a false-alarm rate of its own. A requirement that fails has kept one too: there a single test
on that window's rows is enough to name the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import hashing, ids
from trimtab.config import Config, duration
from trimtab.monitor import basis as bases
from trimtab.monitor import budget as budgets
from trimtab.monitor import names
from trimtab.monitor.budget import Budget
from trimtab.monitor.drift import episodes as episodic
from trimtab.monitor.drift import forms
from trimtab.monitor.drift.forms import Course
from trimtab.monitor.findings import DEFECTS, Finding, Form
from trimtab.monitor.log import traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.names import Naming
from trimtab.monitor.outcomes import concept, joined, relief, strata, where
from trimtab.monitor.outcomes.concept import Alarm, ConceptState
from trimtab.monitor.outcomes.joined import Joined
from trimtab.monitor.outcomes.strata import Excess
from trimtab.monitor.watched import Watched
from trimtab.profile.columns import Column
from trimtab.store.records import Episode, Window

MARGIN: Final = 0.01
"""The excess of errors, a share of rows, that a model is granted."""
_OUTCOME: Final = {"binary": "", "multiclass": "wrong answers", "regression": "large errors"}


class Truths(NamedTuple):
    """Labelled rows in order of event time: columns as profiled, scores, and 0/1 events."""

    times: NDArray[np.int64]
    columns: Mapping[str, Column]
    score: NDArray[np.float64]
    event: NDArray[np.float64]


def truths(model: Watched, found: Joined) -> Truths:
    """Labelled answers as the detector and, where all their inputs came along, the strata read them."""
    rows = found.rows
    columns = traffic.outputs(rows.score, rows.decision, model.signature)
    event = bases.events(
        model.signature,
        model.basis.limit,
        rows.score,
        rows.decision,
        [one.value for one in found.labels],
    )
    inputs = {
        c.name: rows.columns[c.name] for c in model.signature.inputs if c.name in rows.columns
    }
    return Truths(rows.times, inputs | columns, columns[traffic.SCORE], event)


class Shape(NamedTuple):
    """How errors came to rise; of a recurring rise, in words when the one before was, and since when."""

    form: Form = ""
    said: str = ""
    repeats: int | None = None


def judge(
    config: Config,
    model: Watched,
    closed: Sequence[Window],
    index: Catalogue,
    failed: Window | None = None,
    past: Sequence[Episode] = (),
) -> Naming:
    """The concept drift that labelled rows show, or None, and the sentence that says why.

    `closed` carry the findings on their inputs; `failed` is a window in which a requirement fails,
    `past` are episodes of concept drift of this model that ended before.
    """
    state = detect(config, model, closed, index)
    alarm = state.alarm
    if alarm is None and failed is not None:
        alarm = confirm(config, model, index, failed)
    if alarm is None:
        return _calm(state)
    began = _first(model, closed, index) if alarm.since_time is None else alarm.since_time
    return name(
        model,
        state,
        alarm,
        inputs_during(
            [(one.start, one.end, findings_of(one)) for one in closed],
            began,
            joined.last_time(index, model.version.digest),
        ),
        lambda: _known(model, index, began, closed[-1].end),
        began=began,
        private=config.serve.pii,
        form=shape(state, alarm, began, past),
        slices=_slices(config, model, index, closed, alarm, began),
    )


def name(
    model: Watched,
    state: ConceptState,
    alarm: Alarm,
    inputs: Sequence[Finding],
    known: Callable[[], Truths],
    *,
    began: int,
    moment: str = "",
    private: Collection[str] = (),
    form: Shape | None = None,
    slices: tuple[str, ...] = (),
) -> Naming:
    """What an alarm of the detector means, beside what the inputs show since it `began`.

    `known` gives the labelled rows since then, read only where inputs moved. `moment` says in words
    when that was, features made of `private` columns explain nothing, `form` is `shape`'s.
    """
    form = form or Shape()
    moved = [
        one.feature
        for finding in inputs
        if finding.kind == "data drift"
        for one in finding.features
        if one.feature not in model.reference.bins.made_of(private)
    ]
    excesses = {}
    if moved:
        since = known()
        excesses = {name: _excess(model, since, alarm.stream, name) for name in moved}
    naming = names.name_errors(
        alarm,
        inputs,
        excesses,
        margin=MARGIN,
        outcome=_OUTCOME[model.signature.task],
        began=moment or ids.iso(began),
        form=form.form,
        said=form.said,
        slices=slices,
    )
    if naming.finding is None:
        return naming
    second = state.second
    detail = {
        **naming.finding.detail,
        "adwin_cuts": float(second.cuts),
        "adwin_at": float(second.at),
        "adwin_since": float(second.since),
        "adwin_before": second.before,
        "adwin_after": second.after,
        "row": float(alarm.at),
        "since_row": float(alarm.since),
    }
    if form.repeats is not None:
        detail["repeats_since"] = float(form.repeats)
    return Naming(
        msgspec.structs.replace(naming.finding, since=began, detail=detail), naming.reason
    )


def shape(state: ConceptState, alarm: Alarm, began: int, past: Sequence[Episode] = ()) -> Shape:
    """How errors came to rise, by the batches that were fed, and what episode that repeats."""
    same = [one for one in state.ended if one.alarm.stream == alarm.stream]
    if same:
        first, last = same[-1].alarm.since_time, same[-1].until
        begun = f" from {ids.iso(first)}" if first is not None else ""
        return Shape("recurring", f", as{begun} to {ids.iso(last)}", first)
    older = [
        one for one in past if one.until and one.until <= began and alarm.stream in one.features
    ]
    if older:
        since, until = older[-1].since, older[-1].until
        return Shape("recurring", f", as from {ids.iso(since)} to {ids.iso(until)}", since)
    place = list(dict.fromkeys(one.stream for one in state.tracks)).index(alarm.stream)
    course = state.course
    late = [one for one in course if one.start >= began] or list(course[-1:])
    rows = sum(one.rows for one in late)
    level = sum(one.seen[place] - one.expected[place] for one in late) / max(rows, 1)
    if level <= 0 or len(course) < 2:  # one window alone tells no form
        return Shape()
    values = [(one.seen[place] - one.expected[place]) / one.rows / level for one in course]
    noise = [max(one.variance[place], 1e-9) / one.rows**2 / level**2 for one in course]
    return Shape(forms.shape(Course(np.array(values), np.array(noise))).form)


def episodes(state: ConceptState, endpoint: str, model: str) -> list[Episode]:
    """The episodes that a detector has seen end, to be kept beyond the windows it goes over."""
    return [
        Episode(
            endpoint=endpoint,
            model=model,
            kind="concept drift",
            since=one.alarm.since_time or one.alarm.at_time or one.until,
            until=one.until,
            features={one.alarm.stream: 1},
        )
        for one in state.ended
    ]


def _calm(state: ConceptState) -> Naming:
    """No concept drift; one that was and is over is said."""
    naming = names.name_errors(None, ())
    if not state.ended:
        return naming
    last = state.ended[-1]
    first = last.alarm.since_time
    begun = f" from {ids.iso(first)}" if first is not None else ""
    return Naming(
        None, f"{naming.reason} again: a concept drift{begun} was over by {ids.iso(last.until)}"
    )


def _slices(
    config: Config,
    model: Watched,
    index: Catalogue,
    closed: Sequence[Window],
    alarm: Alarm,
    began: int,
) -> tuple[str, ...]:
    """The slices in which outcomes since the change exceed what was expected there."""
    columns: dict[str, list[Any]] = {}
    outcome, chance = [np.empty(0)], [np.empty(0)]
    marks = joined.marks(index, model.version.digest, closed[0].start)
    for window in closed:
        if window.end <= began or window.start not in marks:
            continue
        found = joined.window(index, model.version.digest, model.signature, window.start)
        known = traffic.slices(found.rows, found.labels, joined.columns(config))
        if not known or (columns and known.keys() != columns.keys()):
            return ()
        part = truths(model, found)
        turned = bases.flip(model.basis, alarm.stream, part.score)
        p = bases.chance(model.basis, part.score)
        outcome.append(np.where(turned, 1 - part.event, part.event))
        chance.append(np.where(turned, 1 - p, p))
        for name, values in known.items():
            columns.setdefault(name, []).extend(values.tolist())
    if not columns:
        return ()
    told = {name: np.array(values, dtype=object) for name, values in columns.items()}
    return where.slices(told, np.concatenate(outcome), np.concatenate(chance), MARGIN)


def detect(
    config: Config, model: Watched, closed: Sequence[Window], index: Catalogue
) -> ConceptState:
    """The detector after every labelled closed window."""
    digest = model.version.digest
    state = _start(config, model, closed)
    marks = joined.marks(index, digest, closed[0].start)
    known = {
        start: (chain, body)
        for start, chain, body in index.db.execute(
            "SELECT start, chain, body FROM detectors WHERE model = ?", (digest,)
        )
    }
    chain = hashing.object_digest("config", state)
    fresh: list[tuple[str, int, str, bytes]] = []
    for window in closed:
        if window.start not in marks:
            continue
        chain = hashing.object_digest("config", [chain, window.start, marks[window.start][0]])
        if not fresh and known.get(window.start, ("",))[0] == chain:
            state = msgspec.msgpack.decode(known[window.start][1], type=ConceptState)
            continue
        part = truths(model, joined.window(index, digest, model.signature, window.start))
        state = relief.over(
            concept.update(state, model.basis.calibration, part.score, part.event, times=part.times)
        )
        fresh.append((digest, window.start, chain, msgspec.msgpack.encode(state)))
    with index.transaction():
        index.db.execute(
            "DELETE FROM detectors WHERE model = ? AND start < ?", (digest, closed[0].start)
        )
        index.db.executemany("INSERT OR REPLACE INTO detectors VALUES (?, ?, ?, ?)", fresh)
    return state


def _start(config: Config, model: Watched, closed: Sequence[Window]) -> ConceptState:
    monthly = budgets.per_month(duration(config.monitor.window))
    mean = max(sum(one.rows for one in closed) / max(len(closed), 1), 1.0)
    limit = Budget(pages_per_month=config.monitor.false_pages_per_month, windows_per_month=monthly)
    return begin(model, limit, monthly * mean)


def begin(model: Watched, budget: Budget, rows_per_month: float) -> ConceptState:
    """A fresh detector of a model's errors."""
    return concept.start(
        max(budgets.run_length(budget, rows_per_month), 2.0),
        streams=model.basis.streams,
        margin=MARGIN,
        threshold=model.basis.threshold,
    )


def confirm(config: Config, model: Watched, index: Catalogue, failed: Window) -> Alarm | None:
    """Whether errors in one window exceed what its inputs explain, by every feature, at 99 %.

    Features that the log does not hold as they were explain nothing.
    """
    part, stream = _known(model, index, failed.start, failed.end), model.basis.streams[0]
    named = [one.feature for one in model.basis.strata.features
             if one.feature not in model.reference.bins.made_of(config.serve.pii)]  # fmt: skip
    rows = len(part.times)
    if not rows or not named:
        return None
    if min(_excess(model, part, stream, one).lo for one in named) <= MARGIN:
        return None
    seen, expected = bases.expected(model.basis, stream, part.score, part.event)
    return Alarm(
        stream=stream,
        at=rows,
        since=0,
        at_time=int(part.times[-1]),
        since_time=failed.start,
        rows=rows,
        seen=seen,
        expected=expected,
    )


def _first(model: Watched, closed: Sequence[Window], index: Catalogue) -> int:
    """The event time of the first labelled row that the detector saw."""
    start = min(joined.marks(index, model.version.digest, closed[0].start))
    found = joined.window(index, model.version.digest, model.signature, start)
    return int(found.rows.times[0])


def _known(model: Watched, index: Catalogue, since: int, until: int) -> Truths:
    """Labelled rows of a time with their inputs."""
    found = joined.with_columns(index, model.version.digest, model.signature, since, until)
    return truths(model, found)


def findings_of(window: Window) -> list[Finding]:
    """What was found on a window's inputs."""
    return msgspec.convert(window.findings, list[Finding])


def inputs_during(
    windows: Iterable[tuple[int, int, Sequence[Finding]]], since: int, last: int
) -> list[Finding]:
    """The findings on the inputs of all windows (start, end, findings) that end after a moment, one for
    each kind.

    What began after the `last` labelled row explains no error, and a defect that was over by then
    explains none, though sums of windows show it for long.
    """
    found: dict[str, Finding] = {}
    for start, end, findings in windows:
        if end <= since:
            continue
        for one in findings:
            if one.kind in DEFECTS and not episodic.lasts(one):
                continue
            if min(start, one.since if one.since is not None else start) > last:
                continue
            old = found.get(one.kind, one)
            features = {part.feature: part for part in (*old.features, *one.features)}
            widest = max(old, one, key=lambda each: each.detail.get("rows_touched", 0.0))
            found[one.kind] = msgspec.structs.replace(
                one, features=tuple(features.values()), detail=widest.detail
            )
    return list(found.values())


def _excess(model: Watched, part: Truths, stream: concept.Stream, feature: str) -> Excess:
    return strata.excess(
        model.basis.strata,
        model.reference.bins,
        model.basis.calibration,
        feature,
        part.columns,
        part.score,
        part.event,
        flip=bases.flip(model.basis, stream, part.score),
    )
