"""A packaged model, ready to answer: ONNX Runtime on one thread, skops where ONNX cannot, or a function.

Needs only onnxruntime and numpy for an ONNX package. Bytes that are not what their digest says and
golden rows that get other answers are refused.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trimtab.errors import IntegrityError, MissingExtraError, ModelError, NotFoundError
from trimtab.model import code, golden, parity, signature
from trimtab.model.decide import decide, decide_few
from trimtab.model.several import Several
from trimtab.model.signature import Class, Signature
from trimtab.model.single import Single

GRAPH: Final = "model.onnx"
NATIVE: Final = "model.skops"
_FEW: Final = 8

Columns = Mapping[str, NDArray[Any]]
Words = Sequence[Sequence[str | None]]


class Outputs(msgspec.Struct, frozen=True, eq=False, gc=False):
    """`score` float32 [N] (binary, regression) or [N, classes]; one `decision` per row."""

    score: NDArray[np.float32]
    decision: list[Class]


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers. `run` maps columns to float32 scores; call `predict` instead.

    `run_packed`, where there is one, does so from the packed inputs of `predict_packed`; `single`
    and `several` make what does so for one row at a time, and for the rows of one turn.
    """

    signature: Signature
    folder: Path
    run: Callable[[Columns], NDArray[np.float32]]
    run_packed: Callable[[NDArray[np.float64], Words], NDArray[np.float32]] | None = None
    single: Callable[[], Single] | None = None
    several: Callable[[], Several] | None = None

    def predict(self, columns: Columns) -> Outputs:
        """Score rows given as one array per input column.

        Numbers and booleans are float arrays with NaN for null; texts are object arrays of str
        with "" for null. Raises ModelError where the model fails or gives a score that is no
        finite number.
        """
        return self._outputs(self.run, columns)

    def predict_packed(self, numbers: NDArray[np.float64], words: Words) -> Outputs:
        """The same from one matrix [columns, rows] of numbers and one list per text column.

        The columns are in the order of the signature; null is NaN and None.
        """
        return self._outputs(self.scores, numbers, words)

    def scores(self, numbers: NDArray[np.float64], words: Words) -> NDArray[np.float32]:
        """The bare scores of packed inputs, unchecked; raises what the model raises."""
        if self.run_packed is not None:
            return self.run_packed(numbers, words)
        columns: dict[str, NDArray[Any]] = dict(zip(self.signature.numbers, numbers, strict=True))
        for name, values in zip(self.signature.words, words, strict=True):
            columns[name] = np.array([value or "" for value in values], dtype=object)
        return self.run(columns)

    def _outputs(self, run: Callable[..., NDArray[np.float32]], *given: Any) -> Outputs:
        try:
            score = run(*given)
        except (KeyError, ModelError):
            raise
        except Exception as error:  # ONNX Runtime and estimators raise their own classes
            raise ModelError(f"the model failed on these rows: {type(error).__name__}") from error
        # Of few scores plain Python finds the least and greatest sooner than NumPy.
        few = score.tolist() if score.size <= _FEW and score.ndim == 1 else None
        low, high = _range(score if few is None else few)
        if not (math.isfinite(low) and math.isfinite(high)):  # a NaN is both
            raise ModelError(
                "the model gave a score that is not a finite number",
                hint="an input lies far outside of what it was trained on",
            )
        if self.signature.task != "regression" and (low < 0.0 or high > 1.0):
            score, few = score.clip(0.0, 1.0), None  # float32 sums of votes end at 1.0000001
        if few is not None and score.dtype == np.float32:
            return Outputs(score=score, decision=decide_few(self.signature, few))
        return Outputs(score=score, decision=decide(self.signature, score))


def load(folder: Path, *, verify: bool = True, allow_python: bool = False) -> LoadedModel:
    """Load a package; with `verify` its golden rows must get the recorded answers.

    `allow_python` lets a package run code that it carries. Raises NotFoundError, ModelError,
    RefusedError for code that is not allowed, or IntegrityError where an answer differs.
    """
    signed = signature.read(folder)
    if signed.engine == "onnx":
        packed = _onnx(folder, signed)
        model = LoadedModel(
            signature=signed,
            folder=folder,
            run=packed,
            run_packed=packed.run_packed,
            single=packed.single if packed.is_plain else None,
            several=packed.several if packed.is_plain else None,
        )
    elif signed.engine == "python":
        function = code.runner(folder, signed, allow=allow_python)
        model = LoadedModel(signature=signed, folder=folder, run=function)
    else:
        model = LoadedModel(signature=signed, folder=folder, run=_native(folder, signed))
    if verify:
        verify_golden(model)
    return model


def _range(score: list[float] | NDArray[np.float32]) -> tuple[float, float]:
    """Least and greatest of scores and zero; NaN where there is one."""
    if isinstance(score, list):
        whole = sum(score)
        return (whole, whole) if whole != whole else (min(0.0, *score), max(0.0, *score))  # noqa: PLR0124
    return float(score.min(initial=0.0)), float(score.max(initial=0.0))


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


def _onnx(folder: Path, signed: Signature) -> _Packed:
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
        # The session inside onnxruntime's own, which looks at every feed once more for a microsecond.
        self.run = getattr(session, "_sess", session).run
        self.numbers, self.words = signed.numbers, signed.words
        self.outputs = [signed.output]
        (output,) = [one for one in session.get_outputs() if one.name == signed.output] or [None]
        self.is_plain = (
            output is not None and output.type == "tensor(float)" and len(output.shape) == 1
        )
        self._signed = signed

    def single(self) -> Single:
        """What runs one row at a time."""
        return Single(self.run, self._signed)

    def several(self) -> Several:
        """What runs the rows of one turn."""
        return Several(self.run, self._signed)

    def __call__(self, columns: Columns) -> NDArray[np.float32]:
        feed = {}
        if self.numbers:
            feed["numbers"] = _stack([columns[x] for x in self.numbers], np.float32)
        if self.words:
            feed["words"] = _stack([columns[x] for x in self.words], object)
        return self._run(feed)

    def run_packed(self, numbers: NDArray[np.float64], words: Words) -> NDArray[np.float32]:
        """The scores of inputs that are packed already, as [columns, rows]."""
        feed: dict[str, NDArray[Any]] = {}
        if self.numbers:
            feed["numbers"] = numbers.T.astype(np.float32, order="C")
        if self.words:
            count = len(words) * len(words[0])
            cells = chain.from_iterable(zip(*map(_texts, words), strict=True))
            texts = np.fromiter(cells, dtype=object, count=count)
            feed["words"] = texts.reshape(-1, len(words))
        return self._run(feed)

    def _run(self, feed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        score: NDArray[np.float32] = self.run(self.outputs, feed, None)[0]
        return score


def _texts(column: Sequence[str | None]) -> Sequence[str | None]:
    """Texts with "" for null."""
    return [text or "" for text in column] if None in column else column


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
