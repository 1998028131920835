"""Metrics of rows whose truth is a probability, with the slope of each metric in every row.

One formula serves three ends: with calibrated probabilities it is what a model may expect of itself
(the closed forms of CBPE), with 0/1 truths it is the realised metric, and with row weights either of
them on a sample. The slopes carry intervals: a metric moves by slope times the error of a probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Soft(NamedTuple):
    """A metric's value (NaN where it has none) and how it moves.

    `slope` is its derivative in each row's probability, `influence` in each row's weight, times that
    weight; influences sum to 0, and the sum of their squares is the sampling variance (the
    infinitesimal jackknife).
    """

    value: float
    slope: Floats
    influence: Floats


class Rows(NamedTuple):
    """Scores, whether each was decided positive, P(positive) and weights, row by row."""

    score: Floats
    decided: NDArray[np.bool_]
    chance: Floats
    weight: Floats


class Classes(NamedTuple):
    """Scores (n, k), decided class (n,), P(class) (n, k) and weights (n,)."""

    score: Floats
    decided: NDArray[np.int64]
    chance: Floats
    weight: Floats


def accuracy(rows: Rows) -> Soft:
    """The share of right decisions."""
    right = rows.decided.astype(np.float64)
    return _share(rows, right, 1 - right)


def brier(rows: Rows) -> Soft:
    """The squared distance of the score from the truth."""
    return _share(rows, (1 - rows.score) ** 2, rows.score**2)


def precision(rows: Rows) -> Soft:
    """The share of positive decisions that are right."""
    d, p, w = rows.decided.astype(np.float64), rows.chance, rows.weight
    total = float(w @ d)
    if total <= 0:
        return _none(rows)
    value = float((w * d) @ p) / total
    return _soft(rows, value, d * (1 - value) / total, -value * d / total)


def recall(rows: Rows) -> Soft:
    """The share of positives that are decided positive."""
    d, p, w = rows.decided.astype(np.float64), rows.chance, rows.weight
    positives = float(w @ p)
    if positives <= 0:
        return _none(rows)
    value = float((w * d) @ p) / positives
    return _soft(rows, value, (d - value) / positives, np.zeros(len(p)))


def f1(rows: Rows) -> Soft:
    """2 TP / (2 TP + FP + FN)."""
    d, p, w = rows.decided.astype(np.float64), rows.chance, rows.weight
    both = float(w @ d + w @ p)
    if both <= 0:
        return _none(rows)
    value = 2 * float((w * d) @ p) / both
    return _soft(rows, value, (2 * d - value * (d + 1.0)) / both, -value * d / both)


def roc_auc(rows: Rows) -> Soft:
    """P(a positive scores above a negative), ties counting half (Mann and Whitney 1947)."""
    p, w = rows.chance, rows.weight
    hit, miss = w * p, w * (1 - p)
    positives, negatives = float(hit.sum()), float(miss.sum())
    if positives <= 0 or negatives <= 0:
        return _none(rows)
    order, group = _ties(rows.score)
    hits, misses = np.bincount(group, hit[order]), np.bincount(group, miss[order])
    below = (np.cumsum(misses) - misses / 2) / negatives
    above = 1 - (np.cumsum(hits) - hits / 2) / positives
    value = float(hits @ below) / positives
    in_hit, in_miss = (below - value) / positives, (above - value) / negatives
    return _soft(rows, value, _back(in_hit, order, group), _back(in_miss, order, group))


def average_precision(rows: Rows) -> Soft:
    """The mean precision at the scores of the positives, equal scores being one step."""
    p, w = rows.chance, rows.weight
    hit = w * p
    positives = float(hit.sum())
    if positives <= 0:
        return _none(rows)
    order, group = _ties(-rows.score)
    hits, mass = np.bincount(group, hit[order]), np.bincount(group, w[order])
    seen = np.maximum(np.cumsum(mass), 1e-300)
    sharp = np.cumsum(hits) / seen
    value = float(hits @ sharp) / positives
    gain, loss = _from_here(hits / seen), _from_here(hits * sharp / seen)
    in_hit, in_miss = (sharp + gain - loss - value) / positives, -loss / positives
    return _soft(rows, value, _back(in_hit, order, group), _back(in_miss, order, group))


BINARY: Final[dict[str, Callable[[Rows], Soft]]] = {
    "accuracy": accuracy,
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "true_positive_rate": recall,
    "brier": brier,
}


def accuracy_of_classes(rows: Classes) -> Soft:
    """The share of right answers; its slope is (n, k)."""
    total = float(rows.weight.sum())
    each = np.arange(len(rows.decided))
    slope = np.zeros_like(rows.chance)
    if total <= 0:
        return Soft(float("nan"), slope, np.zeros(len(each)))
    slope[each, rows.decided] = rows.weight / total
    right = rows.chance[each, rows.decided]
    value = float(rows.weight @ right) / total
    return Soft(value, slope, rows.weight * (right - value) / total)


def macro(metric: Callable[[Rows], Soft]) -> Callable[[Classes], Soft]:
    """The mean over classes of a metric of class against rest; its slope is (n, k).

    Where a class has no value, a metric of decisions counts as 0 and a ranking is left out.
    """

    def mean(rows: Classes) -> Soft:
        slope, influence = np.zeros_like(rows.chance), np.zeros(len(rows.decided))
        known = []
        for c in range(slope.shape[1]):
            part = metric(Rows(rows.score[:, c], rows.decided == c, rows.chance[:, c], rows.weight))
            if np.isfinite(part.value):
                known.append(part.value)
                slope[:, c] = part.slope
                influence += part.influence
        count = slope.shape[1] if metric in _DECISIONS else max(len(known), 1)
        value = sum(known) / count if known else float("nan")
        return Soft(value, slope / count, influence / count)

    return mean


_DECISIONS: Final = (f1, precision, recall)
MULTICLASS: Final[dict[str, Callable[[Classes], Soft]]] = {
    "accuracy": accuracy_of_classes,
    "roc_auc_ovr": macro(roc_auc),
    "macro_average_precision": macro(average_precision),
    "macro_f1": macro(f1),
    "macro_precision": macro(precision),
    "macro_recall": macro(recall),
}


def _ties(score: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of ascending scores, and the number of each ordered row's tie."""
    order = np.argsort(score, kind="stable").astype(np.int64)
    ranked = score[order]
    new = np.concatenate([[False], ranked[1:] != ranked[:-1]])
    return order, np.cumsum(new)


def _from_here(steps: Floats) -> Floats:
    """The sum of each step and all later ones."""
    result: Floats = np.cumsum(steps[::-1])[::-1]
    return result


def _back(change: Floats, order: NDArray[np.int64], group: NDArray[np.int64]) -> Floats:
    """What each tie has, given to its rows in their own order."""
    found = np.empty(len(order))
    found[order] = change[group]
    return found


def _share(rows: Rows, hit: Floats, miss: Floats) -> Soft:
    """A mean over rows that is `hit` for an event and `miss` for none."""
    total = float(rows.weight.sum())
    if total <= 0:
        return _none(rows)
    value = float(rows.weight @ (rows.chance * hit + (1 - rows.chance) * miss)) / total
    return _soft(rows, value, (hit - value) / total, (miss - value) / total)


def _soft(rows: Rows, value: float, in_hit: Floats, in_miss: Floats) -> Soft:
    """From derivatives in the weights of a row's event and of its absence."""
    p, w = rows.chance, rows.weight
    return Soft(value, w * (in_hit - in_miss), w * (p * in_hit + (1 - p) * in_miss))


def _none(rows: Rows) -> Soft:
    return Soft(float("nan"), np.zeros(len(rows.chance)), np.zeros(len(rows.chance)))
