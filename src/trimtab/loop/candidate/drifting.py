"""How a data version is distributed, and how far its columns moved from another version's.

The same bins, tests and names as in production. It changes nothing and refuses nothing: what moved
between two versions is for people, who know whether it was meant to.
"""

from __future__ import annotations

import polars as pl

from trimtab.data import outline
from trimtab.data.outline import Outline
from trimtab.errors import DataError, NotFoundError
from trimtab.loop.project import Project
from trimtab.loop.reports import ColumnDrift, Drift
from trimtab.monitor import judge
from trimtab.monitor.findings import Findings
from trimtab.profile.bins import Bins
from trimtab.profile.profile import Profile
from trimtab.profile.shape import Shape
from trimtab.profile.shaping import shapes as shapes_of
from trimtab.profile.shaping import share
from trimtab.store.records import Version


def shapes(project: Project, version: Version) -> tuple[list[Shape], dict[str, str]]:
    """The distributions of a version, and the columns left out; none where its bytes are gone."""
    try:
        found = outline.of(project.ws, version, project.config.data.get(version.name))
    except (DataError, NotFoundError):
        return [], {}
    return shapes_of(found.reference.bins, found.reference.profile), found.left_out


def drift(
    project: Project, before: Version, after: Version, frames: tuple[pl.DataFrame, pl.DataFrame]
) -> Drift:
    """The columns of one version against those of another; `frames` are their tables."""
    known = project.config.data.get(before.name)
    try:
        base = outline.stored(project.ws, before)
        if base is None:
            base = outline.make(frames[0], known or outline.NO_ROLES, before.label)
    except DataError as error:
        return Drift(reason=error.message)
    bins = base.reference.bins
    now = _counted(outline.stored(project.ws, after), bins, frames[1])
    absent = [name for name in bins.needed if name not in frames[1].columns]
    if len(absent) == len(bins.needed):
        return Drift(reason=f"{after.label} has no column of {before.label} to compare")
    found = judge.judge(base.reference, [now], altered=absent)
    if found.reason:
        return Drift(reason=found.reason)
    return Drift(
        columns=_columns(bins, base, now, found, bins.made_of(absent)),
        said=[one.text.replace(f" since window {one.since}:", ":") for one in found.findings],
    )


def _counted(kept: Outline | None, bins: Bins, frame: pl.DataFrame) -> Profile:
    if kept is not None and kept.reference.bins == bins:
        return kept.reference.profile
    return outline.count(bins, frame)


def _columns(
    bins: Bins, base: Outline, now: Profile, found: Findings, absent: set[str]
) -> list[ColumnDrift]:
    spans, drifted = bins.spans(), set(found.drifted)
    rows = []
    for measure in found.measures:
        if measure.feature in absent:
            continue
        cells, span = bins.feature(measure.feature), spans[measure.feature]
        both = (base.reference.profile.counts[span], now.counts[span])
        old, new = (
            (share(cells, one, "missing", "mistyped"), share(cells, one, "outside", "unseen"))
            for one in both
        )
        rows.append(
            ColumnDrift(
                column=measure.feature,
                drifted=measure.feature in drifted,
                test=measure.statistic,
                p=measure.p,
                effect=measure.effect,
                lo=measure.lo,
                hi=measure.hi,
                unit=measure.unit,
                missing=(old[0], new[0]),
                unseen=(old[1], new[1]),
            )
        )
    return sorted(rows, key=lambda one: (not one.drifted, -one.effect))
