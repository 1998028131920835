"""Whether outcomes that stand in a file say that the same inputs mean something else by now.

Window by window, as labels of an endpoint are judged: the same detector of errors, the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.config import Config, duration
from trimtab.loop.files import looking
from trimtab.loop.files.answered import Outcomes, measured
from trimtab.loop.files.looking import Looked
from trimtab.monitor import basis as bases
from trimtab.monitor.budget import per_month
from trimtab.monitor.files import Spans
from trimtab.monitor.findings import Finding
from trimtab.monitor.names import Naming
from trimtab.monitor.outcomes import concept, meaning, relief, where
from trimtab.monitor.outcomes.concept import ConceptState
from trimtab.monitor.outcomes.meaning import Truths
from trimtab.monitor.watched import Watched
from trimtab.profile.columns import Column, take


class Labelled(NamedTuple):
    """What the outcomes are held against: columns of all judged rows, those to slice by as text."""

    known: Outcomes
    columns: Mapping[str, Column]
    slices: Mapping[str, NDArray[Any]]


def judge(
    model: Watched, labelled: Labelled, spans: Spans, looked: Sequence[Looked], config: Config
) -> tuple[list[Looked], list[str]]:
    """The windows with what their outcomes showed by then, concept drift and the realised quality of
    each, and why errors that rose are none.
    """
    known = labelled.known
    if known.score is None:
        return list(looked), ["concept drift is told by scores and outcomes together (--score)"]
    truths, monthly = _truths(model, labelled, spans), len(spans.rows) * 30.0
    if spans.span:
        monthly = len(spans.rows) / len(spans.starts) * per_month(spans.span)
    state = meaning.begin(model, looking.budget(config.monitor, spans), monthly)
    ready = due(spans, config)
    naming: Naming | None = None
    done: list[Looked] = []
    for one, first, end in zip(
        looked, spans.places, [*spans.places[1:], len(spans.rows)], strict=True
    ):
        part = known.between(first, end)
        low, high = np.searchsorted(known.places, [first, end]).tolist()
        if low < high and end <= ready:
            state = relief.over(
                concept.update(
                    state,
                    model.basis.calibration,
                    truths.score[low:high],
                    truths.event[low:high],
                    times=truths.times[low:high] if spans.span else None,
                )
            )
            naming = _named(model, state, labelled, truths, [*done, one])
        said = naming.finding if naming is not None else None
        done.append(
            msgspec.structs.replace(
                one,
                findings=[*one.findings, *([said] if said is not None else [])],
                quality=measured(model, part, config.require, "")[0] if spans.span else [],
            )
        )
    explained = naming is not None and naming.finding is None
    notes = [naming.reason] if naming is not None and explained else []
    return [_without_ended(one, state) for one in done], notes


def due(spans: Spans, config: Config) -> int:
    """How many rows, from the first on, are of windows that ended `label_delay` before the newest row."""
    delay = duration(config.monitor.label_delay)
    if not delay or not spans.span:
        return len(spans.rows)
    ends = [*spans.places[1:], len(spans.rows)]
    newest = int(spans.times[-1])
    over = [end for start, end in zip(spans.starts, ends, strict=True)
            if start + spans.span + delay <= newest + 1]  # fmt: skip
    return over[-1] if over else 0


def _without_ended(one: Looked, state: ConceptState) -> Looked:
    """A window without concept drift that, as later windows showed, was over by then."""
    gone = [ended.until for ended in state.ended if one.end > ended.until]
    left = [
        found
        for found in one.findings
        if found.kind != "concept drift" or not any((found.since or 0) < each for each in gone)
    ]
    return msgspec.structs.replace(one, findings=left)


def _truths(model: Watched, labelled: Labelled, spans: Spans) -> Truths:
    known = labelled.known
    score = np.asarray(known.score)
    return Truths(
        spans.times[known.places] if spans.span else np.arange(len(known.places)),
        take(labelled.columns, labelled.columns, known.places),
        score,
        bases.events(model.signature, model.basis.limit, score, known.decision, known.truth),
    )


def _named(
    model: Watched,
    state: ConceptState,
    labelled: Labelled,
    truths: Truths,
    looked: Sequence[Looked],
) -> Naming | None:
    """What the detector's alarm means beside the inputs; None without one."""
    alarm = state.alarm
    if alarm is None:
        return None
    timed = alarm.at_time is not None
    began = alarm.since if alarm.since_time is None else alarm.since_time
    if timed and alarm.since_time is None:
        began = int(truths.times[0])
    seen = int(np.searchsorted(labelled.known.places, sum(one.rows for one in looked)))
    since = np.flatnonzero(truths.times[:seen] >= began)
    late = Truths(
        truths.times[since],
        take(truths.columns, truths.columns, since),
        truths.score[since],
        truths.event[since],
    )
    turned = bases.flip(model.basis, alarm.stream, late.score)
    chance = bases.chance(model.basis, late.score)
    places = labelled.known.places[since]
    naming = meaning.name(
        model,
        state,
        alarm,
        meaning.inputs_during(
            [
                (one.start if timed else began, one.end if timed else began + 1, _inputs(one))
                for one in looked
            ],
            began,
            int(truths.times[max(seen - 1, 0)]),
        ),
        lambda: late,
        began=began,
        moment="" if timed else f"row {labelled.known.places[began] + 1:,}",
        form=meaning.shape(state, alarm, began) if timed else None,
        slices=where.slices(
            {name: values[places] for name, values in labelled.slices.items()},
            np.where(turned, 1 - late.event, late.event),
            np.where(turned, 1 - chance, chance),
            meaning.MARGIN,
        ),
    )
    if naming.finding is None or timed:
        return naming
    return Naming(msgspec.structs.replace(naming.finding, since=0), naming.reason)


def _inputs(one: Looked) -> list[Finding]:
    return [found for found in one.findings if found.kind != "concept drift"]
