"""Episodes: when a trouble of one kind began, when it was over, and whether it has been here before.

A finding on inputs is given its form here; what ended is remembered beyond the windows that are
looked at, so that a return is called recurring.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from trimtab import ids
from trimtab.monitor import names
from trimtab.monitor.drift import forms, over, spells
from trimtab.monitor.findings import (
    DEFECTS,
    EACH_A_CAUSE,
    OUTPUTS,
    FeatureFinding,
    Finding,
    Findings,
)
from trimtab.monitor.requests import stale
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.store.records import Episode, Window

if TYPE_CHECKING:  # a monitor of a table alone has no database
    from trimtab.store.workspace import Workspace

AGAIN: Final = "; the newest window is as the reference again"


class Dated(Protocol):
    """Whatever has a beginning and an end (microseconds), such as a window in the store."""

    @property
    def start(self) -> int: ...  # noqa: D102 - see the class
    @property
    def end(self) -> int: ...  # noqa: D102 - see the class


class Span(NamedTuple):
    """The beginning and end (microseconds) of a window that no store has."""

    start: int
    end: int


def seasons(reference: Reference, windows: Sequence[Dated]) -> list[int | None]:
    """The windows' keys, where the reference is kept by season."""
    known = reference.seasons
    if known is None or known.calendar is None:
        return []
    return [known.calendar.key(one.start, one.end) for one in windows]


def told(
    findings: Sequence[Finding],
    reference: Reference,
    windows: Sequence[Dated],
    counted: Sequence[Profile],
    alone: Collection[str],
    least_rows: int,
    past: Sequence[Episode] = (),
    altered: Collection[str] = (),
    seasons: Sequence[int | None] = (),
) -> list[Finding]:
    """Findings on windows as people are told of them: with forms, beginnings as moments, and whether
    they are over. `alone` are the kinds that the newest window shows by itself, `past` what ended or is not
    over yet, `altered` the columns that the log does not hold as they were, `seasons` the windows' keys.
    """
    plain = stale.renamed(findings, reference, counted, least_rows, altered)
    named = (settled(one, reference, counted, alone, seasons) for one in plain)
    shapes = (shaped(one, reference, windows, counted, past, seasons) for one in named)
    found = (dated(one, windows) for one in shapes)
    return [_lasting_since(one, past) for one in found]


def alone(together: Findings, newest: Findings) -> set[str]:
    """The kinds that the newest window shows by itself; those that all show together where it has too
    few rows to be judged.
    """
    return {one.kind for one in (together if newest.reason else newest).findings}


def settled(
    finding: Finding,
    reference: Reference,
    counted: Sequence[Profile],
    alone: Collection[str],
    seasons: Sequence[int | None] = (),
) -> Finding:
    """A finding without the features that have it no more. A defect's each have it since their own newest
    spell began; as it was where all are over, and where its tests tell no spell (see `lasting`).
    """
    if finding.kind == "data drift":
        return _still_moved(finding, reference, counted, seasons)
    if finding.kind not in EACH_A_CAUSE or finding.form == "stale source":
        return lasting(finding, alone, reference, counted, seasons)
    spans = reference.bins.spans()
    known = [
        spells.spell(reference, counted, one, spans[one.feature], seasons)
        for one in finding.features
    ]
    if not any(known):
        return lasting(finding, alone, reference, counted, seasons)
    rest = lasts(lasting(finding, alone, reference, counted, seasons))
    both = list(zip(finding.features, known, strict=True))
    left = [mine.found if mine else one for one, mine in both if (mine.lasts if mine else rest)]
    features = tuple(left or (mine.found if mine else one for one, mine in both))
    now = part(finding, features)
    return now if left else _over(now)


def _still_moved(
    finding: Finding,
    reference: Reference,
    counted: Sequence[Profile],
    seasons: Sequence[int | None],
) -> Finding:
    """A drift without the features that are as the reference again; as it was where all are."""
    if len(finding.features) < 2:  # its form tells whether that is over
        return finding
    left = tuple(
        one for one in finding.features if over.moved_still(one, reference, counted, seasons)
    )
    if not left or len(left) == len(finding.features):
        return finding
    return part(finding, left)


