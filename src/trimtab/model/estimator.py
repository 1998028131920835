"""A fitted estimator asked directly: its classes, its scores, and the skops engine of `load`."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model import native
from trimtab.model.signature import Class, Signature, Task

Ask = Callable[[pl.DataFrame], NDArray[np.float64]]
"""Prepared rows (`tune.frames.features`) to scores: [N] or [N, classes]."""

_filters: Final = threading.Lock()  # warnings.catch_warnings changes state of the whole process


def classes(estimator: Any, task: Task, meant: Sequence[Class] = ()) -> tuple[Class, ...]:
    """The classes in the order of the scores, () for a regression; raises ModelError.

    An estimator that was fitted on the numbers 0, 1, ... speaks of the places of those `meant`.
    """
    if task == "regression":
        return ()
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise ModelError(
            f"{name} gives no probabilities, so it cannot give a score",
            hint=f"wrap it: CalibratedClassifierCV({name}(...))",
        )
    found = tuple(np.asarray(estimator.classes_).tolist())
    if len(found) < 2 or (task == "binary" and len(found) != 2):
        raise ModelError(f"{name} was fitted on {len(found)} classes, {task} needs another number")
    return tuple(meant) if found == tuple(range(len(meant))) else found


def scores(estimator: Any, frame: pl.DataFrame, signed: Signature) -> NDArray[np.float64]:
    """The estimator's own scores: [N] of the positive class, [N, classes], or [N] values."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown category is expected here, and counted
        if signed.task == "regression":
            return np.asarray(estimator.predict(frame), dtype=np.float64).reshape(-1)
        found = np.asarray(estimator.predict_proba(frame), dtype=np.float64)
    return found[:, signed.positive_index] if signed.task == "binary" else found


def asker(estimator: Any, signed: Signature) -> Ask:
    """`scores` of one estimator."""
    return lambda frame: scores(estimator, frame, signed)


def answerable(ask: Ask, frame: pl.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The places of the rows that get finite scores, and these scores.

    An estimator may refuse a far-off value (a logarithm of a negative number); such a row says
    nothing about the package.
    """
    taken = np.arange(frame.height)
    try:
        found = ask(frame)
    except ValueError:
        taken = np.array([i for i in range(frame.height) if _answers(ask, frame[i])], dtype=np.intp)
        found = ask(frame[taken]) if len(taken) else np.empty(0)
    finite = np.isfinite(found.reshape(len(found), -1)).all(axis=1)
    return taken[finite], found[finite]


def runner(
    path: Path, signed: Signature
) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]:
    """The skops engine: columns to float32 scores; raises RefusedError for an untrusted type."""
    estimator = native.load(path)
    schema = {c.name: pl.String if c.kind == "text" else pl.Float64 for c in signed.inputs}

    def run(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        data = {
            name: pl.Series(columns[name].tolist(), dtype=kind) for name, kind in schema.items()
        }
        return scores(estimator, pl.DataFrame(data), signed).astype(np.float32)

    return run


def _answers(ask: Ask, row: pl.DataFrame) -> bool:
    try:
        ask(row)
    except ValueError:
        return False
    return True
