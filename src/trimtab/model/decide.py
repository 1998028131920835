"""From scores to decisions, the same in packaging, serving, batch and tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.model.signature import Class, Signature

# A vote of 10 trees in 20 is 0.5 in float64 and 0.49999997 in float32: a tie at the threshold must
# fall to the same side in both.
ROUNDING: Final = 1e-6
THRESHOLD: Final = 0.5


def decide(signature: Signature, score: NDArray[np.floating]) -> list[Class]:
    """One decision per row.

    Binary, `score` [N] of the positive class: positive where score >= threshold (less 1e-6 for
    float32 rounding), the other class elsewhere. Multiclass, [N, classes]: the class of the
    greatest score, the first of equals. Regression, [N]: the value itself.
    """
    if signature.task == "regression":
        return [float(value) for value in score]
    if signature.task == "multiclass":
        return [signature.classes[index] for index in score.argmax(axis=1).tolist()]
    positive, other, bound = _binary(signature)
    return [positive if high else other for high in (score >= bound).tolist()]


def decide_few(signature: Signature, score: list[float]) -> list[Class]:
    """The same of float32 scores of one per row; of few of them sooner."""
    if signature.task == "regression":
        return list(score)
    positive, other, bound = _binary(signature)
    bound = _float32(bound)  # which is what NumPy compares float32 with
    return [positive if value >= bound else other for value in score]


def decider(signature: Signature) -> Callable[[float], Class]:
    """The same of one float32 score, with all that a signature says looked up beforehand."""
    if signature.task == "regression":
        return float
    positive, other, bound = _binary(signature)
    least = _float32(bound)
    return lambda score: positive if score >= least else other


def _binary(signature: Signature) -> tuple[Class, Class, float]:
    """The positive class, the other one, and the least score of the positive."""
    index = signature.positive_index
    bound = (THRESHOLD if signature.threshold is None else signature.threshold) - ROUNDING
    return signature.classes[index], signature.classes[1 - index], bound


@lru_cache(maxsize=64)
def _float32(value: float) -> float:
    return float(np.float32(value))
