"""Boosted trees that predict how large a regression's error will be, as plain arrays.

Fitted once, where the model is trained; whoever walks them later needs no modelling library.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = NDArray[np.uint8]

_TREES: Final = 60
_DEPTH: Final = 3
_RATE: Final = 0.1
_LEAF: Final = 20
_FOLDS: Final = 3
_MOST_ROWS: Final = 20_000


class Fitted(NamedTuple):
    """Trees end to end: node arrays, the node at which each begins, and the prediction they add to.

    `noise` is the variance of the loss about cross-validated predictions over their mean square;
    `rest` is what these predictions left of each row's loss, NaN where a row did not teach.
    """

    start: float
    roots: list[int]
    depth: int
    feature: NDArray[np.int16]
    cut: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]
    noise: float
    rows: int
    rest: NDArray[np.float32]


def fit(groups: Groups, loss: Floats, *, seed: int = 0) -> Fitted:
    """Trees that predict `loss` (n,) from group numbers (n, features); at most 20,000 rows teach.

    Too few rows for three folds of 20 give the mean alone.
    """
    pick = np.random.default_rng(seed).permutation(len(loss))[:_MOST_ROWS]
    x, y = groups[pick], np.asarray(loss, dtype=np.float64)[pick]
    if len(y) < 3 * _LEAF or x.shape[1] == 0:
        mean = float(y.mean()) if len(y) else 0.0
        return _constant(y, _back(y - mean, pick, len(loss)))
    fold = np.arange(len(y)) % _FOLDS
    known = np.empty(len(y))
    for k in range(_FOLDS):
        known[fold == k] = _boosted(x[fold != k], y[fold != k], seed).predict(x[fold == k])
    known = np.maximum(known, 0.0)
    noise = float(((y - known) ** 2).mean() / max(float((known**2).mean()), 1e-300))
    return _flat(_boosted(x, y, seed), y, noise, _back(y - known, pick, len(loss)))


def _back(rest: Floats, pick: NDArray[np.int64], rows: int) -> NDArray[np.float32]:
    """What is known of the rows `pick`, in the order of all `rows`."""
    found = np.full(rows, np.nan)
    found[pick] = rest
    return found.astype("<f4")


def _boosted(x: Groups, y: Floats, seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor  # noqa: PLC0415 - heavy

    made = GradientBoostingRegressor(
        n_estimators=_TREES, max_depth=_DEPTH, learning_rate=_RATE, min_samples_leaf=_LEAF,
        subsample=0.5, random_state=seed,
    )  # fmt: skip
    return made.fit(x.astype(np.float32), y)


def _flat(made: Any, y: Floats, noise: float, rest: NDArray[np.float32]) -> Fitted:
    roots, parts, size = [], [], 0
    for (tree,) in made.estimators_.tolist():
        nodes = tree.tree_
        own = np.arange(nodes.node_count)
        leaf = nodes.children_left < 0
        parts.append(
            (
                np.where(leaf, 0, nodes.feature),
                np.where(leaf, 255, np.floor(nodes.threshold).clip(0, 255)),
                np.where(leaf, own, nodes.children_left) + size,
                np.where(leaf, own, nodes.children_right) + size,
                np.where(leaf, nodes.value[:, 0, 0] * _RATE, 0.0),
            )
        )
        roots.append(size)
        size += nodes.node_count
    feature, cut, left, right, value = (np.concatenate(one) for one in zip(*parts, strict=True))
    return Fitted(
        start=float(y.mean()),
        roots=roots,
        depth=_DEPTH,
        feature=feature.astype("<i2"),
        cut=cut.astype(np.uint8),
        left=left.astype("<i4"),
        right=right.astype("<i4"),
        value=value.astype("<f4"),
        noise=noise,
        rows=len(y),
        rest=rest,
    )


def _constant(y: Floats, rest: NDArray[np.float32]) -> Fitted:
    mean = float(y.mean()) if len(y) else 0.0
    noise = float(y.var() / mean**2) if mean > 0 else 0.0
    none = np.empty(0)
    return Fitted(
        mean, [], 0, none.astype("<i2"), none.astype(np.uint8), none.astype("<i4"),
        none.astype("<i4"), none.astype("<f4"), noise, len(y), rest,
    )  # fmt: skip
