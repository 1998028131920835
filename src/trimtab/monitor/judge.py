"""Judges windows against a reference: which inputs moved, broke or came apart, and how surely.

Pure: profiles in, findings out. Reading logs, keeping findings and alerting are left to others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from trimtab.errors import UsageError
from trimtab.monitor import budget as budgeting
from trimtab.monitor.budget import Budget, Margins
from trimtab.monitor.drift.case import Case, Signal, Spread
from trimtab.monitor.drift.compare import compare
from trimtab.monitor.drift.defects import surest_defect
from trimtab.monitor.drift.inspection import inspect
from trimtab.monitor.drift.joins import came_apart
from trimtab.monitor.drift.onset import strongest_run
from trimtab.monitor.drift.slices import measure_slices, placed, together
from trimtab.monitor.drift.windows import LEAST_ROWS, Suffixes, suffixes
from trimtab.monitor.findings import OUTPUTS, Findings, Measure
from trimtab.monitor.names import Onset, name_inputs
from trimtab.monitor.statistics.multiplicity import discoveries
from trimtab.profile.dispersion import RATES, Dispersion
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference
from trimtab.profile.seasons import Base, mix, whole


def judge(
    reference: Reference,
    windows: Sequence[Profile],
    *,
    budget: Budget | None = None,
    margins: Margins | None = None,
    least_rows: int = LEAST_ROWS,
    altered: Collection[str] = (),
    seasons: Sequence[int | None] = (),
) -> Findings:
    """The findings on the newest of `windows` (oldest first, equal spans of time).

    The last 1, 2, 4, ... windows are judged together, up to `budget.scales` merges and for shapes
    those between, so that slow changes are seen too; windows under `least_rows` rows are joined with
    older ones. Features that the log holds `altered` or not at all are measured and not judged.
    `seasons` are the windows' keys, where the reference has them. Raises ConflictError where a window
    was counted on other bins, UsageError where seasons and windows differ in number.
    """
    budget, margins = budget or Budget(), margins or Margins()
    altered = reference.bins.made_of(altered)
    found = suffixes(reference.profile.bins, windows, budget.scales, least_rows)
    if found is None:
        rows = sum(window.rows for window in windows)
        return Findings(
            rows=rows,
            windows=len(windows),
            reason=f"{rows} {'row is' if rows == 1 else 'rows are'} too few to judge; {least_rows} are "
            "needed",
        )
    level = budgeting.alpha(budget, len(reference.bins.features))
    bases = _bases(reference, found, windows, seasons)
    reference = _in_season(reference, seasons[found.first[-1] :])
    cases = _cases(reference, found, bases, level, budget.scales, margins)
    altered = {*altered, *(case.cells.name for case in cases if case.rows[0] < least_rows)}
    signals: list[Signal] = []
    onsets: Onset = {}
    still = np.ones(reference.bins.paired, dtype=np.bool_)
    for place, case in enumerate(cases):
        if case.cells.name in altered:
            still[place : place + 1] = False
            continue
        own = inspect(case)
        still[place : place + 1] = not own and case.rows[-1] == found.rows[-1]
        for signal in own:
            onsets[signal.feature, signal.test] = int(found.first[strongest_run(case, signal)])
        signals += own
    apart, since = came_apart(reference, found, still, level, margins, bases)
    onsets |= {(signal.feature, signal.test): since for signal in apart}
    judged = sum(case.cells.name not in altered for case in cases)
    measures = compare(reference, found.counts[0], float(found.rows[0]), bases[0])
    named = name_inputs([*signals, *apart], onsets, judged, margins)
    return Findings(
        findings=tuple(
            placed(one, reference, windows, found, bases, margins, judged) for one in named
        ),
        measures=tuple(measures),
        slices=measure_slices(reference, together(windows[found.first[0] :]), bases[0]),
        drifted=_drifted(cases, measures, altered),
        rows=int(found.rows[-1]),
        windows=len(windows) - int(found.first[-1]),
        alpha=level,
    )


def _bases(
    reference: Reference,
    found: Suffixes,
    windows: Sequence[Profile],
    seasons: Sequence[int | None],
) -> list[Base]:
    """What each sum is compared with: the reference, or the seasons of its windows."""
    if seasons and len(seasons) != len(windows):
        raise UsageError(
            f"there are {len(seasons)} seasons for {len(windows)} windows",
            hint="give the key of every window, None where it has none",
        )
    if reference.seasons is None or not seasons:
        return [whole(reference.profile)] * len(found.rows)
    rows: dict[int | None, int] = {}
    bases, newer = [], len(windows)
    for first in found.first.tolist():
        for place in range(first, newer):
            rows[seasons[place]] = rows.get(seasons[place], 0) + windows[place].rows
        newer = first
        bases.append(mix(reference.profile, reference.seasons, rows))
    return bases


def _drifted(
    cases: Sequence[Case], measures: Sequence[Measure], altered: Collection[str]
) -> tuple[str, ...]:
    """The discoveries among the newest window's features, by distribution or by a defect."""
    names, p = [], []
    for case, measure in zip(cases, measures, strict=True):
        if measure.feature not in altered:
            names.append(measure.feature)
            p.append(min(1.0, 2 * min(measure.p, surest_defect(case))))
    return tuple(names[place] for place in discoveries(p))


def _in_season(reference: Reference, seasons: Sequence[int | None]) -> Reference:
    """The reference with the ordinary variation of one season, where all windows have theirs."""
    known = reference.seasons
    if known is None or not seasons or not set(seasons) <= set(known.keys):
        return reference
    return replace(reference, dispersion=known.dispersion)


def _cases(
    reference: Reference,
    found: Suffixes,
    bases: Sequence[Base],
    level: float,
    scales: int,
    margins: Margins,
) -> list[Case]:
    known, bursts = reference.dispersion, reference.clusters
    spans = reference.bins.spans()
    counts = np.stack([base.counts for base in bases])
    totals = np.array([base.rows for base in bases])
    both = [_factors(one, len(reference.bins.features)) for one in (known, bursts)]
    shape = budgeting.shape_level(level, scales)
    degrees = known.chunks if known else bursts.chunks if bursts else 0
    return [
        Case(
            cells=cells,
            windows=found.counts[:, spans[cells.name]],
            reference=reference.profile.counts[spans[cells.name]],
            rows=found.counts[:, spans[cells.name]].sum(axis=1)
            if cells.name in OUTPUTS  # not all rows tell them, see `embed.untold`
            else found.rows,
            total=reference.profile.rows,
            bases=counts[:, spans[cells.name]],
            totals=totals,
            scales=found.scales,
            merges=found.merges,
            alpha=level,
            shape_alpha=shape,
            margins=margins,
            chunks=degrees,
            law=reference.law(i),
            chunk_rows=known.rows if known else 0.0,
            shape=Spread(*(factors[0][i] for factors in both)),
            single=Spread(*(factors[1][i] for factors in both)),
            rates={
                name: Spread(*(factors[2][i][j] for factors in both))
                for j, name in enumerate(RATES)
            },
        )
        for i, cells in enumerate(reference.bins.features)
    ]


def _factors(
    known: Dispersion | None, features: int
) -> tuple[list[float], list[float], list[list[float]]]:
    """Shape, cells and rates as plain numbers; 1 where nothing is known."""
    if known is None:
        return [1.0] * features, [1.0] * features, [[1.0] * len(RATES)] * features
    return known.shape.tolist(), known.cells.tolist(), known.rates.tolist()
