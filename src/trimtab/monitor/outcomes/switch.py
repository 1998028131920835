"""A changed meaning of the inputs that a settled label request showed, until later labels show it gone.

A request's few labels may be too few for the detector of errors, so it alarms by itself, and ends by
itself: by the rule of `relief`, on windows that came after its rows and whose labels are complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from trimtab import ids
from trimtab.monitor import basis as bases
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import completion, distrust, joined, meaning, relief
from trimtab.monitor.watched import Watched
from trimtab.store import label_requests, states
from trimtab.store.records import LabelRequest, Window
from trimtab.store.workspace import Workspace

_LAST: Final = 2


def look(
    ws: Workspace, endpoint: str, model: Watched, closed: Sequence[Window], index: Catalogue
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The alarm of the last settled request as the fields of `observe.Alarm`, or where it was over."""
    settled = _settled(ws, endpoint, model)
    if not settled or not settled[0].detail["switched"]:
        return [], {}
    one, name = settled[0], f"switch:{endpoint}"
    before = states.get(ws, name) or {}
    if before.get("request") == one.id:
        return [], {distrust.KIND: int(before["over"])}
    over = _over(model, one, closed, index)
    if over:
        states.put(ws, name, {"request": one.id, "over": over})
        return [], {distrust.KIND: over}
    alarm = {
        "kind": distrust.KIND,
        "title": f"Concept drift: {one.resolution}, by a fair sample of the rows since "
        f"{ids.iso(one.since)}.",
        "severity": "page",
        "since": one.since,
        "detail": {"request": one.id, **one.detail},
    }
    return [alarm], {}


def replaced(ws: Workspace, endpoint: str, model: Watched) -> dict[int, int]:
    """By where the rows of a settled request that showed it begin, where those of the next settled one do:
    from there on that one tells.
    """
    settled = _settled(ws, endpoint, model)
    return {one.since: newer.since for newer, one in pairwise(settled) if one.detail["switched"]}


def _settled(ws: Workspace, endpoint: str, model: Watched) -> list[LabelRequest]:
    """The requests on a model's rows that were answered, newest first."""
    return [
        one
        for one in label_requests.find(ws, endpoint=endpoint, state="closed")
        if one.model == model.version.digest and "switched" in one.detail
    ]


def _over(model: Watched, request: LabelRequest, closed: Sequence[Window], index: Catalogue) -> int:
    """The beginning of the two newest windows with their labels, where the request's excess of errors is
    gone in them; 0 where it is not.
    """
    digest = model.version.digest
    marks = joined.marks(index, digest, request.until)
    last = [
        one
        for one in closed
        if one.start >= request.until
        and marks.get(one.start, (0, 0))[1] >= completion.COMPLETE * one.rows
    ][-_LAST:]
    if len(last) < _LAST:
        return 0
    stream, excess, variance, rows = model.basis.streams[0], 0.0, 0.0, 0
    for one in last:
        part = meaning.truths(model, joined.window(index, digest, model.signature, one.start))
        seen, expected = bases.expected(model.basis, stream, part.score, part.event)
        chance = bases.chance(model.basis, part.score)
        excess += seen - expected
        variance += float(np.sum(chance * (1 - chance)))
        rows += len(part.times)
    had = request.detail["wrong"] - request.detail["wrong_expected"]
    gone = relief.is_gone(excess / rows, variance**0.5 / rows, had, meaning.MARGIN)
    return last[0].start if gone else 0
