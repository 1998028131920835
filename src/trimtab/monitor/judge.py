"""Judges windows against a reference: which inputs moved, broke or came apart, and how surely.

Pure: profiles in, findings out. Reading logs, keeping findings and alerting are left to others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from trimtab.monitor import budget as budgeting
from trimtab.monitor.budget import Budget, Margins
from trimtab.monitor.case import Case, Signal
from trimtab.monitor.findings import Findings
from trimtab.monitor.inspection import inspect
from trimtab.monitor.joins import came_apart
from trimtab.monitor.names import Onset, name_inputs
from trimtab.monitor.onset import strongest_run
from trimtab.monitor.shapes import measure
from trimtab.monitor.windows import LEAST_ROWS, Suffixes, suffixes
from trimtab.profile.dispersion import RATES
from trimtab.profile.profile import Profile
from trimtab.profile.reference import Reference


def judge(
    reference: Reference,
    windows: Sequence[Profile],
    *,
    budget: Budget | None = None,
    margins: Margins | None = None,
    least_rows: int = LEAST_ROWS,
    altered: Collection[str] = (),
) -> Findings:
    """The findings on the newest of `windows` (oldest first, equal spans of time).

    The last 1, 2, 4, ... windows are judged together, up to `budget.scales` merges, so that slow
    changes are seen too; windows under `least_rows` rows are joined with older ones. Features that
    the log holds `altered` or not at all are measured and not judged. Raises ConflictError where a
    window was counted on other bins.
    """
    budget, margins = budget or Budget(), margins or Margins()
    found = suffixes(reference.profile.bins, windows, budget.scales, least_rows)
    if found is None:
        rows = sum(window.rows for window in windows)
        return Findings(
            rows=rows,
            windows=len(windows),
            reason=f"{rows} rows are too few to judge; {least_rows} are needed",
        )
    level = budgeting.alpha(budget, len(reference.bins.features))
    cases = _cases(reference, found, level, margins)
    signals: list[Signal] = []
    onsets: Onset = {}
    still = np.ones(reference.bins.paired, dtype=np.bool_)
    for place, case in enumerate(cases):
        if case.cells.name in altered:
            still[place : place + 1] = False
            continue
        own = inspect(case)
        still[place : place + 1] = not own
        for signal in own:
            onsets[signal.feature, signal.test] = int(found.first[strongest_run(case, signal)])
        signals += own
    apart, since = came_apart(reference, found, still, level, margins)
    onsets |= {(signal.feature, signal.test): since for signal in apart}
    return Findings(
        findings=name_inputs([*signals, *apart], onsets, len(cases), margins),
        measures=tuple(measure(case) for case in cases),
        rows=int(found.rows[-1]),
        windows=len(windows) - int(found.first[-1]),
        alpha=level,
    )


def _cases(reference: Reference, found: Suffixes, level: float, margins: Margins) -> list[Case]:
    known = reference.dispersion
    spans = reference.bins.spans()
    return [
        Case(
            cells=cells,
            windows=found.counts[:, spans[cells.name]],
            reference=reference.profile.counts[spans[cells.name]],
            rows=found.rows,
            total=reference.profile.rows,
            scales=found.scales,
            alpha=level,
            margins=margins,
            chunks=known.chunks if known else 0,
            chunk_rows=known.rows if known else 0.0,
            shape=float(known.shape[i]) if known else 1.0,
            single=float(known.cells[i]) if known else 1.0,
            rates=dict(zip(RATES, known.rates[i].tolist(), strict=True)) if known else None,
        )
        for i, cells in enumerate(reference.bins.features)
    ]
