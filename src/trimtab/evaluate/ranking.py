"""Metrics of the order that scores put rows in: area under the ROC curve, average precision.

Both come as linear forms in O(n log n), ties counted as the definitions ask.
"""

from __future__ import annotations

import numpy as np

from trimtab.errors import UndecidedError
from trimtab.evaluate.estimate import Linear
from trimtab.evaluate.scored import Floats, Scored


def roc_auc(scored: Scored) -> Linear:
    """P(score of a positive > score of a negative) + half the ties; raises UndecidedError.

    The influence reproduces the variance and covariance of DeLong, DeLong & Clarke-Pearson
    (Biometrics 1988), by the midranks of Sun & Xu (IEEE Signal Processing Letters 2014).
    """
    return area(scored.known_truth.astype(np.bool_), scored.known_score)


def roc_auc_ovr(scored: Scored) -> Linear:
    """The mean over classes of the area of class against rest; raises UndecidedError."""
    each = []
    for code, name in enumerate(scored.classes):
        positive = scored.known_truth == code
        if not positive.any():
            raise UndecidedError(f"no row is truly {name!r}")
        each.append(area(positive, scored.known_score[:, code]))
    influence = np.mean([one.influence for one in each], axis=0)
    return Linear(
        float(np.mean([one.value for one in each])), influence, min(one.units for one in each)
    )


def area(positive: np.ndarray[tuple[int], np.dtype[np.bool_]] | Floats, score: Floats) -> Linear:
    """The area of one score against one flag, both (n,); raises UndecidedError for one class."""
    positive = positive.astype(np.bool_)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise UndecidedError(f"the truth holds {'only positives' if m else 'no positives'}")
    ranks = midranks(score)
    above = (ranks[positive] - midranks(score[positive])) / n
    below = 1 - (ranks[~positive] - midranks(score[~positive])) / m
    value = float(above.mean())
    influence = np.empty(m + n)
    # m / (m - 1) makes the variance DeLong's unbiased one.
    influence[positive] = (above - value) * ((m + n) / m) * _unbiased(m)
    influence[~positive] = (below - value) * ((m + n) / n) * _unbiased(n)
    return Linear(value, influence, min(m, n))


def average_precision(scored: Scored) -> Linear:
    """The mean over positives of the precision at their score; raises UndecidedError.

    With G(s) and H(s) the shares of rows that are positive with score >= s, and that have score
    >= s, it is the mean of G/H over positives. Its influence follows by the chain rule: the row's
    own precision, plus what the row adds to G and to H at every threshold at or below its score.
    """
    rows, positive = scored.rows, scored.known_truth.astype(np.float64)
    found = float(positive.sum())
    if not found:
        raise UndecidedError("the truth holds no positives")
    order = np.argsort(-scored.known_score, kind="stable")
    ranked = scored.known_score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    hits = np.add.reduceat(positive[order], starts) / rows
    sizes = np.diff(np.r_[starts, rows])
    above_positive, above = hits.cumsum(), sizes.cumsum() / rows
    precision = above_positive / above
    share = found / rows
    value = float((hits * precision).sum() / share)
    gain = (hits / above)[::-1].cumsum()[::-1]
    loss = (hits * above_positive / above**2)[::-1].cumsum()[::-1]
    group = np.empty(rows, dtype=np.intp)
    group[order] = np.repeat(np.arange(len(starts)), sizes)
    influence = (positive * (precision - value + gain)[group] - loss[group]) / share
    return Linear(value, influence, int(found))


def midranks(values: Floats) -> Floats:
    """Ranks from 1, tied values sharing the mean of theirs."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ends = np.r_[starts[1:], len(values)]
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return ranks


def _unbiased(count: int) -> float:
    return float((count / (count - 1)) ** 0.5) if count > 1 else 1.0
