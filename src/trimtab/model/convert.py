"""A fitted scikit-learn estimator to one ONNX graph with packed inputs and one output.

Raises ModelError for everything that is known to convert wrongly or does not convert; what comes
out must still pass the parity check of `package`. The decision (threshold, argmax) stays outside
the graph: a threshold may change without a new graph.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common import _container
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer

from trimtab.errors import ModelError
from trimtab.model import boosting, graph, traps
from trimtab.model.signature import Kind, Task

OPSETS: Final = {"": 21, "ai.onnx.ml": 3}
_HINT: Final = "it is packaged as skops instead: the same answers, served more slowly"
_patching = threading.Lock()


@dataclass(frozen=True)
class Converted:
    """A serialised graph and the columns it consumes, in the order of `features`."""

    data: bytes
    columns: tuple[str, ...]


def convert(
    estimator: Any, features: Mapping[str, Kind], *, task: Task, positive_index: int = 1
) -> Converted:
    """Convert; raises ModelError with the reason where the result could not be trusted.

    Inputs of the graph: `numbers` float32 [N, k] (numbers and booleans) and `words` string [N, m],
    each in the order of `columns`. Output: `score` float32 [N] of class `positive_index`,
    `scores` float32 [N, classes], or `value` float32 [N].
    """
    chosen = unwrap(estimator)
    if reason := traps.refusal(chosen):
        raise ModelError(reason, hint=_HINT)
    boosting.register(traps.parts(chosen))
    separate = any(isinstance(part, ColumnTransformer) for part in traps.parts(chosen))
    if not separate and "text" in features.values():
        raise ModelError("text columns reach the estimator without a ColumnTransformer", hint=_HINT)
    with boosting.plain_names(traps.parts(chosen)):
        model = _skl2onnx(chosen, _inputs(features, separate=separate), task)
    wanted = model.graph.output[0 if task == "regression" else 1].name
    column = {"regression": None, "multiclass": -1, "binary": positive_index}[task]
    output = {"regression": "value", "multiclass": "scores", "binary": "score"}[task]
    if not separate:
        graph.rename(model.graph, {graph.NUMBERS: "column_0"})
        graph.take_output(model.graph, wanted, output, column=column)
        graph.rename(model.graph, {"column_0": graph.NUMBERS})
        return Converted(graph.finish(model), tuple(features))
    # By place: skl2onnx renames an input that is called like one of its own values.
    given = [x.name for x in model.graph.input]
    graph.rename(model.graph, {name: f"column_{index}" for index, name in enumerate(given)})
    inner = {name: f"column_{index}" for index, name in enumerate(features)}
    graph.take_output(model.graph, wanted, output, column=column)
    left = {x.name for x in model.graph.input}
    used = {name: kind for name, kind in features.items() if inner[name] in left}
    numbers = [inner[name] for name, kind in used.items() if kind != "text"]
    words = [inner[name] for name, kind in used.items() if kind == "text"]
    graph.pack(model.graph, numbers, graph.NUMBERS, TensorProto.FLOAT)
    graph.pack(model.graph, words, graph.WORDS, TensorProto.STRING)
    return Converted(graph.finish(model), tuple(used))


def unwrap(estimator: Any) -> Any:
    """The fitted estimator inside a finished search (GridSearchCV and its kin)."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def _inputs(features: Mapping[str, Kind], *, separate: bool) -> list[tuple[str, Any]]:
    if not separate:
        return [(graph.NUMBERS, FloatTensorType([None, len(features)]))]
    tensor = {"text": StringTensorType, "number": FloatTensorType, "boolean": FloatTensorType}
    return [(name, tensor[kind]([None, 1])) for name, kind in features.items()]


def _skl2onnx(estimator: Any, inputs: list[tuple[str, Any]], task: Task) -> onnx.ModelProto:
    options = None if task == "regression" else {id(estimator): {"zipmap": False}}
    try:
        with _plain_integers():
            return convert_sklearn(
                estimator, initial_types=inputs, options=options, target_opset=dict(OPSETS)
            )
    except Exception as error:  # skl2onnx raises a dozen unrelated classes
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise ModelError(
            f"{type(estimator).__name__} cannot be converted to ONNX: {type(error).__name__} {first}",
            hint=_HINT,
        ) from error


@contextmanager
def _plain_integers() -> Iterator[None]:
    """Let skl2onnx write node attributes as integers where it holds booleans.

    protobuf 7 refuses a boolean in an integer field, and every histogram gradient boosting model
    has some.
    """
    with _patching:
        original = _container.make_node
        _container.make_node = lambda *names, **attributes: original(
            *names, **{key: _integers(value) for key, value in attributes.items()}
        )
        try:
            yield
        finally:
            _container.make_node = original


def _integers(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return value.astype(np.int64)
    if isinstance(value, list | tuple) and any(isinstance(x, bool | np.bool_) for x in value):
        return [int(x) for x in value]
    return value
