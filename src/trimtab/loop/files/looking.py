"""The windows of a file judged one after the other, each with those before it, as traffic is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from trimtab import ids
from trimtab.config import MonitorConfig
from trimtab.loop.files.answered import Quality
from trimtab.loop.reports import Report
from trimtab.monitor import judge
from trimtab.monitor.budget import Budget, per_month
from trimtab.monitor.drift import episodes
from trimtab.monitor.drift.episodes import Span
from trimtab.monitor.files import Spans
from trimtab.monitor.findings import Finding, Findings, Measure
from trimtab.profile import profile as profiles
from trimtab.profile.columns import Column
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.store.records import Episode

_LOOK_BACK: Final = 256
"""Windows that a judgement reads: the last 32, and more where small ones join."""


class Looked(Report, frozen=True, kw_only=True):
    """One window of the file: [start, end) in microseconds (0 without times) and what it showed.

    `quality` is the realised one of its rows, where there are times and outcomes.
    """

    start: int
    end: int
    rows: int
    reason: str = ""
    findings: list[Finding] = []
    measures: list[Measure] = []
    quality: list[Quality] = []


def look(
    reference: Reference,
    columns: Mapping[str, Column],
    absent: Collection[str],
    spans: Spans,
    settings: MonitorConfig,
) -> tuple[list[Looked], Findings]:
    """Every window as it was when it was the newest, and the last judgement; `absent` features are
    not judged. Where there are times, each window that shows data drift says how it came.
    """
    see = partial(
        judge.judge, reference, budget=budget(settings, spans), least_rows=settings.min_rows,
        altered=absent,
    )  # fmt: skip
    ends = [*spans.places[1:], len(spans.rows)]
    counter = profiles.Counter(reference.bins)
    counted: list[Profile] = []
    looked: list[Looked] = []
    known: list[Episode] = []
    newest, windows = Findings(), [Span(start, start + spans.span) for start in spans.starts]
    keys = episodes.seasons(reference, windows) if spans.span else []
    for number, (first, end) in enumerate(zip(spans.places, ends, strict=True)):
        part = {name: values[first:end] for name, values in columns.items()}
        counted.append(counter.count(part))
        begin = max(0, number + 1 - _LOOK_BACK)
        newest = see(counted[begin:], seasons=keys[begin : number + 1])
        found = list(newest.findings)
        if found and spans.span:
            found = episodes.told(
                found,
                reference,
                windows[begin : number + 1],
                counted[begin:],
                episodes.alone(newest, see(counted[-1:], seasons=keys[number : number + 1])),
                settings.min_rows,
                known,
                seasons=keys[begin : number + 1],
            )
        else:
            found = [_undated(one) for one in found]
        for one in episodes.changed(known, windows[number].start, found):
            known = [*(each for each in known if each.since != one.since), one]
        looked.append(
            Looked(
                start=windows[number].start,
                end=windows[number].end,
                rows=end - first,
                reason=newest.reason,
                findings=found,
                measures=[one for one in newest.measures if one.feature not in absent],
            )
        )
        if begin:
            counted[begin - 1] = profiles.empty(reference.bins)  # read no more
    return looked, newest


def budget(settings: MonitorConfig, spans: Spans) -> Budget:
    """The false alarms that judging a file may cost."""
    return Budget(
        pages_per_month=settings.false_pages_per_month,
        windows_per_month=per_month(spans.span) if spans.span else 30.0,
        scales=6 if spans.span else 1,
    )


def union(looked: Sequence[Looked]) -> list[Finding]:
    """What the windows showed, newest first: of each name the newest finding, and every older one as far
    as it is of features that no newer one of its name has. What was over before the last window is told
    as it was in the newest one that had it, with the end.
    """
    found: list[Finding] = []
    for still in (True, False):
        for place in range(len(looked) - 1, -1, -1):
            for one in looked[place].findings:
                fresh = _fresh(found, one) if episodes.lasts(one) is still else None
                if fresh is not None:
                    over = still and place + 1 < len(looked)
                    found.append(_until(fresh, looked[place + 1].start) if over else fresh)
    return found


def _fresh(found: Sequence[Finding], finding: Finding) -> Finding | None:
    """The finding as far as no other of its name tells of it; None where all of it is told."""
    same = [one for one in found if one.kind == finding.kind]
    if not same:
        return finding
    if finding.kind == "concept drift":  # of no feature: another one began at another time
        began = finding.since or 0
        told = any(began in (one.since, one.detail.get("repeats_since")) for one in same)
        return None if told else finding
    known = {each.feature for one in same for each in one.features}
    left = tuple(one for one in finding.features if one.feature not in known)
    if not left or len(left) == len(finding.features):
        return finding if left else None
    part = episodes.part(finding, left)
    text = re.sub(r"since window (\d+)", lambda at: f"since {ids.iso(int(at[1]))}", part.text)
    return msgspec.structs.replace(part, text=text)


def _until(finding: Finding, end: int) -> Finding:
    how = "over" if finding.kind == "concept drift" else "as the reference again"
    return msgspec.structs.replace(
        finding,
        text=f"{finding.text.removesuffix('.')}; {how} since {ids.iso(end)}.",
        detail={**finding.detail, "lasts": 0.0, "until": float(end)},
    )


def _undated(finding: Finding) -> Finding:
    """A finding of a file without times: it has one window, which began at 0."""
    if finding.since is None:
        return finding
    text = finding.text.replace(f" since window {finding.since}:", ":")
    features = tuple(msgspec.structs.replace(one, since=0) for one in finding.features)
    return msgspec.structs.replace(finding, since=0, text=text, features=features)
