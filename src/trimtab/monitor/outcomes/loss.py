"""The error of a regression without labels: boosted trees that predict it from what was asked.

Direct loss estimation (NannyML's DLE): trees are fitted on withheld errors at training time, kept as
plain arrays and walked here in NumPy. Like every estimate without labels it follows the inputs and
is blind to a change of what they mean.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError
from trimtab.monitor.outcomes.cbpe import Estimate
from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]
Groups = NDArray[np.uint8]

METHOD: Final = "dle"
WEIGHTED: Final = "dle-weighted"
BLIND_SPOT: Final = (
    "assumes that errors depend on the inputs as they did on withheld rows: blind to concept drift"
)
_BLOCK: Final = 16_384


class Trees(msgspec.Struct, frozen=True, kw_only=True):
    """A sum of binary trees over group numbers, and how well it knew withheld rows.

    Node i asks whether group `feature[i]` is at most `cut[i]` and goes to `left[i]` or `right[i]`; a
    node whose `left` is itself is a leaf that adds `value[i]`. Trees begin at `roots`; `depth` steps
    reach every leaf. `noise` is the withheld error's variance about the prediction over the mean
    squared prediction, `rows` how many rows taught. Arrays are little-endian: int16 features, uint8
    cuts, int32 links and float32 values. `rest` is zlib-compressed: of each row of the basis's sample
    what a cross-validated prediction left of its loss, float32; nothing in older packages.
    """

    start: float
    roots: tuple[int, ...]
    depth: int
    feature: bytes
    cut: bytes
    left: bytes
    right: bytes
    value: bytes
    noise: float
    rows: int
    rest: bytes = b""


def predict(trees: Trees, groups: Groups) -> Floats:
    """The loss that each row (n, features) is expected to have, never below 0."""
    feature = np.frombuffer(trees.feature, dtype="<i2").astype(np.intp)
    cut = np.frombuffer(trees.cut, dtype=np.uint8)
    left = np.frombuffer(trees.left, dtype="<i4").astype(np.intp)
    right = np.frombuffer(trees.right, dtype="<i4").astype(np.intp)
    value = np.frombuffer(trees.value, dtype="<f4").astype(np.float64)
    found = np.full(len(groups), trees.start)
    for first in range(0, len(groups), _BLOCK):
        part = groups[first : first + _BLOCK]
        row = np.arange(len(part))
        for root in trees.roots:
            node = np.full(len(part), root, dtype=np.intp)
            for _ in range(trees.depth):
                goes_left = part[row, feature[node]] <= cut[node]
                node = np.where(goes_left, left[node], right[node])
            found[first : first + _BLOCK] += value[node]
    result: Floats = np.maximum(found, 0.0)
    return result


def estimate(
    metric: str,
    trees: Trees,
    groups: Groups,
    *,
    level: float = 0.95,
    rows: int = 0,
    weight: Floats | None = None,
    effective: float = 1.0,
) -> Estimate:
    """The expected `mae`, `mse` or `rmse` of rows with these groups, `rows` in all.

    `weight` makes the sample's rows stand for these: the estimate is then moved by what the trees
    miss of them (doubly robust; Robins, Rotnitzky and Zhao 1994). Without weights the trees rest on the
    share `effective` of the rows that taught, and errors scatter as they are large. The interval covers
    what labels of these rows will show: the scatter of single errors, and what the withheld leave open.
    """
    if not len(groups):
        raise DataError("there is no row to estimate from", hint="wait for predictions")
    each = predict(trees, groups)
    n = rows or len(groups)
    missed, single, fit = _open(trees, each, weight, effective)
    mean, label = max(0.0, float(each.mean()) + missed), single / n
    half = normal_isf((1 - level) / 2) * (label + fit) ** 0.5
    value, lo, hi, spread = mean, max(0.0, mean - half), mean + half, label**0.5
    if metric == "rmse":
        value, lo, hi = value**0.5, lo**0.5, hi**0.5
        spread = spread / max(2 * value, 1e-300)
    return Estimate(
        metric=metric, value=value, lo=lo, hi=hi, n=n, level=level,
        method=METHOD if weight is None else WEIGHTED,
        note=BLIND_SPOT, spread=spread,
    )  # fmt: skip


def _open(
    trees: Trees, each: Floats, weight: Floats | None, effective: float
) -> tuple[float, float, float]:
    """What the trees miss on average, the variance of a single loss about them, and that of the mean."""
    if weight is None:
        single = trees.noise * float((each**2).mean())
        return 0.0, single, single / max(trees.rows * effective, 1.0)
    rest = np.frombuffer(zlib.decompress(trees.rest), dtype="<f4").astype(np.float64)
    known = np.isfinite(rest)
    rest, share = rest[known], weight[known] / max(float(weight[known].sum()), 1e-300)
    missed = float(share @ rest)
    square = (rest - missed) ** 2
    return missed, float(share @ square), float(share**2 @ square)
