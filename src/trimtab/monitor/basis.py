"""What production is held against, made once from withheld rows and kept in the model's package.

Beside the reference profile: what each score has meant, by itself and by feature, so that errors
from changed inputs and errors from a changed meaning can be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.model.signature import Signature
from trimtab.monitor import calibration as calibrating
from trimtab.monitor import concept, strata, traffic
from trimtab.monitor.calibration import Calibration
from trimtab.monitor.strata import Strata
from trimtab.profile.reference import Reference

FILE: Final = "monitor.json"
LARGE_ERROR: Final = 0.8
"""A regression's error is large where it exceeds this quantile of the withheld errors."""


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is the error beyond which a regression's answer counts as wrong."""

    calibration: Calibration
    strata: Strata
    streams: tuple[concept.Stream, ...]
    threshold: float
    limit: float = 0.0
    format: int = 1


def fit(
    signature: Signature,
    reference: Reference,
    columns: Mapping[str, NDArray[Any]],
    score: NDArray[Any],
    decision: Sequence[Any],
    truth: Sequence[Any],
) -> Basis:
    """The basis of withheld rows: profiled columns, answers and truth, row by row."""
    limit = 0.0
    if signature.task == "regression":
        errors = np.abs(np.asarray(truth, dtype=np.float64) - np.asarray(score, dtype=np.float64))
        limit = float(np.quantile(errors, LARGE_ERROR))
    flat = traffic.outputs(score, decision, signature)[traffic.SCORE]
    happened = events(signature, limit, score, decision, truth)
    known = calibrating.fit(flat, happened, monotone=signature.task != "regression")
    streams: dict[str, tuple[concept.Stream, ...]] = {
        "binary": ("errors", "more", "fewer"),
        "multiclass": ("fewer",),
        "regression": ("more",),
    }
    return Basis(
        calibration=known,
        strata=strata.fit_strata(reference.bins, known, columns, flat, happened),
        streams=streams[signature.task],
        threshold=0.5 if signature.threshold is None else signature.threshold,
        limit=limit,
    )


def events(
    signature: Signature,
    limit: float,
    score: NDArray[Any],
    decision: Sequence[Any],
    truth: Sequence[Any],
) -> NDArray[np.float64]:
    """1 where the event happened: positive truth, a right answer, or a large error."""
    if signature.task == "regression":
        errors = np.abs(np.asarray(truth, dtype=np.float64) - np.asarray(score, dtype=np.float64))
        return (errors > limit).astype(np.float64)
    said = [traffic.text(one) for one in truth]
    if signature.task == "binary":
        positive = traffic.text(signature.positive)
        return np.array([one == positive for one in said], dtype=np.float64)
    right = [one == traffic.text(mine) for one, mine in zip(said, decision, strict=True)]
    return np.array(right, dtype=np.float64)


def flip(basis: Basis, stream: concept.Stream, score: NDArray[Any]) -> NDArray[np.bool_]:
    """In which rows the event's absence is the outcome that a stream counts."""
    if stream == "errors":
        return np.asarray(score >= basis.threshold)
    return np.full(len(score), stream == "fewer")


def expected(
    basis: Basis, stream: concept.Stream, score: NDArray[Any], event: NDArray[np.float64]
) -> tuple[float, float]:
    """How many outcomes of a stream these labelled rows had, and how many were expected."""
    turned = flip(basis, stream, score)
    chance = calibrating.chance(basis.calibration, score)
    return (
        float(np.where(turned, 1 - event, event).sum()),
        float(np.where(turned, 1 - chance, chance).sum()),
    )


def encode(basis: Basis) -> bytes:
    """A basis as JSON."""
    return msgspec.json.encode(basis)


def decode(data: bytes) -> Basis:
    """JSON to a basis."""
    return msgspec.json.decode(data, type=Basis)
