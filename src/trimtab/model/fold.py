"""What stands before trees, folded into them: imputing and scaling into thresholds, one-hot columns
made at once. The same float32 answers from a third of the nodes.

Scaling is monotone in float32 too, so each threshold on a scaled number has exactly one counterpart
on the number itself: the greatest float32 whose scaled value does not pass. What a column went
through is followed back from the trees; a graph that holds anything else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from trimtab.model import graph

MAX_SLOTS: Final = 2_048
"""One-hot columns beyond this cost more to fill than the nodes that they save."""
_TREES: Final = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_BRANCHES: Final = (b"BRANCH_LEQ", b"BRANCH_LT")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Number:
    """A column of `numbers`, filled where it is null and scaled in these steps (offset, scale)."""

    place: int
    fill: np.float32 | None = None
    steps: tuple[tuple[np.float32, np.float32], ...] = ()


@dataclass(frozen=True)
class _Word:
    """A column of `words`."""

    place: int


@dataclass(frozen=True)
class _Is:
    """Whether a column of `words` holds a category: 1 or 0."""

    place: int
    category: bytes


_Column = _Number | _Word | _Is


def folded(data: bytes) -> bytes:
    """A packed graph with the same answers to every float32 and text, or itself."""
    model = onnx.load_from_string(data)
    return graph.finish(model) if _fold(model.graph) else data


def _fold(body: onnx.GraphProto) -> bool:
    """Fold in place; False where the graph stays as it is."""
    trees = [node for node in body.node if node.op_type in _TREES]
    if len(trees) != 1 or any(node.op_type in ("If", "Loop", "Scan") for node in body.node):
        return False
    columns = _columns(body, trees[0].input[0])
    if columns is None or any(isinstance(one, _Word) for one in columns):
        return False
    hot = [one for one in columns if isinstance(one, _Is)]
    categories = sorted({one.category for one in hot})
    words = sorted({one.place for one in hot})
    width = _width(body, graph.NUMBERS)
    if len(words) * len(categories) > MAX_SLOTS or not _splits(trees[0], columns):
        return False
    slots = {
        (word, category): width + at * len(categories) + index
        for at, word in enumerate(words)
        for index, category in enumerate(categories)
    }
    _move(trees[0], columns, slots)
    name, nodes = _inputs(body, words, categories, numbers=bool(width))
    trees[0].input[0] = name
    graph.prepend(body, nodes)
    graph.prune(body)
    return True


def _columns(body: onnx.GraphProto, name: str) -> list[_Column] | None:
    """What each column of a matrix is; None where a step is not one of those that fold."""
    made = {out: node for node in body.node for out in node.output}
    constants = {x.name: numpy_helper.to_array(x) for x in body.initializer}

    def follow(name: str) -> list[_Column] | None:
        if name == graph.NUMBERS:
            return [_Number(place) for place in range(_width(body, name))]
        if name == graph.WORDS:
            return [_Word(place) for place in range(_width(body, name))]
        node = made.get(name)
        step = None if node is None else _STEPS.get(node.op_type)
        if node is None or step is None:
            return None
        given = [follow(x) for x in node.input if x not in constants]
        known = [x for x in given if x is not None]
        if len(known) < len(given):
            return None
        values = [constants[x] for x in node.input if x in constants]
        return step(known, values, {x.name: helper.get_attribute_value(x) for x in node.attribute})

    return follow(name)


_Step = Callable[
    [list[list[_Column]], list[NDArray[Any]], Mapping[str, Any]], "list[_Column] | None"
]


def _gather(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    if attributes.get("axis", 0) != 1 or len(values) != 1 or values[0].ndim != 1:
        return None
    return [given[0][place] for place in values[0].tolist()]


def _concat(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    if attributes.get("axis") not in (1, -1) or values:
        return None
    return [column for columns in given for column in columns]


def _reshape(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    same = len(values) == 1 and values[0].tolist() == [-1, len(given[0])]
    return given[0] if same else None


def _impute(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    fills = np.array(attributes.get("imputed_value_floats", ()), dtype=np.float32)
    if not np.isnan(attributes.get("replaced_value_float", 0.0)) or not fills.size:
        return None
    found: list[_Column] = []
    for column, fill in zip(given[0], np.resize(fills, len(given[0])), strict=True):
        if not isinstance(column, _Number) or len(fills) not in (1, len(given[0])):
            return None
        # What was filled once holds no null, and nulls filled with null stay so; what was scaled
        # before is not filled here.
        if column.steps:
            return None
        stays = column.fill is not None or np.isnan(fill)
        found.append(column if stays else replace(column, fill=fill))
    return found


def _scale(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    offsets = np.array(attributes.get("offset", ()), dtype=np.float32)
    scales = np.array(attributes.get("scale", ()), dtype=np.float32)
    if not len(given[0]) == len(offsets) == len(scales):
        return None
    found: list[_Column] = []
    for column, offset, scale in zip(given[0], offsets, scales, strict=True):
        if not isinstance(column, _Number) or not 0 < scale < np.inf or not np.isfinite(offset):
            return None
        found.append(replace(column, steps=(*column.steps, (offset, scale))))
    return found


def _one_hot(
    given: list[list[_Column]], values: list[NDArray[Any]], attributes: Mapping[str, Any]
) -> list[_Column] | None:
    categories = attributes.get("cats_strings", ())
    if len(given[0]) != 1 or not attributes.get("zeros", 1) or not categories:
        return None
    column = given[0][0]
    if not isinstance(column, _Word) or len(set(categories)) < len(categories):
        return None
    return [_Is(column.place, category) for category in categories]


_STEPS: Final[Mapping[str, _Step]] = {
    "Gather": _gather,
    "Concat": _concat,
    "Reshape": _reshape,
    "Imputer": _impute,
    "Scaler": _scale,
    "OneHotEncoder": _one_hot,
    "Identity": lambda given, values, attributes: given[0],
}


def _splits(tree: onnx.NodeProto, columns: Sequence[_Column]) -> bool:
    """Whether the trees ask nothing but whether a float32 is below a threshold."""
    found = {x.name: x for x in tree.attribute}
    modes = found["nodes_modes"].strings
    return (
        "nodes_values_as_tensor" not in found
        and "nodes_values" in found
        and set(modes) <= {*_BRANCHES, b"LEAF"}
        and all(
            0 <= feature < len(columns)
            for feature, mode in zip(found["nodes_featureids"].ints, modes, strict=True)
            if mode != b"LEAF"
        )
    )


def _move(
    tree: onnx.NodeProto, columns: Sequence[_Column], slots: Mapping[tuple[int, bytes], int]
) -> None:
    """Let the trees ask about the columns as they were given."""
    found = {x.name: x for x in tree.attribute}
    modes, features = found["nodes_modes"].strings, found["nodes_featureids"].ints
    values = np.array(found["nodes_values"].floats, dtype=np.float32)
    missing = found.get("nodes_missing_value_tracks_true")
    tracks = np.array(missing.ints if missing else [0] * len(modes), dtype=np.int64)
    asked: dict[tuple[int, bytes], list[int]] = {}
    moved = [0] * len(modes)
    for node, (feature, mode) in enumerate(zip(features, modes, strict=True)):
        if mode == b"LEAF":
            continue
        column = columns[feature]
        if isinstance(column, _Is):
            moved[node] = slots[column.place, column.category]
        elif isinstance(column, _Number):
            moved[node] = column.place
            asked.setdefault((feature, mode), []).append(node)
    for (feature, mode), nodes in asked.items():
        number = columns[feature]
        assert isinstance(number, _Number)
        if number.fill is not None:
            tracks[nodes] = _holds(_scaled(number, number.fill), values[nodes], mode)
        if number.steps:
            values[nodes] = _threshold(number, values[nodes], mode)
    new: dict[str, list[Any]] = {
        "nodes_values": values.tolist(),
        "nodes_featureids": moved,
        "nodes_missing_value_tracks_true": tracks.tolist(),
    }
    kept = [x for x in tree.attribute if x.name not in new]
    del tree.attribute[:]
    tree.attribute.extend(kept)
    tree.attribute.extend(helper.make_attribute(name, x) for name, x in new.items())


def _scaled(number: _Number, values: Any) -> Floats:
    """Values of a column as they reached the trees, in float32 step by step."""
    with np.errstate(over="ignore", invalid="ignore"):
        for offset, scale in number.steps:
            values = (values - offset) * scale
    found: Floats = np.asarray(values, dtype=np.float32)
    return found


def _holds(values: Floats, thresholds: Floats, mode: bytes) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = values < thresholds if mode == b"BRANCH_LT" else values <= thresholds
    return found


def _threshold(number: _Number, thresholds: Floats, mode: bytes) -> Floats:
    """The thresholds on a number itself, of the same kind: by bisection over all float32.

    The greatest that holds for "at most", the least that does not for "less than".
    """
    last = _order(np.float32(np.inf))
    low = np.full(thresholds.shape, -last, dtype=np.int64)  # holds, if any does
    high = np.full(thresholds.shape, last, dtype=np.int64)  # does not, unless all do
    while (high - low > 1).any():
        middle = (low + high) // 2
        holds = _holds(_scaled(number, _float(middle)), thresholds, mode)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    least, most = (
        _holds(_scaled(number, np.float32(end)), thresholds, mode) for end in (-np.inf, np.inf)
    )
    if mode == b"BRANCH_LT":
        return np.where(least, _float(high), np.float32(-np.inf))
    return np.where(most, np.float32(np.inf), np.where(least, _float(low), np.float32(np.nan)))


def _order(value: np.float32) -> int:
    """A float32 of 0 or more as an integer of the same order."""
    return int(value.view(np.int32))


def _float(order: NDArray[np.int64]) -> Floats:
    """Integers in the order of float32, negative ones below zero, as float32."""
    found = np.abs(order).astype(np.int32).view(np.float32)
    return np.where(order < 0, -found, found).astype(np.float32)


def _inputs(
    body: onnx.GraphProto, words: Sequence[int], categories: Sequence[bytes], *, numbers: bool
) -> tuple[str, list[onnx.NodeProto]]:
    """The matrix of numbers and one-hot columns: its name, and what makes it."""
    nodes: list[onnx.NodeProto] = []
    name = graph.NUMBERS
    if words:
        source = graph.WORDS
        if list(words) != list(range(_width(body, graph.WORDS))):
            graph.constant(body, "folded_places", list(words), [len(words)])
            nodes.append(
                helper.make_node("Gather", [source, "folded_places"], ["folded_words"], axis=1)
            )
            source = "folded_words"
        nodes.append(
            helper.make_node(
                "OneHotEncoder", [source], ["folded_hot"], domain="ai.onnx.ml",
                cats_strings=list(categories), zeros=1,
            )
        )  # fmt: skip
        width = len(words) * len(categories)
        graph.constant(body, "folded_shape", [-1, width], [2])
        name = "folded_flat"
        nodes.append(helper.make_node("Reshape", ["folded_hot", "folded_shape"], [name]))
        if numbers:
            parts = [graph.NUMBERS, name]
            name = "folded"
            nodes.append(helper.make_node("Concat", parts, [name], axis=1))
    return name, nodes


def _width(body: onnx.GraphProto, name: str) -> int:
    """How many columns a packed input has, 0 where there is none."""
    for value in body.input:
        if value.name == name:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    return 0
