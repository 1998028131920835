"""A packaged model, ready to answer: ONNX Runtime on one thread, or skops where ONNX cannot.

Needs only onnxruntime and numpy for an ONNX package. Bytes that are not what their digest says and
golden rows that get other answers are refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trimtab.errors import IntegrityError, MissingExtraError, ModelError, NotFoundError
from trimtab.model import golden, parity, signature
from trimtab.model.decide import decide
from trimtab.model.signature import Class, Signature

GRAPH: Final = "model.onnx"
NATIVE: Final = "model.skops"

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Outputs:
    """`score` float32 [N] (binary, regression) or [N, classes]; one `decision` per row."""

    score: NDArray[np.float32]
    decision: list[Class]


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers. `run` maps columns to float32 scores; call `predict` instead."""

    signature: Signature
    folder: Path
    run: Callable[[Columns], NDArray[np.float32]]

    def predict(self, columns: Columns) -> Outputs:
        """Score rows given as one array per input column.

        Numbers and booleans are float arrays with NaN for null; texts are object arrays of str
        with "" for null. Raises ModelError where the model fails or gives a score that is no
        finite number.
        """
        try:
            score = self.run(columns)
        except (KeyError, ModelError):
            raise
        except Exception as error:  # ONNX Runtime and estimators raise their own classes
            raise ModelError(f"the model failed on these rows: {type(error).__name__}") from error
        if not np.isfinite(score).all():
            raise ModelError(
                "the model gave a score that is not a finite number",
                hint="an input lies far outside of what it was trained on",
            )
        if self.signature.task != "regression":
            score = score.clip(0.0, 1.0)  # float32 sums of votes end at 1.0000001
        return Outputs(score=score, decision=decide(self.signature, score))


def load(folder: Path, *, verify: bool = True) -> LoadedModel:
    """Load a package; with `verify` its golden rows must get the recorded answers.

    Raises NotFoundError, ModelError, or IntegrityError where an answer differs.
    """
    signed = signature.read(folder)
    engine = _onnx if signed.engine == "onnx" else _native
    model = LoadedModel(signature=signed, folder=folder, run=engine(folder, signed))
    if verify:
        verify_golden(model)
    return model


def verify_golden(model: LoadedModel) -> parity.Parity:
    """Ask the golden rows; raises IntegrityError where the answers are not the recorded ones."""
    path = model.folder / golden.FILE
    if not path.is_file():
        raise NotFoundError(f"{model.folder} is no model package: it has no {golden.FILE}")
    rows = golden.decode(path.read_bytes())
    outputs = model.predict(rows.arrays(model.signature))
    both = None if model.signature.task == "regression" else (rows.decisions, outputs.decision)
    found = parity.compare(rows.expected(), outputs.score, both, scale=rows.scale)
    if found.refusal:
        raise IntegrityError(
            f"the model does not give the answers it was packaged with: {found.refusal}",
            hint="package it again with the library versions that serve it",
        )
    return found


def _onnx(folder: Path, signed: Signature) -> Callable[[Columns], NDArray[np.float32]]:
    path = folder / GRAPH
    if not path.is_file():
        raise NotFoundError(f"{folder} is no ONNX package: it has no {GRAPH}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a failing row is reported as an error, not on stderr
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise IntegrityError(f"{GRAPH} cannot be loaded: {error}") from error
    return _Packed(session, signed)


class _Packed:
    """Columns packed into the two tensors of a session."""

    def __init__(self, session: onnxruntime.InferenceSession, signed: Signature) -> None:
        self.session = session
        self.numbers, self.words = signed.numbers, signed.words
        self.outputs = [signed.output]

    def __call__(self, columns: Columns) -> NDArray[np.float32]:
        feed = {}
        if self.numbers:
            feed["numbers"] = _stack([columns[x] for x in self.numbers], np.float32)
        if self.words:
            feed["words"] = _stack([columns[x] for x in self.words], object)
        score: NDArray[np.float32] = self.session.run(self.outputs, feed)[0]
        return score


def _stack(columns: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    matrix = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for index, column in enumerate(columns):
        matrix[:, index] = column
    return matrix


def _native(folder: Path, signed: Signature) -> Callable[[Columns], NDArray[np.float32]]:
    # Named and not imported: a serving image holds neither scikit-learn nor polars, and an ONNX
    # package must load without them.
    try:
        engine = importlib.import_module("trimtab.model.estimator")
    except ImportError as error:
        raise MissingExtraError(
            f"this package is served by scikit-learn, which is not installed here: {error}",
            hint="pip install 'trimtab[local]' where it is served",
        ) from error
    runner: Callable[[Columns], NDArray[np.float32]] = engine.runner(folder / NATIVE, signed)
    return runner
