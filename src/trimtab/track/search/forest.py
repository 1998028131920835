"""A small forest of extremely randomised trees, in numpy alone (Geurts, Ernst, Wehenkel 2006).

It is for tables of a few thousand rows, where nothing else shall be loaded.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
LEAF: Final = 3
"""Rows of a leaf at least; more of them in larger tables, against fitting what is noise."""
_DEEP: Final = 12
_TRIES: Final = 3
"""Thresholds that are drawn of each column at each node."""


class Tree(NamedTuple):
    """Nodes by number: `feature` is -1 in leaves, whose mean is in `value`."""

    feature: NDArray[np.intp]
    threshold: Matrix
    left: NDArray[np.intp]
    value: Matrix


def grow(X: Matrix, y: Matrix, rng: np.random.Generator) -> Tree:
    """A tree of X (n, p) and y (n,): at each node the best of a few random splits of every column."""
    leaf = max(LEAF, len(y) // 150)
    nodes: list[tuple[int, float, int, float]] = [(-1, 0.0, 0, 0.0)]
    waiting = [(0, np.arange(len(y)), 0)]
    while waiting:
        number, rows, depth = waiting.pop()
        value = float(y[rows].mean())
        nodes[number] = (-1, 0.0, 0, value)
        if len(rows) < 2 * leaf or depth == _DEEP:
            continue
        split = _split(X[rows], y[rows] - value, leaf, rng)
        if split is None:
            continue
        feature, threshold, goes = split
        nodes[number] = (feature, threshold, len(nodes), value)
        for part in (rows[~goes], rows[goes]):
            waiting.append((len(nodes), part, depth + 1))
            nodes.append((-1, 0.0, 0, 0.0))
    features, thresholds, lefts, values = zip(*nodes, strict=True)
    return Tree(np.array(features), np.array(thresholds), np.array(lefts), np.array(values))


def _split(
    X: Matrix, y: Matrix, leaf: int, rng: np.random.Generator
) -> tuple[int, float, NDArray[np.bool_]] | None:
    low, high = X.min(axis=0), X.max(axis=0)
    thresholds = low + rng.random((_TRIES, X.shape[1])) * (high - low)
    goes = X[None, :, :] > thresholds[:, None, :]
    right = goes.sum(axis=1)
    total = np.einsum("i,tij->tj", y, goes)  # the mean of y is 0: left is the negative of right
    left = len(y) - right
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = total**2 / right + total**2 / left
    gain[(right < leaf) | (left < leaf)] = -1.0
    best = int(gain.argmax())
    if gain.flat[best] <= 0:
        return None
    at, feature = divmod(best, X.shape[1])
    return feature, float(thresholds[at, feature]), goes[at, :, feature]


def predict(tree: Tree, X: Matrix) -> Matrix:
    """The means (n,) of the leaves that the rows of X fall into."""
    node = np.zeros(len(X), dtype=np.intp)
    rows = np.arange(len(X))
    while True:
        feature = tree.feature[node]
        inner = feature >= 0
        if not inner.any():
            return tree.value[node]
        goes = X[rows, np.maximum(feature, 0)] > tree.threshold[node]
        node = np.where(inner, tree.left[node] + goes, node)