def part(finding: Finding, features: tuple[FeatureFinding, ...]) -> Finding:
    """What a finding says of some of its features, its form but that of a defect left out."""
    shares = [abs(one.effect) for one in features if one.unit == "share"]
    since = features[0].since if features[0].since is not None else finding.since or 0
    form = names.form_of(finding.kind, features[0].statistic)
    count = len({one.feature for one in features})
    detail = {"features": float(count), "p": features[0].p, "effect": features[0].effect}
    return msgspec.structs.replace(
        finding,
        severity=names.severity(finding.kind, features),
        features=features,
        since=since,
        form=form,
        share=max(shares, default=None),
        slices=finding.slices if any(one.feature in OUTPUTS for one in features) else (),
        text=names.sentence(
            finding.kind,
            form,
            features,
            int(finding.detail.get("of", len(features))),
            since,
            apart=finding.kind in EACH_A_CAUSE,
        ),
        detail={**finding.detail, **detail},
    )


def lasting(
    finding: Finding,
    alone: Collection[str],
    reference: Reference,
    counted: Sequence[Profile],
    seasons: Sequence[int | None] = (),
) -> Finding:
    """A defect that sums of windows still show is over where the newest one `alone` has no such kind,
    and lies nearer to the reference than to the defect.
    """
    if finding.kind not in DEFECTS or finding.kind in alone:
        return finding
    return finding if over.still_there(finding, reference, counted, seasons) else _over(finding)


def _over(finding: Finding) -> Finding:
    detail = {**finding.detail, "lasts": 0.0}
    return msgspec.structs.replace(
        finding, text=finding.text.removesuffix(".") + AGAIN + ".", detail=detail
    )


def lasts(finding: Finding) -> bool:
    """Whether the newest of the windows that were judged shows it."""
    return finding.detail.get("lasts", 1.0) > 0


def dated(finding: Finding, windows: Sequence[Dated]) -> Finding:
    """A finding that tells the moment and not the position of the window in which it began."""
    if finding.since is None:
        return finding
    start = windows[finding.since].start
    text = finding.text.replace(f"since window {finding.since}:", f"since {ids.iso(start)}:")
    features = []
    for one in finding.features:
        begun = None if one.since is None else windows[one.since].start
        if begun is not None:
            text = text.replace(f"(since window {one.since})", f"(since {ids.iso(begun)})")
        features.append(msgspec.structs.replace(one, since=begun))
    return msgspec.structs.replace(finding, since=start, text=text, features=tuple(features))


def _lasting_since(finding: Finding, known: Sequence[Episode]) -> Finding:
    """A drift that began in windows which are looked at no more: its episode remembers."""
    if finding.kind != "data drift" or finding.since is None or finding.form == "recurring":
        return finding
    worst, since = finding.features[0], finding.since
    mine = [
        one for one in known
        if not one.until and one.since < since and worst.feature in one.features
    ]  # fmt: skip
    if not mine or not lasts(finding):
        return finding
    begun = mine[0].since
    text = finding.text.replace(f"since {ids.iso(since)}:", f"since {ids.iso(begun)}:", 1)
    first = msgspec.structs.replace(worst, since=begun)
    return msgspec.structs.replace(
        finding, since=begun, text=text, features=(first, *finding.features[1:])
    )


def shaped(
    finding: Finding,
    reference: Reference,
    windows: Sequence[Dated],
    counted: Sequence[Profile],
    past: Sequence[Episode] = (),
    seasons: Sequence[int | None] = (),
) -> Finding:
    """The finding with its form, its beginning by the course of its worst feature, and its share.

    `finding.since` is a position in `windows`, and stays one. Other kinds come back as they are, and
    one window alone tells no form.
    """
    if finding.kind != "data drift" or finding.since is None or not finding.features:
        return finding
    if finding.features[0].statistic == "correlation":
        return finding
    cut = max(0, min(len(windows) - over.LOOKED, finding.since - over.BEFORE))
    near = _shifted(finding, -cut)
    found = _shifted(
        _shaped(near, reference, windows[cut:], counted[cut:], past, seasons[cut:]), cut
    )
    worst = msgspec.structs.replace(found.features[0], since=found.since)
    return msgspec.structs.replace(found, features=(worst, *found.features[1:]))


