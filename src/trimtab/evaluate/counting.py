"""F1 and macro F1 as linear forms.

The variance by the delta method is that of Takahashi et al., "Confidence interval for
micro-averaged F1 and macro-averaged F1 scores" (Applied Intelligence 2022), in influence form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import UndecidedError
from trimtab.evaluate.estimate import Linear
from trimtab.evaluate.scored import Scored


def f1(scored: Scored) -> Linear:
    """2 TP / (2 TP + FP + FN) of the positive class; raises UndecidedError."""
    found = _f1(scored.known_truth.astype(np.bool_), scored.decision.astype(np.bool_))
    if found is None:
        raise UndecidedError("nothing is positive, neither truly nor by decision")
    return found


def macro_f1(scored: Scored) -> Linear:
    """The mean F1 over the classes that occur in truth or decision; raises UndecidedError."""
    each = [_f1(scored.known_truth == c, scored.decision == c) for c in range(len(scored.classes))]
    present = [one for one in each if one is not None]
    if not present:
        raise UndecidedError("there are no rows")
    return Linear(
        float(np.mean([one.value for one in present])),
        np.mean([one.influence for one in present], axis=0),
        min(one.units for one in present),
    )


def _f1(truth: NDArray[np.bool_], decision: NDArray[np.bool_]) -> Linear | None:
    twice = 2.0 * (truth & decision)
    either = truth.astype(np.float64) + decision
    if not either.any():
        return None
    size = float(either.mean())
    value = float(twice.mean()) / size
    return Linear(value, (twice - value * either) / size, int((truth | decision).sum()))
