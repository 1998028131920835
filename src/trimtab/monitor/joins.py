"""Looks for features that came apart: each stands still by itself, their dependence does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor import dependence
from trimtab.monitor.budget import Margins
from trimtab.monitor.case import Signal, sure
from trimtab.monitor.findings import Kind
from trimtab.monitor.overdispersion import factor
from trimtab.monitor.windows import Suffixes
from trimtab.profile.pairs import KURTOSIS_ROWS, correlation, z_scores
from trimtab.profile.reference import Reference

Floats = NDArray[np.float64]


class _Scale(NamedTuple):
    """The scale with the surest difference, its variance factor and p-value."""

    entry: int
    p: float
    phi: float


def came_apart(
    reference: Reference,
    found: Suffixes,
    still: NDArray[np.bool_],
    level: float,
    margins: Margins,
) -> tuple[list[Signal], int]:
    """Signals of features whose correlations changed, and the first window of the change.

    `still` (paired features) says whose own distribution shows nothing: only pairs of those are
    judged, since a changed distribution changes correlations too.
    """
    profile, bins = reference.profile, reference.bins
    both = np.outer(still, still)
    stack = (profile.counts[None], profile.moments[None], np.array([profile.rows]))
    base = correlation(bins, *stack)[0]
    now = correlation(bins, found.counts, found.moments, found.rows)
    z = [
        z_scores(reference.pairs, r, rows, base, profile.rows) * both
        for r, rows in zip(now, found.rows.tolist(), strict=True)
    ]
    best = _best_scale(reference, found, z, both)
    if best is None or best.p >= level:
        return [], 0
    entry = best.entry
    peak = float(np.abs(z[entry]).max())
    signals = []
    for i, j in dependence.culprits(z[entry], max(peak / 2, 4 * best.phi**0.5)):
        effect = dependence.difference(
            float(now[entry][i, j]),
            int(found.rows[entry]),
            float(base[i, j]),
            profile.rows,
            float(reference.pairs.variance[i, j]) * best.phi,
        )
        if sure(effect) <= margins.correlation:
            continue
        gone = abs(now[entry][i, j]) < abs(base[i, j])
        kind: Kind = "broken join" if gone else "data drift"
        note = (
            f"correlation with {bins.names[j]} {now[entry][i, j]:.2f}, was {base[i, j]:.2f}, "
            "while both distributions stand still"
        )
        name, partner = bins.names[i], bins.names[j]
        signals.append(
            Signal(
                name, "correlation", kind, best.p, effect, "correlation", note, entry, (), partner
            )
        )
    run = int(np.argmax([float(np.abs(each).max()) for each in z]))
    return signals, int(found.first[run])


def _best_scale(
    reference: Reference, found: Suffixes, z: list[Floats], both: NDArray[np.bool_]
) -> _Scale | None:
    known = reference.dispersion
    best: _Scale | None = None
    for entry in found.scales:
        rows = float(found.rows[entry])
        trusted = both & (rows >= KURTOSIS_ROWS * reference.pairs.kurtosis)
        pairs = int(np.triu(trusted, 1).sum())
        if pairs == 0:
            continue
        phi = factor(known.pairs, known.rows, rows / (entry + 1)) if known else 1.0
        chunks = known.chunks if known else 0
        p = dependence.p_value(float(np.abs(z[entry]).max()), pairs, phi, chunks)
        if best is None or p < best.p:
            best = _Scale(entry, p, phi)
    return best
