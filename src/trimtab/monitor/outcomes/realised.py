"""Quality from the labels that have come so far, corrected for those that have not.

Labels that come early are no fair sample: surer or easier cases are settled first. Each labelled row
therefore stands for all rows of its score cell, within its slice (inverse completion; Horvitz and
Thompson 1952). What no label of a cell has shown yet is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.model.signature import Signature
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes.expected import BINARY, MULTICLASS, Classes, Rows, Soft
from trimtab.monitor.statistics.tails import normal_isf

Floats = NDArray[np.float64]

_LEAST: Final = 30
_LARGEST: Final = 1e70
"""Errors beyond count as this, so that squares of squares stay numbers."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A realised metric with its interval at 95 %; `n` labelled rows behind it."""

    value: float
    lo: float
    hi: float
    n: int


class Realised(msgspec.Struct, frozen=True, kw_only=True):
    """`labels` of `rows` answers have come; metrics of the whole and of slices (`column=value`).

    `shown` is the share of answers whose score cell has a label at all. `biased` says why the labels
    are no fair sample even so ("" where they are).
    """

    labels: int
    rows: int
    shown: float = 1.0
    metrics: dict[str, Measured] = {}
    slices: dict[str, dict[str, Measured]] = {}
    biased: str = ""

    @property
    def share(self) -> float:
        """How much of the labels has come."""
        return min(1.0, self.labels / self.rows) if self.rows else 0.0


def weights(place: NDArray[np.int64], answered: Sequence[int] | None) -> tuple[Floats, float]:
    """A weight for each labelled row in score cell `place`: answered rows of the cell over labelled
    ones; and the share of answers in cells that have a label.
    """
    if answered is None or not len(place):
        return np.ones(len(place)), 1.0
    whole = np.array(answered, dtype=np.float64)
    have = np.bincount(place, minlength=len(whole)).astype(np.float64)
    known = have > 0
    shown = float(whole[known].sum() / max(whole.sum(), 1.0))
    # a label may come before its row was counted: a labelled row stands at least for itself
    ratio = np.divide(np.maximum(whole, have), have, out=np.zeros(len(whole)), where=known)
    return ratio[place], shown


def truth_of(signature: Signature, labels: Sequence[Any]) -> NDArray[Any]:
    """Labels as the metrics read them: 1 for positive, the class's place, or a number."""
    if signature.task == "regression":
        return np.asarray(labels, dtype=np.float64)
    said = [traffic.text(one) for one in labels]
    if signature.task == "binary":
        positive = traffic.text(signature.positive)
        return np.array([one == positive for one in said], dtype=np.float64)
    place = {traffic.text(one): i for i, one in enumerate(signature.classes)}
    return np.array([place[one] for one in said], dtype=np.int64)


def measure(
    task: str,
    score: NDArray[Any],
    decided: NDArray[Any],
    truth: NDArray[Any],
    weight: Floats,
    names: Sequence[str],
    *,
    level: float = 0.95,
) -> dict[str, Measured]:
    """The metrics `names` of weighted labelled rows; those without a value are left out."""
    found = {}
    for name in names:
        soft = _soft(task, name, np.asarray(score, dtype=np.float64), decided, truth, weight)
        if soft is None or not np.isfinite(soft.value):
            continue
        half = normal_isf((1 - level) / 2) * float(soft.influence @ soft.influence) ** 0.5
        top = np.inf if task == "regression" else 1.0
        value, lo, hi = soft.value, max(0.0, soft.value - half), min(top, soft.value + half)
        if name == "rmse":
            value, lo, hi = value**0.5, lo**0.5, hi**0.5
        found[name] = Measured(value=value, lo=lo, hi=hi, n=len(truth))
    return found


def by_slice(
    task: str,
    score: NDArray[Any],
    decided: NDArray[Any],
    truth: NDArray[Any],
    place: NDArray[np.int64],
    slices: Mapping[str, NDArray[np.object_]],
    cells: Mapping[str, list[int]],
    names: Sequence[str],
) -> dict[str, dict[str, Measured]]:
    """The metrics of every slice with 30 labels or more, each completed by its own cells."""
    found = {}
    for column, values in slices.items():
        said = np.array([traffic.text(one) for one in values], dtype=object)
        for value in dict.fromkeys(said.tolist()):
            mine = np.flatnonzero(said == value)
            if len(mine) < _LEAST:
                continue
            key = f"{column}={value}"
            weight, _ = weights(place[mine], cells.get(key))
            found[key] = measure(task, score[mine], decided[mine], truth[mine], weight, names)
    return found


def _soft(
    task: str, name: str, score: Floats, decided: NDArray[Any], truth: NDArray[Any], weight: Floats
) -> Soft | None:
    if task == "binary" and name in BINARY:
        return BINARY[name](Rows(score, decided, truth, weight))
    if task == "multiclass" and name in MULTICLASS:
        right = np.zeros_like(score)
        right[np.arange(len(truth)), truth] = 1.0
        return MULTICLASS[name](Classes(score, decided, right, weight))
    if task == "regression" and name in ("mae", "mse", "rmse"):
        each = np.minimum(np.abs(truth - score), _LARGEST)
        each = each if name == "mae" else each**2
        total = float(weight.sum())
        value = float(weight @ each) / total if total > 0 else float("nan")
        return Soft(value, np.zeros(len(each)), weight * (each - value) / max(total, 1e-300))
    return None
