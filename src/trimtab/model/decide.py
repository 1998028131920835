"""From scores to decisions, the same in packaging, serving, batch and tests."""

from __future__ import annotations

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
    index = signature.positive_index
    positive, other = signature.classes[index], signature.classes[1 - index]
    bound = (THRESHOLD if signature.threshold is None else signature.threshold) - ROUNDING
    return [positive if high else other for high in (score >= bound).tolist()]
