"""Thresholds of trees that lie on a data value, moved a hair to the side where they do no harm.

Boosting puts many thresholds exactly on values of the training rows. Behind a scaler that computes in
float32 such a value may come out one rounding step beyond its threshold, and the row takes the other
branch. A threshold that is moved by a few such steps keeps its rows; the next value is far away.
Where it is not, `package` finds the rows that are off, and keeps the graph as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.pipeline import Pipeline

STEPS: Final = 4
_STEP: Final = 2.0**-24
_NEAR: Final = 1e-2
# At or below goes the one way: up keeps the value there. Strictly below: down keeps it out.
_MOVES: Final = {b"BRANCH_LEQ": 1, b"BRANCH_GT": 1, b"BRANCH_LT": -1, b"BRANCH_GTE": -1}

Feed = Mapping[str, NDArray[Any]]


def settle(
    data: bytes, feed: Feed | None = None, exact: NDArray[np.float64] | None = None
) -> bytes | None:
    """A graph with the thresholds of its trees moved; None where it has no trees that are known.

    Every threshold moves by 4 * 2**-24 * max(1, |threshold|) away from the values that lie on it.
    `exact` [rows, features] is what the trees were given in training and `feed` the inputs of the
    graph for the same rows: with them a threshold also comes to lie between the values that the
    graph computes for the rows on its two sides, at least twice their error away where there is room.
    """
    model = onnx.load_from_string(data)
    trees = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if not trees or not all(_attributes(node).keys() >= _NEEDED for node in trees):
        return None
    seen = {} if feed is None or exact is None else _tapped(data, trees, feed)
    for node in trees:
        _settle(node, exact, seen.get(node.input[0]))
    return bytes(model.SerializeToString(deterministic=True))


def exact(estimator: Any, frame: pl.DataFrame) -> NDArray[np.float64] | None:
    """What the last step of a pipeline is given for these rows; None where that is not known."""
    given: Any = frame
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown category is no news here
        while isinstance(estimator, Pipeline):
            given = estimator[:-1].transform(given) if len(estimator) > 1 else given
            estimator = estimator[-1]
    given = given.toarray() if hasattr(given, "toarray") else given
    try:
        return np.asarray(given, dtype=np.float64)
    except ValueError:  # texts
        return None


_NEEDED: Final = {"nodes_modes", "nodes_values", "nodes_featureids"}


def _attributes(node: onnx.NodeProto) -> dict[str, onnx.AttributeProto]:
    return {attribute.name: attribute for attribute in node.attribute}


def _tapped(data: bytes, trees: list[onnx.NodeProto], feed: Feed) -> dict[str, NDArray[Any]]:
    """What the graph itself gives to its trees."""
    model = onnx.load_from_string(data)
    names = sorted({node.input[0] for node in trees})
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    inputs = {value.name for value in model.graph.input}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    got = session.run(names, {name: value for name, value in feed.items() if name in inputs})
    return dict(zip(names, got, strict=True))


def _settle(
    node: onnx.NodeProto, exact: NDArray[np.float64] | None, seen: NDArray[Any] | None
) -> None:
    attributes = _attributes(node)
    values = np.array(attributes["nodes_values"].floats, dtype=np.float32)
    features = np.array(attributes["nodes_featureids"].ints, dtype=np.int64)
    signs = np.array(
        [_MOVES.get(mode, 0) for mode in attributes["nodes_modes"].strings], dtype=np.float64
    )
    signs[~np.isfinite(values)] = 0
    room = STEPS * _STEP * np.clip(np.abs(values), 1.0, 1e30).astype(np.float64)
    moved = values + signs * room
    if exact is not None and seen is not None and _alike(exact, seen):
        for feature in np.unique(features[signs != 0]).tolist():
            known = ~np.isnan(exact[:, feature]) & ~np.isnan(seen[:, feature])
            for sign in (1, -1):
                nodes = np.flatnonzero((features == feature) & (signs == sign))
                moved[nodes] = _between(
                    values[nodes], room[nodes], sign, exact[known, feature], seen[known, feature]
                )
    kept = np.where(signs == 0, values, moved.astype(np.float32))
    attributes["nodes_values"].floats[:] = kept.tolist()


def _alike(exact: NDArray[np.float64], seen: NDArray[Any]) -> bool:
    """Whether both are the same features of the same rows, up to rounding."""
    return exact.shape == seen.shape and np.allclose(
        exact, seen, rtol=_NEAR, atol=_NEAR, equal_nan=True
    )


def _between(
    values: NDArray[np.float32],
    room: NDArray[np.float64],
    sign: int,
    exact: NDArray[np.float64],
    seen: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Thresholds of one feature, moved, and then between the rows of their two sides."""
    if not len(exact):
        return values + sign * room
    given = exact.astype(np.float32)
    room = np.maximum(room, 2 * float(np.abs(given - seen).max()))
    order = np.argsort(given, kind="stable")
    below = np.maximum.accumulate(seen[order]).astype(np.float64)
    above = np.minimum.accumulate(seen[order][::-1])[::-1].astype(np.float64)
    # At a threshold "at or below" the equal values are below it, at "strictly below" above.
    places = np.searchsorted(given[order], values, side="right" if sign > 0 else "left")
    lower = np.where(places > 0, below[np.maximum(places, 1) - 1], -np.inf)
    upper = np.where(places < len(given), above[np.minimum(places, len(given) - 1)], np.inf)
    margin = np.minimum(room, (upper - lower) / 2)
    moved = np.clip(values + sign * room, lower + margin, upper - margin)
    # Rounding to float32 must not close the last gap.
    if sign > 0:
        moved = np.minimum(moved, np.nextafter(upper.astype(np.float32), np.float32(-np.inf)))
        moved = np.maximum(moved, lower)
    else:
        moved = np.maximum(moved, np.nextafter(lower.astype(np.float32), np.float32(np.inf)))
        moved = np.minimum(moved, upper)
    return np.where(lower < upper, moved, values + sign * room)
