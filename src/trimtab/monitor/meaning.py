"""Whether the same inputs now lead to other outcomes: labelled rows held against the basis.

The detector goes over all labelled windows in order, each as one batch, so the same labels give
the same answer however they came in. It keeps a false-alarm rate of its own. A requirement that
fails has kept one too: there a single test on that window's rows is enough to name the cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.monitor import basis as bases
from trimtab.monitor import budget as budgets
from trimtab.monitor import concept, names, strata, traffic
from trimtab.monitor.budget import Budget
from trimtab.monitor.concept import Alarm, ConceptState
from trimtab.monitor.findings import Finding
from trimtab.monitor.names import Naming
from trimtab.monitor.strata import Excess
from trimtab.monitor.traffic import Answers
from trimtab.monitor.watched import Watched
from trimtab.store.records import Label, Window

_MONTH: Final = 30 * 86_400_000_000
_MARGIN: Final = 0.01
"""The excess of errors, a share of rows, that a model is granted."""
_OUTCOME: Final = {"binary": "", "multiclass": "wrong answers", "regression": "large errors"}


class Truths(NamedTuple):
    """Labelled rows in order of event time: columns as profiled, scores, and 0/1 events."""

    times: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    score: NDArray[np.float64]
    event: NDArray[np.float64]

    def take(self, index: NDArray[np.intp]) -> Truths:
        """Those rows."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Truths(self.times[index], columns, self.score[index], self.event[index])


def truths(model: Watched, rows: Answers, labels: Sequence[Label]) -> Truths:
    """Labelled answers as the detector and the strata read them."""
    columns = traffic.profiled(rows, model.signature)
    event = bases.events(
        model.signature,
        model.basis.limit,
        rows.score,
        rows.decision,
        [one.value for one in labels],
    )
    return Truths(rows.times, columns, columns[traffic.SCORE], event)


def judge(
    config: Config,
    model: Watched,
    closed: Sequence[Window],
    known: Truths,
    failed: Window | None = None,
) -> Naming:
    """The concept drift that labelled rows show, or None, and the sentence that says why.

    `closed` carry the findings on their inputs; `failed` is a window in which a requirement fails.
    """
    alarm = detect(config, model, closed, known).alarm
    if alarm is None and failed is not None:
        alarm = confirm(model, known, failed)
    if alarm is None:
        return names.name_errors(None, ())
    began = int(known.times[0] if alarm.since_time is None else alarm.since_time)
    since = known.take(np.flatnonzero(known.times >= began))
    inputs = inputs_during(closed, began)
    moved = [
        one.feature
        for finding in inputs
        if finding.kind == "data drift"
        for one in finding.features
    ]
    naming = names.name_errors(
        alarm,
        inputs,
        {name: _excess(model, since, alarm.stream, name) for name in moved},
        margin=_MARGIN,
        outcome=_OUTCOME[model.signature.task],
        began=ids.iso(began),
    )
    if naming.finding is None:
        return naming
    return Naming(msgspec.structs.replace(naming.finding, since=began), naming.reason)


def detect(config: Config, model: Watched, closed: Sequence[Window], known: Truths) -> ConceptState:
    """The detector after every labelled closed window."""
    monthly = max(_MONTH / duration(config.monitor.window), 1.0)
    mean = max(sum(one.rows for one in closed) / max(len(closed), 1), 1.0)
    limit = Budget(pages_per_month=config.monitor.false_pages_per_month, windows_per_month=monthly)
    state = concept.start(
        max(budgets.run_length(limit, monthly * mean), 2.0),
        streams=model.basis.streams,
        margin=_MARGIN,
        threshold=model.basis.threshold,
    )
    for window in closed:
        part = known.take(_inside(known.times, window))
        state = concept.update(
            state, model.basis.calibration, part.score, part.event, times=part.times
        )
    return state


def confirm(model: Watched, known: Truths, failed: Window) -> Alarm | None:
    """Whether errors in one window exceed what its inputs explain, by every feature, at 99 %."""
    index = _inside(known.times, failed)
    part, stream = known.take(index), model.basis.streams[0]
    named = [one.feature for one in model.basis.strata.features]
    if not len(index) or min(_excess(model, part, stream, one).lo for one in named) <= _MARGIN:
        return None
    seen, expected = bases.expected(model.basis, stream, part.score, part.event)
    return Alarm(
        stream=stream,
        at=int(index[-1]) + 1,
        since=int(index[0]),
        at_time=int(part.times[-1]),
        since_time=failed.start,
        rows=len(index),
        seen=seen,
        expected=expected,
    )


def inputs_during(closed: Sequence[Window], since: int) -> list[Finding]:
    """The findings on the inputs of all windows that end after a moment, one for each kind."""
    found: dict[str, Finding] = {}
    for window in closed:
        if window.end <= since:
            continue
        for one in msgspec.convert(window.findings, list[Finding]):
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


def _inside(times: NDArray[np.int64], window: Window) -> NDArray[np.intp]:
    return np.flatnonzero((times >= window.start) & (times < window.end))