def _shaped(
    finding: Finding,
    reference: Reference,
    windows: Sequence[Dated],
    counted: Sequence[Profile],
    past: Sequence[Episode],
    seasons: Sequence[int | None],
) -> Finding:
    worst = finding.features[0]
    found = forms.course(reference, counted, worst.feature, finding.since or 0, seasons)
    if found is None:
        return finding
    shape = forms.shape(found)
    form, said = shape.form if len(windows) > 1 else "", ""
    if shape.before is not None:
        first, last = (windows[place] for place in shape.before)
        said = f", as from {ids.iso(first.start)} to {ids.iso(last.end)}"
    else:
        # from here on: its own episode is none before
        begun = windows[max(shape.since, finding.since or 0)].start
        same = [
            one
            for one in past
            if 0 < one.until <= begun and one.features.get(worst.feature) == found.sign
        ]
        if same:
            form = "recurring"
            said = f", as from {ids.iso(same[-1].since)} to {ids.iso(same[-1].until)}"
    again = "" if shape.lasts else AGAIN
    # where a step alone fits, the sums of windows that gave the alarm tell its beginning best
    since = finding.since if shape.form == "sudden" else shape.since
    text = finding.text
    if form:
        text = text.replace("Data drift in ", f"Data drift ({form}{said}) in ", 1)
    shifted = _shifted(
        msgspec.structs.replace(finding, text=text), (since or 0) - (finding.since or 0)
    )
    text = shifted.text
    return msgspec.structs.replace(
        shifted,
        form=form,
        share=max(finding.share or 0.0, found.share),
        text=text.removesuffix(".") + again + ".",
        detail={**finding.detail, "lasts": float(shape.lasts), "sign": float(found.sign)},
    )


def _shifted(finding: Finding, by: int) -> Finding:
    """The finding where positions of windows are counted from another one."""
    if not by or finding.since is None:
        return finding
    since = finding.since + by
    text = finding.text.replace(f"since window {finding.since}:", f"since window {since}:", 1)
    return msgspec.structs.replace(finding, since=since, text=text)


def note(ws: Workspace, window: Window, findings: Sequence[Finding]) -> None:
    """Begin, go on with or end the episode of data drift after a window was judged."""
    from trimtab.store import estimates  # noqa: PLC0415 - a monitor of a table has no database

    known = estimates.episodes(ws, window.endpoint, model=window.model, kind="data drift")
    for one in changed(known, window.start, findings, window.endpoint, window.model):
        estimates.save_episode(ws, one)


def changed(
    known: Sequence[Episode],
    start: int,
    findings: Sequence[Finding],
    endpoint: str = "",
    model: str = "",
) -> list[Episode]:
    """The episodes of data drift that a judged window ended or began; `start` is the window's."""
    found = next((one for one in findings if one.kind == "data drift"), None)
    is_open = next((one for one in known if not one.until), None)
    is_there = found is not None and lasts(found)
    done = []
    if is_open is not None and not is_there and start >= is_open.since:
        done.append(msgspec.structs.replace(is_open, until=start))
    if found is None or not is_there or is_open is not None or "sign" not in found.detail:
        return done
    begun = Episode(
        endpoint=endpoint,
        model=model,
        kind=found.kind,
        since=start if found.since is None else found.since,
        form=found.form,
        features={found.features[0].feature: int(found.detail["sign"])},
    )
    return [*done, begun]


def known(ws: Workspace, window: Window) -> list[Episode]:
    """The episodes of data drift that ended before a window, and one that has not ended."""
    from trimtab.store import estimates  # noqa: PLC0415 - a monitor of a table has no database

    found = estimates.episodes(ws, window.endpoint, model=window.model, kind="data drift")
    return [one for one in found if one.since <= window.start and one.until <= window.start]
