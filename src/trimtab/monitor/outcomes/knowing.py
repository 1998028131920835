"""Whether a model's quality is known, awaited or cannot be known, said in so many words.

Inputs that stand still prove nothing: a pure change of their meaning leaves them as they are. Where
labels are absent the sentence says what cannot be known, and rows are named whose labels settle it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.monitor import names
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import (
    completion,
    distrust,
    joined,
    knowledge,
    switch,
    unlabelled,
    wanted,
)
from trimtab.monitor.outcomes.cbpe import Estimate
from trimtab.monitor.outcomes.knowledge import Knowledge
from trimtab.monitor.outcomes.quality import Quality
from trimtab.monitor.watched import Watched
from trimtab.store import evidence, label_requests
from trimtab.store.records import Evidence, LabelRequest, Window
from trimtab.store.workspace import Workspace

_SECOND: Final = 1_000_000
_USUAL: Final = 0.95
_OLD: Final = 8
"""Windows after which a request that hardly anybody answered gives way to one on newer rows."""
_MOST: Final = 0.5
"""The share of a window's labels that must have come when they are due, for others to be awaited."""


Marks = dict[int, tuple[int, int]]
"""By window, the newest part and how many labels have come, as `joined.marks` has them."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Sentences for people, those on labels too, and alarms as the fields of `observe.Alarm`.

    `over` are kinds of what was there, by labels as they come or as they were asked for, and is gone,
    with since when.
    """

    knowledge: Knowledge
    sentences: list[str] = []
    alarms: list[dict[str, Any]] = []
    over: dict[str, int] = {}


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: Sequence[Window],
    index: Catalogue,
    moment: int,
    seen: Quality = Quality(),  # noqa: B008 (frozen)
) -> Look:
    """What is known of an endpoint's quality now, beside what its labels showed (`seen`); opens and
    closes label requests.
    """
    usable = [one for one in closed if one.rows >= config.monitor.min_rows]
    sentences = _requests(ws, endpoint, model, usable, index)
    alarms, over = switch.look(ws, endpoint, model, usable, index)
    there = {one["kind"]: int(one["since"]) for one in (*alarms, *seen.alarms)}
    drift = there.get(distrust.KIND, 0)
    gone = max(one.get(distrust.KIND, 0) for one in (over, seen.over))
    over = {kind: at for kind, at in {**over, **seen.over}.items() if kind not in there}
    newer = switch.replaced(ws, endpoint, model)
    spans = distrust.note(ws, endpoint, model.version.digest, drift, gone, newer)
    usable = unlabelled.mark(ws, config, endpoint, model, usable, spans)
    found = (
        _know(ws, config, endpoint, model, usable, index, moment, drift)
        if usable or not closed
        else _few(config, model, closed, index)
    )
    knowledge.keep(ws, endpoint, found)
    if found.sentence:
        sentences.append(f"{endpoint}: {found.sentence}")
    # the detector of errors may not see yet what a request's few labels showed
    sentences += [one for one in seen.sentences if not (alarms and names.CALM in one)]
    return Look(knowledge=found, sentences=sentences, alarms=alarms, over=over)


