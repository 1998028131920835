"""The windows of a file judged one after the other, each with those before it, as traffic is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.config import MonitorConfig
from trimtab.loop.reports import Report
from trimtab.monitor import episodes, judge, stale
from trimtab.monitor.budget import Budget
from trimtab.monitor.files import Spans
from trimtab.monitor.findings import Finding, Findings, Measure
from trimtab.profile import profile as profiles
from trimtab.profile.columns import Column
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.store.records import Window

_MONTH: Final = 30 * 86_400_000_000
_LOOK_BACK: Final = 256
"""Windows that a judgement reads: the last 32, and more where small ones join."""


class Looked(Report, frozen=True, kw_only=True):
    """One window of the file: [start, end) in microseconds (0 without times) and what it showed."""

    start: int
    end: int
    rows: int
    reason: str = ""
    findings: list[Finding] = []
    measures: list[Measure] = []


class _Moved(NamedTuple):
    """The last window that showed data drift: its number, what was found, the windows it was judged with."""

    number: int
    findings: list[Finding]
    known: list[Profile]


def look(
    reference: Reference,
    columns: Mapping[str, Column],
    absent: Collection[str],
    spans: Spans,
    settings: MonitorConfig,
) -> tuple[list[Looked], Findings]:
    """Every window as it was when it was the newest, and the last judgement; `absent` features are
    not judged. The last window that shows data drift says how it came, where there are times.
    """
    see = partial(
        judge.judge, reference, budget=_budget(settings, spans), least_rows=settings.min_rows,
        altered=absent,
    )  # fmt: skip
    ends = [*spans.places[1:], len(spans.rows)]
    counter = profiles.Counter(reference.bins)
    counted: list[Profile] = []
    looked: list[Looked] = []
    newest, moved = Findings(), _Moved(0, [], [])
    cuts = zip(spans.starts, spans.places, ends, strict=True)
    for number, (start, first, end) in enumerate(cuts):
        part = {name: values[first:end] for name, values in columns.items()}
        counted.append(counter.count(part))
        begin = max(0, number + 1 - _LOOK_BACK)
        known = counted[begin:]
        newest = see(known)
        found = list(newest.findings)
        if found and spans.span:
            named = stale.renamed(found, reference, known, settings.min_rows)
            found = _lasting(named, newest, see(known[-1:]))
            if any(one.kind == "data drift" for one in found):
                moved = _Moved(number, found, known)
        looked.append(
            Looked(
                start=start,
                end=start + spans.span,
                rows=end - first,
                reason=newest.reason,
                findings=[_dated(one, spans, begin) for one in found],
                measures=[one for one in newest.measures if one.feature not in absent],
            )
        )
        if begin:
            counted[begin - 1] = profiles.empty(reference.bins)  # read no more
    if moved.findings:
        shaped = _shaped(reference, spans, moved)
        looked[moved.number] = msgspec.structs.replace(looked[moved.number], findings=shaped)
    return looked, newest


def _budget(settings: MonitorConfig, spans: Spans) -> Budget:
    return Budget(
        pages_per_month=settings.false_pages_per_month,
        windows_per_month=max(_MONTH / spans.span, 1.0) if spans.span else 30.0,
        scales=6 if spans.span else 1,
    )


def _lasting(found: Sequence[Finding], newest: Findings, alone: Findings) -> list[Finding]:
    """Findings, those said to be over that the newest window does not show `alone`, where it can be
    judged so.
    """
    kinds = {one.kind for one in (newest if alone.reason else alone).findings}
    return [episodes.lasting(one, kinds) for one in found]


def _shaped(reference: Reference, spans: Spans, moved: _Moved) -> list[Finding]:
    begin = moved.number + 1 - len(moved.known)
    windows = [
        Window(
            endpoint="",
            model="",
            role="file",
            start=start,
            end=start + spans.span,
            rows=0,
            profile="",
        )
        for start in spans.starts[begin : moved.number + 1]
    ]
    found = [episodes.shaped(one, reference, windows, moved.known) for one in moved.findings]
    return [_dated(one, spans, begin) for one in found]


def union(looked: Sequence[Looked]) -> list[Finding]:
    """The newest finding of each name over all windows."""
    found: dict[str, Finding] = {}
    for one in looked:
        for finding in one.findings:
            found[finding.kind] = finding
    return list(found.values())


def _dated(finding: Finding, spans: Spans, begin: int) -> Finding:
    """`since` as a moment, or 0 where the file has no times."""
    if finding.since is None:
        return finding
    said = f" since window {finding.since}:"
    start = spans.starts[begin + finding.since]
    when = f" since {ids.iso(start)}:" if spans.span else ":"
    return msgspec.structs.replace(finding, since=start, text=finding.text.replace(said, when))
