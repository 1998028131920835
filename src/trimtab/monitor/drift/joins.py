"""Looks for features that came apart: each stands still by itself, their dependence does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.budget import Margins
from trimtab.monitor.drift import dependence
from trimtab.monitor.drift.case import Signal, sure
from trimtab.monitor.drift.windows import Suffixes
from trimtab.monitor.findings import Kind, called
from trimtab.monitor.statistics.overdispersion import Chunks, factor
from trimtab.profile.bins import Bins
from trimtab.profile.pairs import KURTOSIS_ROWS, correlation, z_scores
from trimtab.profile.reference import Reference
from trimtab.profile.seasons import Base, whole

Floats = NDArray[np.float64]


_SWING = 4.0
"""The factor of ordinary variation from which on a feature never stands still."""


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
    bases: Sequence[Base] = (),
) -> tuple[list[Signal], int]:
    """Signals of features whose correlations changed, and the first window of the change.

    `still` (paired features) says whose own distribution shows nothing: only pairs of those are
    judged, since a changed distribution changes correlations too. `bases` are what each sum is
    compared with, the whole reference where they are left out.
    """
    bins = reference.bins
    outputs = np.array([called(name) != name for name in bins.names[: len(still)]])
    bases = bases or [whole(reference.profile)] * len(found.rows)
    still = still & ~_swinging(reference, len(still))
    both = np.outer(still, still) & _joinable(outputs, still)
    known: dict[int, Floats] = {}
    for base in bases:
        if id(base) not in known:
            known[id(base)] = _correlation(bins, base)
    before = [known[id(base)] for base in bases]
    now = correlation(bins, found.counts, found.moments, found.rows)
    z = [
        z_scores(reference.pairs, r, rows, old, base.rows) * both
        for r, rows, old, base in zip(now, found.rows.tolist(), before, bases, strict=True)
    ]
    best = _best_scale(reference, found, z, both)
    if best is None or best.p >= level:
        return [], 0
    entry = best.entry
    was = before[entry]
    peak = float(np.abs(z[entry]).max())
    signals = []
    for i, j in dependence.culprits(z[entry], max(peak / 2, 4 * best.phi**0.5)):
        if outputs[j] and not outputs[i]:  # what the model says of inputs is theirs to explain
            i, j = j, i
        effect = dependence.difference(
            float(now[entry][i, j]),
            int(found.rows[entry]),
            float(was[i, j]),
            bases[entry].rows,
            float(reference.pairs.variance[i, j]) * best.phi,
        )
        if sure(effect) <= margins.correlation:
            continue
        gone = abs(now[entry][i, j]) < abs(was[i, j])
        kind: Kind = "broken join" if gone else "data drift"
        note = (
            f"correlation with {called(bins.names[j])} {now[entry][i, j]:.2f}, was {was[i, j]:.2f}, "
            "while both distributions stand still"
        )
        name, partner = bins.names[i], bins.names[j]
        signals.append(
            Signal(
                name, "correlation", kind, best.p, effect, "correlation", note, entry, (), partner
            )
        )
    # as if the reference were endless, see `onset.strongest_run`
    endless = [
        math.sqrt(1 + rows / max(one.rows, 1)) for rows, one in zip(found.rows, bases, strict=True)
    ]
    run = int(
        np.argmax([float(np.abs(each).max()) * by for each, by in zip(z, endless, strict=True)])
    )
    return signals, int(found.first[run])


def _swinging(reference: Reference, paired: int) -> NDArray[np.bool_]:
    """Features that differ from window to window by themselves, such as by a weekday that is not known.

    Within one window they vary less than in the reference, so what they have to do with others differs.
    """
    if reference.dispersion is None:
        return np.zeros(paired, dtype=np.bool_)
    found: NDArray[np.bool_] = np.asarray(reference.dispersion.shape)[:paired] > _SWING
    return found


def _joinable(outputs: NDArray[np.bool_], still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs (feature, feature) that could have come from one row of a join.

    A score and its decision never were joined. An answer depends on every input, so where one of
    them moved, what it has to do with the others moves as well.
    """
    if still[~outputs].all():
        return ~np.outer(outputs, outputs)
    return np.outer(~outputs, ~outputs)


def _correlation(bins: Bins, base: Base) -> Floats:
    rows = np.array([base.rows])
    found: Floats = correlation(bins, base.counts[None], base.moments[None], rows)[0]
    return found


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
        bursts = reference.clusters.pairs if reference.clusters else 1.0
        if known is None:
            phi, chunks = bursts, reference.clusters.chunks if reference.clusters else 0
        else:
            phi = factor(
                known.pairs, Chunks(known.chunks, known.rows), rows / (entry + 1),
                float(reference.profile.rows), windows=entry + 1, clusters=bursts,
            )  # fmt: skip
            chunks = known.chunks
        p = dependence.p_value(float(np.abs(z[entry]).max()), pairs, phi, chunks)
        if best is None or p < best.p:
            best = _Scale(entry, p, phi)
    return best
