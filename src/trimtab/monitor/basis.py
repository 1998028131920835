"""What production is held against, made once from withheld rows and kept in the model's package.

Beside the reference profile: what each score has meant, by itself and by feature, so that errors
from changed inputs and errors from a changed meaning can be told apart; and what estimates of
quality without labels are made from. docs/formats/monitor-basis.md is the specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model.signature import Signature
from trimtab.monitor.drift import coarse as coarsely
from trimtab.monitor.drift.coarse import Coarse, Groups
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes import calibration as calibrating
from trimtab.monitor.outcomes import concept, strata
from trimtab.monitor.outcomes import curve as curves
from trimtab.monitor.outcomes.calibration import Calibration
from trimtab.monitor.outcomes.cbpe import Known
from trimtab.monitor.outcomes.loss import Trees
from trimtab.monitor.outcomes.strata import Strata
from trimtab.profile.reference import Reference
from trimtab.store.records import SliceMetric

FILE: Final = "monitor.json"
FORMAT: Final = 2
LARGE_ERROR: Final = 0.8
"""A regression's error is large where it exceeds this quantile of the withheld errors."""
_MOST_CLASSES: Final = 50
_ABSURD: Final = 1_000.0
_LARGEST: Final = 1e70
_SAMPLE_CELLS: Final = 1 << 20
_SAMPLE_ROWS: Final = 65_536
_TAUGHT_ROWS: Final = 20_000