def _know(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: Sequence[Window],
    index: Catalogue,
    moment: int,
    drift: int,
) -> Knowledge:
    """`drift` is since when labels show concept drift, 0 where they show none."""
    digest = model.version.digest
    if not closed:
        return Knowledge(state="cannot know", model=digest)
    newest = closed[-1]
    marks = joined.marks(index, digest, closed[0].start)
    if marks.get(newest.start, (0, 0))[1] >= completion.COMPLETE * newest.rows:
        return Knowledge(state="known", model=digest, window=newest.start)
    settled = [
        one
        for one in label_requests.find(ws, endpoint=endpoint, state="closed")
        if one.model == digest and one.until >= newest.end and "switched" in one.detail
    ]
    if settled:
        return Knowledge(
            state="known", model=digest, window=newest.start, sentence=settled[0].resolution
        )
    expected = _expected(config, newest)
    delay = max(duration(config.monitor.label_delay), _delay(index, model, closed, marks, moment))
    due = [one for one in closed if one.end + delay <= moment]
    came = not due or marks.get(due[-1].start, (0, 0))[1] >= _MOST * due[-1].rows
    if marks and came and newest not in due:
        until = ids.iso(-(-(newest.end + delay) // _SECOND) * _SECOND)
        said = f"labels of the window from {ids.iso(newest.start)} are awaited until {until}"
        return Knowledge(
            state="awaited", model=digest, window=newest.start, sentence=said + _until(expected)
        )
    blind = [one for one in closed if marks.get(one.start, (0, 0))[1] == 0]
    reason = _reason(newest, bool(marks), marks.get(newest.start, (0, 0))[1])
    request = wanted.ask(ws, config, endpoint, model, blind or closed[-1:], index, expected, reason)
    request = request or _open(ws, endpoint)
    return Knowledge(
        state="cannot know",
        model=digest,
        window=newest.start,
        request=request.id if request else "",
        sentence=_cannot(config, model, newest, expected, request, reason, drift),
    )


def _few(config: Config, model: Watched, closed: Sequence[Window], index: Catalogue) -> Knowledge:
    """What is known where every window is too small to tell anything alone."""
    digest, rows = model.version.digest, sum(one.rows for one in closed)
    marks = joined.marks(index, digest, closed[0].start)
    came = sum(marks.get(one.start, (0, 0))[1] for one in closed)
    if came >= completion.COMPLETE * rows:
        return Knowledge(state="known", model=digest, window=closed[-1].start)
    return Knowledge(
        state="cannot know",
        model=digest,
        window=closed[-1].start,
        sentence=f"cannot know whether {model.version.label} is still right: {came:,} of "
        f"{rows:,} rows have labels, and no window has the {config.monitor.min_rows} rows that "
        "say anything; a longer [monitor] window has more",
    )


def _reason(newest: Window, had: bool, count: int) -> str:
    came = "has labels yet" if not had else "has the labels that were due"
    who = f"no row since {ids.iso(newest.start)} {came}"
    if count:
        who = f"{count:,} of {newest.rows:,} rows since {ids.iso(newest.start)} have labels"
    moved = sorted({one["kind"] for one in newest.findings})
    inputs = f"the inputs show {', '.join(moved)}" if moved else "no move of the inputs was found"
    if newest.features.get("inside"):
        return (
            "no label can be joined to rows that another server keeps (`trimtab monitor FILE --truth` "
            f"measures a file of them) and {inputs}"
        )
    return f"{who} and {inputs}"


def _cannot(
    config: Config,
    model: Watched,
    newest: Window,
    expected: Estimate | None,
    request: LabelRequest | None,
    reason: str,
    drift: int,
) -> str:
    what = f"the concept drift of {model.version.label} since {ids.iso(drift)} lasts"
    what = what if drift else f"{model.version.label} is still right"
    said = f"cannot know whether {what}: {reason}"
    if not newest.findings:
        said += ", which a changed meaning of the inputs would leave just so"
    said += _until(expected)
    if request is None:
        return said
    left = request.wanted - request.answered
    old = request.until < newest.end  # its rows cannot tell of newer ones
    what = f"tell of the rows until {ids.iso(request.until)}" if old else "settle it"
    said += f"; {left:,} labels {what}: `trimtab labels show {request.id[:12]}`"
    return said if config.serve.labels else f"{said}; [serve] labels says where to put them"


def _until(expected: Estimate | None) -> str:
    if expected is None:
        return ""
    trust = f"; untrusted: {expected.untrusted}" if expected.untrusted else ""
    return (
        f"; {expected.metric} is expected at {expected.value:.3f} ({expected.lo:.3f} to "
        f"{expected.hi:.3f}, {expected.method}), which {expected.note}{trust}"
    )


def _expected(config: Config, window: Window) -> Estimate | None:
    """The estimate of the metric that a requirement bounds, else the first there is."""
    values = window.features.get(unlabelled.KEPT, {}).get("values", {})
    bound = wanted.bound_of(config, list(values))
    name = bound.metric if bound else next(iter(values), "")
    return msgspec.convert(values[name], Estimate) if name else None


def _came(window: Window, marks: Marks) -> float:
    """The share of a window's rows that have labels."""
    return marks.get(window.start, (0, 0))[1] / window.rows if window.rows else 0.0


def _delay(
    index: Catalogue, model: Watched, closed: Sequence[Window], marks: Marks, moment: int
) -> int:
    """How long labels usually take, in microseconds: by 95 % of those of the newest complete window.

    Early labels alone would make all others late, so where no window is complete it is the oldest. What
    is here came by now, whatever a label says of its own time.
    """
    if not marks:
        return 0
    done = [one.start for one in closed if _came(one, marks) >= completion.COMPLETE]
    start = done[-1] if done else min(marks)
    found = joined.window(index, model.version.digest, model.signature, start)
    if not found.labels:
        return 0
    known = np.array([min(one.labelled_at, moment) for one in found.labels])
    late = known - found.rows.times
    return max(0, int(np.quantile(late, _USUAL)))


def _open(ws: Workspace, endpoint: str) -> LabelRequest | None:
    return next(iter(label_requests.find(ws, endpoint=endpoint, state="open")), None)


def _requests(
    ws: Workspace, endpoint: str, model: Watched, closed: Sequence[Window], index: Catalogue
) -> list[str]:
    """Count what came for the open request; close it once that is enough, or its rows are old."""
    said: list[str] = []
    for request in label_requests.find(ws, endpoint=endpoint, state="open"):
        if request.model != model.version.digest:
            wanted.close(ws, request, f"{model.version.label} took over")
            continue
        request = wanted.progress(ws, model, request)
        if request.answered < wanted.ENOUGH * request.wanted:
            newer = [one for one in closed if one.start >= request.until]
            if len(newer) >= _OLD and request.answered < _MOST * request.wanted:
                wanted.close(ws, request, "its rows are old by now: newer ones are asked for")
            continue
        found = wanted.settle(ws, model, index, request)
        if found is None:
            wanted.close(ws, request, "none of its labels can be a truth of the model")
            continue
        with ws.transaction():
            evidence.append(ws, [_evidence(endpoint, request, found)])
            wanted.close(
                ws, request, found.sentence, switched=found.switched, wrong=found.wrong,
                wrong_expected=found.expected,
            )  # fmt: skip
        said.append(f"{endpoint}: label request {request.id[:12]} is settled: {found.sentence}")
    return said


def _evidence(endpoint: str, request: LabelRequest, found: wanted.Settled) -> Evidence:
    return Evidence(
        id=ids.new_id(),
        metric=found.metric,
        subject=f"endpoint:{endpoint}",
        window=f"{ids.iso(request.since)}/{ids.iso(request.until)}",
        value=found.figure.value,
        lo=found.figure.lo,
        hi=found.figure.hi,
        n=found.figure.n,
        method="requested labels, weighted by inclusion probability",
        validity="fixed",
        measured_at=ids.now(),
        details={"model": request.model, "request": request.id},
    )
