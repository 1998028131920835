"""A candidate to a model package: a folder whose tree digest is the model's identity.

The package is ONNX where the graph gives the estimator's answers, row by row, on golden and
withheld rows; skops with the reason written down where it does not. docs/formats/model-package.md
lists the files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model import convert, describe, golden, load, native, parity, signature
from trimtab.model import estimator as asked
from trimtab.model.decide import decide
from trimtab.model.golden import Golden
from trimtab.model.load import LoadedModel
from trimtab.model.parity import Parity
from trimtab.model.signature import Signature
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features as prepare

PROFILE: Final = "reference.profile"
MAX_PARITY_ROWS: Final = 50_000
SCALE_ROWS: Final = 2_000

Profile = bytes | Callable[[LoadedModel], bytes]


@dataclass(frozen=True)
class Packaged:
    """A written package: exactly the files of `folder` make its digest."""

    folder: Path
    signature: Signature
    parity: Parity


def package(
    candidate: Candidate,
    *,
    out: Path,
    profile: Profile = b"",
    context: Sequence[str] = (),
) -> Packaged:
    """Write the package of `candidate` into the empty or new folder `out`.

    `profile` is the reference profile's bytes, or a function that makes them from the packaged
    model (so that they can hold its scores); `context` names columns that may be sent along with a
    request and are logged but not scored, such as a protected group or a key. Columns that the
    estimator was given and never reads become context too.

    Raises ModelError where no engine gives the estimator's answers, RefusedError where the
    estimator holds types that are not built from a file.
    """
    if out.exists() and any(out.iterdir()):
        raise ModelError(f"{out} is not empty", hint="package into a new folder")
    out.mkdir(parents=True, exist_ok=True)
    estimator = convert.unwrap(candidate.estimator)
    signed = _sign(candidate, estimator, context)
    try:
        graph = convert.convert(
            estimator,
            candidate.features,
            task=signed.task,
            positive_index=signed.positive_index if signed.task == "binary" else 1,
        )
        found = _write_onnx(out, candidate, estimator, signed, graph)
    except ModelError as error:
        found = _write_skops(out, candidate, estimator, signed, error.message)
    data = profile(load.load(out)) if callable(profile) else profile
    if data:
        (out / PROFILE).write_bytes(data)
    return found


def _sign(candidate: Candidate, estimator: Any, context: Sequence[str]) -> Signature:
    labels = asked.classes(estimator, candidate.task)
    binary = candidate.task == "binary"
    signed = Signature(
        task=candidate.task,
        engine="skops",
        inputs=tuple(
            describe.column(name, kind, candidate.train[name])
            for name, kind in candidate.features.items()
        ),
        context=describe.context(
            [name for name in context if name not in candidate.features], candidate.train
        ),
        target=candidate.target,
        fit_on=candidate.fit_on if candidate.fit_on != candidate.target else "",
        classes=labels,
        positive=(labels[1] if candidate.positive is None else candidate.positive)
        if binary
        else None,
        threshold=(0.5 if candidate.threshold is None else candidate.threshold) if binary else None,
    )
    refusing = describe.closed(estimator, signed, candidate.features, candidate.train)
    inputs = tuple(
        msgspec.structs.replace(
            c,
            closed=True,
            categories=tuple(candidate.train[c.name].drop_nulls().cast(pl.String).unique().sort()),
        )
        if c.name in refusing
        else c
        for c in signed.inputs
    )
    return msgspec.structs.replace(signed, inputs=inputs)


def _write_onnx(
    out: Path,
    candidate: Candidate,
    estimator: Any,
    signed: Signature,
    graph: convert.Converted,
) -> Packaged:
    unread = [c for c in signed.inputs if c.name not in graph.columns]
    narrowed = msgspec.structs.replace(
        signed,
        engine="onnx",
        inputs=tuple(c for c in signed.inputs if c.name in graph.columns),
        context=(
            *signed.context,
            *(msgspec.structs.replace(c, nullable=True, closed=False) for c in unread),
        ),
    )
    (out / load.GRAPH).write_bytes(graph.data)
    try:
        return _finish(out, candidate, estimator, signed, narrowed)
    except ModelError:
        (out / load.GRAPH).unlink()
        raise


def _write_skops(
    out: Path, candidate: Candidate, estimator: Any, signed: Signature, reason: str
) -> Packaged:
    (out / load.NATIVE).write_bytes(native.dumps(estimator))
    signed = msgspec.structs.replace(signed, reason=reason)
    return _finish(out, candidate, estimator, signed, signed)


def _finish(
    out: Path, candidate: Candidate, estimator: Any, whole: Signature, signed: Signature
) -> Packaged:
    """Write signature and golden rows, then hold the package against the estimator."""
    (out / signature.FILE).write_bytes(signature.encode(signed))
    rows = describe.golden_rows(whole, candidate.train, candidate.withheld)
    frame = prepare(rows, candidate.features)
    frame, scores = asked.answerable(estimator, frame, whole)
    if not frame.height:
        raise ModelError("the estimator answers none of its own training rows")
    scale = _scale(candidate, estimator, whole)
    (out / golden.FILE).write_bytes(golden.encode(_golden(frame, scores, signed, scale)))
    model = load.load(out, verify=False)
    withheld = describe.admissible(candidate.withheld.head(MAX_PARITY_ROWS), whole)
    both = pl.concat([frame, prepare(withheld, candidate.features)])
    found = _hold(model, *asked.answerable(estimator, both, whole), scale)
    if found.refusal:
        raise ModelError(f"the {signed.engine} package does not hold: {found.refusal}")
    return Packaged(folder=out, signature=signed, parity=found)


def _golden(
    frame: pl.DataFrame, scores: NDArray[np.float64], signed: Signature, scale: float
) -> Golden:
    columns = {c.name: frame[c.name].fill_nan(None).to_list() if c.kind != "text"
               else frame[c.name].to_list() for c in signed.inputs}  # fmt: skip
    return Golden(
        columns=columns, scores=scores.tolist(), decisions=decide(signed, scores), scale=scale
    )


def _hold(
    model: LoadedModel, frame: pl.DataFrame, scores: NDArray[np.float64], scale: float
) -> Parity:
    signed = model.signature
    columns: dict[str, NDArray[Any]] = {
        c.name: np.array(frame[c.name].to_list(), dtype=object if c.kind == "text" else np.float64)
        for c in signed.inputs
    }
    got = model.predict(columns)
    decisions = None if signed.task == "regression" else (decide(signed, scores), got.decision)
    return parity.compare(scores, got.score, decisions, scale=scale)


def _scale(candidate: Candidate, estimator: Any, signed: Signature) -> float:
    """A regression's differences are judged in standard deviations of its answers in training."""
    if signed.task != "regression":
        return 1.0
    rows = prepare(candidate.train.head(SCALE_ROWS), candidate.features)
    values = asked.scores(estimator, rows, signed)
    return max(float(values.std()), 1e-9 * max(1.0, float(np.abs(values).max(initial=0.0))))
