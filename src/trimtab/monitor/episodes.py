"""Episodes: when a trouble of one kind began, when it was over, and whether it has been here before.

A finding on inputs is given its form here; what ended is remembered beyond the windows that are
looked at, so that a return is called recurring.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from trimtab import ids
from trimtab.monitor import forms
from trimtab.monitor.findings import Finding
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.store import estimates
from trimtab.store.records import Episode, Window
from trimtab.store.workspace import Workspace

AGAIN: Final = "; the newest window is as the reference again"
DEFECTS: Final[frozenset[str]] = frozenset({"broken input", "broken join", "skew"})


def lasting(finding: Finding, alone: Collection[str]) -> Finding:
    """A defect that sums of windows still show though the newest one `alone` has no such kind is over."""
    if finding.kind not in DEFECTS or finding.kind in alone:
        return finding
    detail = {**finding.detail, "lasts": 0.0}
    return msgspec.structs.replace(
        finding, text=finding.text.removesuffix(".") + AGAIN + ".", detail=detail
    )


def lasts(finding: Finding) -> bool:
    """Whether the newest of the windows that were judged shows it."""
    return finding.detail.get("lasts", 1.0) > 0


def dated(finding: Finding, windows: Sequence[Window]) -> Finding:
    """A finding that tells the moment and not the position of the window in which it began."""
    if finding.since is None:
        return finding
    start = windows[finding.since].start
    text = finding.text.replace(f"since window {finding.since}:", f"since {ids.iso(start)}:")
    return msgspec.structs.replace(finding, since=start, text=text)


def shaped(
    finding: Finding,
    reference: Reference,
    windows: Sequence[Window],
    counted: Sequence[Profile],
    past: Sequence[Episode] = (),
) -> Finding:
    """The finding with its form, its beginning by the course of its worst feature, and its share.

    `finding.since` is a position in `windows`, and stays one. Other kinds come back as they are.
    """
    if finding.kind != "data drift" or finding.since is None or not finding.features:
        return finding
    worst = finding.features[0]
    if worst.statistic == "correlation":
        return finding
    found = forms.course(reference, counted, worst.feature, finding.since)
    if found is None:
        return finding
    shape = forms.shape(found)
    form, said = shape.form, ""
    if shape.before is not None:
        first, last = (windows[place] for place in shape.before)
        said = f", as from {ids.iso(first.start)} to {ids.iso(last.end)}"
    else:
        same = [one for one in past if one.until and one.features.get(worst.feature) == found.sign]
        if same:
            form = "recurring"
            said = f", as from {ids.iso(same[-1].since)} to {ids.iso(same[-1].until)}"
    again = "" if shape.lasts else AGAIN
    # where a step alone fits, the sums of windows that gave the alarm tell its beginning best
    since = finding.since if shape.form == "sudden" else shape.since
    text = finding.text.replace("Data drift in ", f"Data drift ({form}{said}) in ", 1)
    text = text.replace(f"since window {finding.since}:", f"since window {since}:", 1)
    return msgspec.structs.replace(
        finding,
        form=form,
        since=since,
        share=max(finding.share or 0.0, found.share),
        text=text.removesuffix(".") + again + ".",
        detail={**finding.detail, "lasts": float(shape.lasts), "sign": float(found.sign)},
    )


def note(ws: Workspace, window: Window, findings: Sequence[Finding]) -> None:
    """Begin, go on with or end the episode of data drift after a window was judged."""
    found = next((one for one in findings if one.kind == "data drift"), None)
    known = estimates.episodes(ws, window.endpoint, model=window.model, kind="data drift")
    is_open = next((one for one in known if not one.until), None)
    lasts = found is not None and found.detail.get("lasts", 1.0) > 0
    if is_open is not None and not lasts and window.start >= is_open.since:
        estimates.save_episode(ws, msgspec.structs.replace(is_open, until=window.start))
    if found is None or not lasts or is_open is not None or "sign" not in found.detail:
        return
    estimates.save_episode(
        ws,
        Episode(
            endpoint=window.endpoint,
            model=window.model,
            kind=found.kind,
            since=window.start if found.since is None else found.since,
            form=found.form,
            features={found.features[0].feature: int(found.detail["sign"])},
        ),
    )


def past(ws: Workspace, window: Window) -> list[Episode]:
    """The episodes of data drift that ended before a window."""
    known = estimates.episodes(ws, window.endpoint, model=window.model, kind="data drift")
    return [one for one in known if one.until and one.until <= window.start]
