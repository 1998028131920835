"""A source that stands still: the same value in every row, or event times that no longer move on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from trimtab.monitor.findings import OUTPUTS, FeatureFinding, Finding
from trimtab.profile.cells import NumberCells
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference

_SHARE: Final = 0.95
_USUAL: Final = 0.5


def stuck(
    reference: Reference, window: Profile, least_rows: int, altered: Collection[str] = ()
) -> list[str]:
    """Numeric features that hold one and the same value in 95 % of a window's rows and more.

    Only where no value held half of the reference's rows: what was always constant is not stuck. What
    the log holds `altered` is not looked at: every hash has the same length.
    """
    found, left = [], {*OUTPUTS, *reference.bins.made_of(altered)}
    spans = reference.bins.spans()
    for place, cells in enumerate(reference.bins.features):
        if not isinstance(cells, NumberCells) or cells.name in left:
            continue
        now, base = window.counts[spans[cells.name]], reference.profile.counts[spans[cells.name]]
        if window.rows < least_rows or base.max() > _USUAL * max(int(base.sum()), 1):
            continue
        if window.low[place] == window.high[place] and now.max() >= _SHARE * window.rows:
            found.append(cells.name)
    return found


def renamed(
    findings: Sequence[Finding],
    reference: Reference,
    windows: Sequence[Profile],
    least_rows: int,
    altered: Collection[str] = (),
) -> list[Finding]:
    """Findings in which features that stand still are a broken input of their own name.

    `since` is a position in `windows`, as in the findings.
    """
    names = stuck(reference, windows[-1], least_rows, altered) if windows else []
    if not names:
        return list(findings)
    since = len(windows) - 1
    while since > 0 and set(names) <= set(
        stuck(reference, windows[since - 1], least_rows, altered)
    ):
        since -= 1
    kept, mine = [], []
    for one in findings:
        mine += [each for each in one.features if each.feature in names]
        rest = tuple(each for each in one.features if each.feature not in names)
        inputs = [each for each in rest if each.feature not in OUTPUTS]
        if inputs or len(rest) == len(one.features):
            kept.append(msgspec.structs.replace(one, features=rest))
    first = _finding(names, mine, since)
    broken = next((one for one in kept if one.kind == first.kind), None)
    if broken is None:
        return [first, *kept]
    both = msgspec.structs.replace(
        first, features=(*first.features, *broken.features), text=f"{first.text} {broken.text}"
    )
    return [both, *(one for one in kept if one is not broken)]


def _finding(names: Sequence[str], mine: Sequence[FeatureFinding], since: int) -> Finding:
    known = {one.feature: one for one in mine}
    features = tuple(
        FeatureFinding(
            feature=name,
            statistic="stale",
            p=known[name].p if name in known else 0.0,
            effect=1.0,
            lo=_SHARE,
            hi=1.0,
            unit="share",
            note="is the same value in every row",
        )
        for name in names
    )
    return Finding(
        kind="broken input",
        severity="alarm",
        features=features,
        since=since,
        text=(
            f"Broken input (stale source) since window {since}: {', '.join(names)} "
            f"{'is' if len(names) == 1 else 'are'} the same value in every row."
        ),
        detail={"features": float(len(names)), "rows_touched": 1.0},
        form="stale source",
        share=1.0,
    )