Teach = Callable[[Groups, NDArray[np.float64]], Trees]
"""Fits trees that predict a loss from groups; whoever trains the model brings it."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Withheld rows without their values: group numbers, scores and the class that was true.

    `groups` (rows, features, uint8), `scores` (rows, width, float32) and `truth` (rows, uint8: the
    class's place, 1 for a binary model's positive) are zlib-compressed, little-endian, row by row; of
    a regression there are `groups` alone.
    """

    rows: int
    width: int
    groups: bytes
    scores: bytes
    truth: bytes

    def open(self) -> tuple[Groups, NDArray[np.float64], NDArray[np.uint8]]:
        """Groups (n, features), scores (n,) or (n, width), truth (n,): none of a regression."""
        groups = np.frombuffer(zlib.decompress(self.groups), dtype=np.uint8)
        scores = np.frombuffer(zlib.decompress(self.scores), dtype="<f4").astype(np.float64)
        return (
            groups.reshape(self.rows, -1),
            scores if self.width == 1 else scores.reshape(self.rows, self.width),
            np.frombuffer(zlib.decompress(self.truth), dtype=np.uint8),
        )


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is the error beyond which a regression's answer counts as wrong.

    `known` is what each class's score has meant, one entry for a binary model; `coarse` how rows are
    coded; `losses` the trees of a regression's "absolute" and "squared" error; `slices` its quality.
    """

    calibration: Calibration
    strata: Strata
    streams: tuple[concept.Stream, ...]
    threshold: float
    limit: float = 0.0
    format: int = 1
    known: tuple[Known, ...] = ()
    coarse: tuple[Coarse, ...] = ()
    sample: Sample | None = None
    losses: dict[str, Trees] = {}
    slices: tuple[SliceMetric, ...] = ()


def fit(
    signature: Signature,
    reference: Reference,
    columns: Mapping[str, NDArray[Any]],
    score: NDArray[Any],
    decision: Sequence[Any],
    truth: Sequence[Any],
    *,
    private: Collection[str] = (),
    teach: Teach | None = None,
    slices: tuple[SliceMetric, ...] = (),
) -> Basis:
    """The basis of withheld rows: profiled columns, answers and truth, row by row.

    Rows are coded without the columns `private`. `teach` fits a regression's loss trees; without it
    a regression's quality is not estimated.
    """
    limit = 0.0
    if signature.task == "regression":
        limit = float(np.quantile(_errors(score, truth), LARGE_ERROR))
    flat = traffic.outputs(score, decision, signature)[traffic.SCORE]
    happened = events(signature, limit, score, decision, truth)
    streams: dict[str, tuple[concept.Stream, ...]] = {
        "binary": ("errors", "more", "fewer"),
        "multiclass": ("fewer",),
        "regression": ("more",),
    }
    known = calibrating.fit(flat, happened, monotone=signature.task != "regression")
    coded = coarsely.fit(reference.bins, columns, {*private, traffic.DECISION})
    groups = coarsely.table(coded, reference.bins, columns)
    losses = {}
    classes = _classes(signature, score, truth)
    drawn = _drawn(signature, groups, score, classes)
    if signature.task == "regression" and teach is not None:
        errors = _errors(score, truth)[drawn]
        # one absurd truth must not be all that the trees see; its square must stay a number
        usual = max(float(np.quantile(errors, 0.99)), float(errors.mean() > 0) * 1e-12)
        errors = np.minimum(errors, min(_ABSURD * usual, _LARGEST))
        taught = groups[drawn]
        losses = {"absolute": teach(taught, errors), "squared": teach(taught, errors**2)}
    return Basis(
        calibration=known,
        strata=strata.fit_strata(reference.bins, known, columns, flat, happened),
        streams=streams[signature.task],
        threshold=0.5 if signature.threshold is None else signature.threshold,
        limit=limit,
        format=FORMAT,
        known=_known(score, classes),
        coarse=coded,
        sample=_sample(signature, groups, score, classes, drawn),
        losses=losses,
        slices=slices,
    )


def _errors(score: NDArray[Any], truth: Sequence[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.abs(
        np.asarray(truth, dtype=np.float64) - np.asarray(score, dtype=np.float64)
    )
    return found


def _classes(
    signature: Signature, score: NDArray[Any], truth: Sequence[Any]
) -> NDArray[np.int64] | None:
    """The place of each true class; None where quality is not estimated from class probabilities."""
    if signature.task == "regression" or len(signature.classes) > _MOST_CLASSES:
        return None
    flat = np.asarray(score, dtype=np.float64)
    if flat.min(initial=0.0) < 0 or flat.max(initial=0.0) > 1:
        return None
    said = [traffic.text(one) for one in truth]
    if signature.task == "binary":
        positive = traffic.text(signature.positive)
        return np.array([one == positive for one in said], dtype=np.int64)
    place = {traffic.text(one): i for i, one in enumerate(signature.classes)}
    return np.array([place.get(one, -1) for one in said], dtype=np.int64)


def _known(score: NDArray[Any], classes: NDArray[np.int64] | None) -> tuple[Known, ...]:
    if classes is None:
        return ()
    flat = np.asarray(score, dtype=np.float64)
    parts = [(flat, classes == 1)] if flat.ndim == 1 else [
        (flat[:, c], classes == c) for c in range(flat.shape[1])
    ]  # fmt: skip
    return tuple(
        Known(
            curve=curves.fit(values, mine.astype(np.float64)),
            calibration=calibrating.fit(values, mine.astype(np.float64)),
        )
        for values, mine in parts
    )


def _drawn(
    signature: Signature,
    groups: Groups,
    score: NDArray[Any],
    classes: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """The places of the withheld rows that are kept coded: at most as many as make a megabyte."""
    flat = np.asarray(score)
    width = flat.shape[1] if flat.ndim == 2 else 1
    most = min(_SAMPLE_ROWS, _SAMPLE_CELLS // (groups.shape[1] + 4 * width))
    if signature.task == "regression":
        most = min(_TAUGHT_ROWS, most)
    pick = np.arange(len(groups)) if classes is None else np.flatnonzero(classes >= 0)
    if len(pick) > most:
        pick = np.sort(np.random.default_rng(0).permutation(pick)[:most])
    return pick


def _sample(
    signature: Signature,
    groups: Groups,
    score: NDArray[Any],
    classes: NDArray[np.int64] | None,
    drawn: NDArray[np.int64],
) -> Sample | None:
    """Withheld rows coded; None where they would teach little."""
    if not groups.shape[1] or (classes is None and signature.task != "regression"):
        return None
    flat = np.asarray(score, dtype="<f4")
    return Sample(
        rows=len(drawn),
        width=flat.shape[1] if flat.ndim == 2 else 1,
        groups=zlib.compress(groups[drawn].tobytes()),
        scores=zlib.compress(b"" if classes is None else flat[drawn].tobytes()),
        truth=zlib.compress(b"" if classes is None else classes[drawn].astype(np.uint8).tobytes()),
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
        return (_errors(score, truth) > limit).astype(np.float64)
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


def chance(basis: Basis, score: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of the event at each score, as the withheld rows had it."""
    return calibrating.chance(basis.calibration, score)


def expected(
    basis: Basis, stream: concept.Stream, score: NDArray[Any], event: NDArray[np.float64]
) -> tuple[float, float]:
    """How many outcomes of a stream these labelled rows had, and how many were expected."""
    turned = flip(basis, stream, score)
    known = chance(basis, score)
    return (
        float(np.where(turned, 1 - event, event).sum()),
        float(np.where(turned, 1 - known, known).sum()),
    )


def encode(basis: Basis) -> bytes:
    """A basis as JSON."""
    return msgspec.json.encode(basis)


def decode(data: bytes) -> Basis:
    """JSON to a basis; raises ModelError where it is malformed or of a newer format."""
    try:
        found = msgspec.json.decode(data, type=Basis)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{FILE} of the model package cannot be read: {error}") from error
    if not 1 <= found.format <= FORMAT:
        raise ModelError(
            f"{FILE} of the model package has format {found.format}, this trimtab reads up to {FORMAT}",
            hint="upgrade trimtab where the model is watched",
        )
    return found
