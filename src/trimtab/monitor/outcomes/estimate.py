"""What a window's quality is expected to be before its labels come, and how it was estimated.

Importance-weighted calibration where the inputs moved and weights can carry it, else CBPE, else
direct loss estimation for regressions. What was not estimated says why. Pure: rows in, estimates out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.basis import Basis
from trimtab.monitor.drift import coarse
from trimtab.monitor.drift.coarse import Groups
from trimtab.monitor.findings import Finding, called
from trimtab.monitor.outcomes import cbpe, loss
from trimtab.monitor.outcomes import curve as curves
from trimtab.monitor.outcomes import weights as weighing
from trimtab.monitor.outcomes.calibration import cell_of, isotonic
from trimtab.monitor.outcomes.cbpe import Estimate, Known
from trimtab.monitor.outcomes.expected import BINARY, MULTICLASS

Floats = NDArray[np.float64]

WEIGHTED: Final = "cbpe-weighted"
_LEAST_NEW: Final = 200
_BALANCE: Final = 0.03
_STRANGE: Final = 0.01
_ALWAYS: Final = {
    "binary": ("accuracy", "roc_auc", "average_precision", "f1", "precision", "recall"),
    "multiclass": (
        "accuracy",
        "roc_auc_ovr",
        "macro_average_precision",
        "macro_f1",
        "macro_precision",
        "macro_recall",
    ),
    "regression": ("mae", "rmse"),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """The rows of a window: scores (n,) or (n, k), decisions (True or the class's place), and the
    groups of some of them (m, features); no groups where the log does not hold inputs as they were.
    """

    score: Floats
    decided: NDArray[np.bool_] | NDArray[np.int64]
    groups: Groups | None


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates of one window; `effective` is the weights' effective sample as a share, 1 for none.

    `reason` says why there is none, or why the plainer way was taken.
    """

    estimates: tuple[Estimate, ...] = ()
    effective: float = 1.0
    reason: str = ""
    untrusted: str = ""


def estimate(
    basis: Basis,
    task: str,
    rows: Asked,
    findings: Sequence[Finding] = (),
    metrics: Collection[str] = (),
) -> Estimated:
    """The expected metrics of these rows: the usual ones and `metrics` where they can be had.

    `findings` are those open on the inputs: while there are any, estimates are untrusted.
    """
    if not len(rows.score):
        return Estimated(reason="no row was answered")
    names = [*_ALWAYS[task], *(one for one in metrics if one not in _ALWAYS[task])]
    found = _regression(basis, rows, names, bool(findings)) if task == "regression" else (
        _classes(basis, task, rows, names, bool(findings))
    )  # fmt: skip
    why = _untrusted(basis, rows, findings)
    if not why:
        return found
    marked = tuple(msgspec.structs.replace(one, untrusted=why) for one in found.estimates)
    return msgspec.structs.replace(found, estimates=marked, untrusted=why)


def _regression(basis: Basis, rows: Asked, names: Sequence[str], moved: bool) -> Estimated:
    if not basis.losses:
        return Estimated(reason="the model's package has no trees that estimate errors")
    if rows.groups is None or not len(rows.groups):
        return Estimated(reason="the log does not hold the inputs as they were")
    trees = {"mae": "absolute", "mse": "squared", "rmse": "squared"}
    weight, effective, reason = None, 1.0, ""
    if moved and all(one.rest for one in basis.losses.values()):
        weight, effective, reason = _weights(basis, rows.groups)
    return Estimated(
        estimates=tuple(
            loss.estimate(
                name, basis.losses[trees[name]], rows.groups, rows=len(rows.score),
                weight=weight, effective=effective,
            )
            for name in names
            if name in trees
        ),
        effective=effective,
        reason=reason,
    )  # fmt: skip


def _weights(basis: Basis, groups: Groups | None) -> tuple[Floats | None, float, str]:
    """A weight for each withheld row of the sample that makes them stand for rows of these groups, or
    None; the effective sample as a share; the reason why there is none.

    The gates: Kish's effective sample, and that the weighted rows are really distributed like these.
    """
    if basis.sample is None or groups is None or len(groups) < _LEAST_NEW:
        return None, 1.0, "too few rows with inputs to weight withheld rows by"
    # a row a little outside says more of today than a group that no withheld row is in
    old, groups = (coarse.within(basis.coarse, one) for one in (basis.sample.open()[0], groups))
    weight = weighing.weights(old, groups)
    effective = weighing.effective(weight)
    if effective * len(old) < min(weighing.LEAST_EFFECTIVE * len(old), weighing.ENOUGH_ROWS):
        return None, effective, f"weights would rest on {effective:.0%} of the withheld rows"
    if weighing.imbalance(old, groups, weight) > _BALANCE:
        return None, effective, "no weights make withheld rows look like these"
    return weight, effective, ""


def _classes(basis: Basis, task: str, rows: Asked, names: Sequence[str], moved: bool) -> Estimated:
    if not basis.known:
        return Estimated(reason="the model's scores are no probabilities that could be calibrated")
    known, effective, reason = basis.known, 1.0, ""
    method = "cbpe"
    if moved:
        better, effective, reason = weighted(basis, rows)
        if better:
            known, method = better, WEIGHTED
    if task == "binary":
        wanted = [one for one in names if one in BINARY]
        found = cbpe.binary(known[0], rows.score, rows.decided, wanted, method=method)
    else:
        wanted = [one for one in names if one in MULTICLASS]
        found = cbpe.multiclass(known, rows.score, rows.decided, wanted, method=method)
    return Estimated(estimates=tuple(found), effective=effective, reason=reason)


def weighted(basis: Basis, rows: Asked) -> tuple[tuple[Known, ...], float, str]:
    """What scores mean to rows like these: knowledge refitted on withheld rows weighted alike.

    Returns nothing where weights cannot carry it, the effective sample as a share, and the reason.
    """
    weight, effective, reason = _weights(basis, rows.groups)
    if weight is None or basis.sample is None:
        return (), effective, reason
    _, score, truth = basis.sample.open()
    parts = [(score, truth == 1)] if score.ndim == 1 else [
        (score[:, c], truth == c) for c in range(score.shape[1])
    ]  # fmt: skip
    return tuple(
        _refitted(known, values, mine.astype(np.float64), weight)
        for known, (values, mine) in zip(basis.known, parts, strict=True)
    ), effective, ""  # fmt: skip


def _refitted(known: Known, score: Floats, event: Floats, weight: Floats) -> Known:
    curve = curves.fit(score, event, weight)
    cells = cell_of(known.calibration, score)
    size = len(known.calibration.rows)
    mass: Floats = np.bincount(cells, weight, size).astype(np.float64)
    square = np.bincount(cells, weight**2, size)
    rate: Floats = (np.bincount(cells, weight * event, size) + 0.5) / (mass + 1)
    middle = np.divide(
        np.bincount(cells, weight * score, size),
        mass,
        out=np.array(known.calibration.scores),
        where=mass > 0,
    )
    blunt = msgspec.structs.replace(
        known.calibration,
        scores=tuple(middle.tolist()),
        chances=tuple(isotonic(rate, mass + 1e-9).tolist()),
    )
    # rows behind a cell by Kish; a cell without any is as unsure as a coin
    rows = np.divide(mass**2, square, out=np.zeros(size), where=square > 0)
    return Known(
        curve=curve,
        calibration=blunt,
        variance=tuple((rate * (1 - rate) / (rows + 1)).tolist()),
    )


def _untrusted(basis: Basis, rows: Asked, findings: Sequence[Finding]) -> str:
    said = []
    if basis.sample is not None and rows.groups is not None and len(rows.groups):
        old = basis.sample.open()[0]
        strange = weighing.unsupported(old, rows.groups)
        if strange > _STRANGE + weighing.by_chance(old, rows.groups):
            said.append(f"{strange:.0%} of rows lie where no withheld row was")
    return doubt(findings, said)


def doubt(findings: Sequence[Finding], more: Sequence[str] = ()) -> str:
    """Why estimates are untrusted while there are findings on the inputs; "" without any."""
    said = [*(f"{one.kind} in {_named(one)}" for one in findings), *more]
    return f"{'; '.join(said)}: withheld rows say little about these" if said else ""


def _named(finding: Finding) -> str:
    names = list(dict.fromkeys(called(one.feature) for one in finding.features))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "the inputs"
