"""A candidate to a model package: a folder whose tree digest is the model's identity.

The package is ONNX where the graph gives the estimator's answers, row by row, on golden, withheld
and training rows; skops with the reason written down where it does not. A graph that somebody brings
is held against itself as it was, a function against its own second answer. docs/formats/model-package.md
lists the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from trimtab.errors import IntegrityError, ModelError, RefusedError
from trimtab.model import convert, describe, fold, golden, load, native, signature, thresholds
from trimtab.model import estimator as asked
from trimtab.model import function as functions
from trimtab.model.function import FunctionCode
from trimtab.model.load import LoadedModel
from trimtab.model.onnx_file import OnnxFile
from trimtab.model.parity import Parity
from trimtab.model.signature import Signature
from trimtab.model.witness import Witness, call, feed
from trimtab.tune.candidate import Candidate

PROFILE: Final = "reference.profile"

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
    allow_python: bool = False,
) -> Packaged:
    """Write the package of `candidate` into the empty or new folder `out`.

    `profile` is the reference profile's bytes, or a function that makes them from the packaged
    model (so that they can hold its scores); `context` names columns that may be sent along with a
    request and are logged but not scored, such as a protected group or a key. Columns that the
    estimator was given and never reads become context too. `allow_python` lets a package that runs
    code of its project be loaded here.

    Raises ModelError where no engine gives the estimator's answers, RefusedError where the
    estimator holds types that are not built from a file, or runs code that is not allowed.
    """
    if out.exists() and any(out.iterdir()):
        raise ModelError(f"{out} is not empty", hint="package into a new folder")
    out.mkdir(parents=True, exist_ok=True)
    estimator = convert.unwrap(candidate.estimator)
    if isinstance(estimator, OnnxFile):
        found = _brought_onnx(out, candidate, estimator, context)
    elif isinstance(estimator, FunctionCode):
        found = _brought_function(out, candidate, estimator, context, allow_python=allow_python)
    else:
        found = _fitted(out, candidate, estimator, context)
    data = profile(load.load(out, allow_python=allow_python)) if callable(profile) else profile
    if data:
        (out / PROFILE).write_bytes(data)
    return found


def _fitted(out: Path, candidate: Candidate, estimator: Any, context: Sequence[str]) -> Packaged:
    """ONNX where that holds, skops with the reason where it does not."""
    signed = _sign(candidate, estimator, context)
    witness = call(
        asked.asker(estimator, signed), candidate, signed, train=candidate.train, by=context
    )
    try:
        graph = convert.convert(
            estimator,
            candidate.features,
            task=signed.task,
            positive_index=signed.positive_index if signed.task == "binary" else 1,
        )
        return _write_onnx(out, witness, estimator, signed, graph)
    except (ModelError, IntegrityError) as error:  # no graph, or none that ONNX Runtime takes
        return _write_skops(out, witness, estimator, signed, error.message)


def _brought_onnx(
    out: Path, candidate: Candidate, file: OnnxFile, context: Sequence[str]
) -> Packaged:
    signed = _with_context(file.signature, candidate, context)
    witness = _brought(file.scores, candidate, signed, context)
    (out / load.GRAPH).write_bytes(file.packed(file.raw(witness.rows[:2]).shape))
    return _accepted(out, signed, _held(out, witness, signed))


def _brought_function(
    out: Path,
    candidate: Candidate,
    function: FunctionCode,
    context: Sequence[str],
    *,
    allow_python: bool,
) -> Packaged:
    """The same code answers twice: what depends on more than the row is refused."""
    signed = _with_context(function.signature, candidate, context)
    function.write(out)
    if not allow_python:
        raise RefusedError(
            f"packaging {function.call} runs its code",
            hint="where you trust it: [serve] allow_python = true",
        )
    witness = _brought(functions.asker(out, signed), candidate, signed, context)
    return _accepted(out, signed, _held(out, witness, signed, allow_python=True))


def _brought(
    ask: asked.Ask, candidate: Candidate, signed: Signature, context: Sequence[str]
) -> Witness:
    """Its rows are both: there are none that it was fitted on."""
    return call(ask, candidate, signed, train=candidate.train.clear(), by=context)


def _with_context(signed: Signature, candidate: Candidate, context: Sequence[str]) -> Signature:
    known = {c.name for c in (*signed.inputs, *signed.context)}
    found = describe.context([name for name in context if name not in known], candidate.train)
    return msgspec.structs.replace(signed, context=(*signed.context, *found))


def _sign(candidate: Candidate, estimator: Any, context: Sequence[str]) -> Signature:
    labels = asked.classes(estimator, candidate.task, candidate.classes)
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
    ask = asked.asker(estimator, signed)
    refusing = describe.closed(ask, signed, candidate.features, candidate.train)
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
    witness: Witness,
    estimator: Any,
    signed: Signature,
    graph: convert.Converted,
) -> Packaged:
    """Write the graph that is nearest to the original, as converted or with settled thresholds."""
    unread = [c for c in signed.inputs if c.name not in graph.columns]
    signed = msgspec.structs.replace(
        signed,
        engine="onnx",
        inputs=tuple(c for c in signed.inputs if c.name in graph.columns),
        context=(
            *signed.context,
            *(msgspec.structs.replace(c, nullable=True, closed=False) for c in unread),
        ),
    )
    path = out / load.GRAPH
    try:
        best, best_data = None, b""
        for data in map(fold.folded, _graphs(graph.data, estimator, witness, signed)):
            path.write_bytes(data)
            found = _held(out, witness, signed)
            if best is None or found.distance < best.distance:
                best, best_data = found, data
            if not best.flips and not best.above:
                break
        path.write_bytes(best_data)
        return _accepted(out, signed, best)
    except (ModelError, IntegrityError):
        path.unlink(missing_ok=True)
        raise


def _graphs(graph: bytes, estimator: Any, witness: Witness, signed: Signature) -> Iterator[bytes]:
    """The graph, then with settled thresholds, made only where the one before is off."""
    yield graph
    blind = thresholds.settle(graph)
    if blind is None:
        return
    rows = witness.fitted_rows
    given = thresholds.exact(estimator, rows)
    if given is not None:
        settled = thresholds.settle(graph, feed(rows, signed), given)
        if settled is not None:
            yield settled
    yield blind


def _write_skops(
    out: Path, witness: Witness, estimator: Any, signed: Signature, reason: str
) -> Packaged:
    (out / load.NATIVE).write_bytes(native.dumps(estimator))
    signed = msgspec.structs.replace(signed, reason=reason)
    return _accepted(out, signed, _held(out, witness, signed))


def _held(out: Path, witness: Witness, signed: Signature, *, allow_python: bool = False) -> Parity:
    """Write signature and golden rows, and hold what the folder then is against the original."""
    (out / signature.FILE).write_bytes(signature.encode(signed))
    (out / golden.FILE).write_bytes(golden.encode(witness.golden_rows(signed)))
    return witness.hold(load.load(out, verify=False, allow_python=allow_python))


def _accepted(out: Path, signed: Signature, found: Parity | None) -> Packaged:
    if found is None or found.refusal:
        said = found.refusal if found else "it could not be held against anything"
        raise ModelError(f"the {signed.engine} package does not hold: {said}")
    return Packaged(folder=out, signature=signed, parity=found)
