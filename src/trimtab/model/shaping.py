"""Scores of any usual shape as the one that a signature speaks of."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model.signature import Signature

_ROUNDING: Final = 1e-6


def shaped(found: NDArray[np.float64], signed: Signature, rows: int) -> NDArray[np.float64]:
    """[N] of the positive class, [N, classes] or [N] values; raises ModelError.

    A binary model may give both classes or the positive one, and any model of one score a column.
    """
    if found.shape[:1] != (rows,):
        raise ModelError(
            f"{rows} rows get scores of shape {list(found.shape)}",
            hint="the first axis must be the rows",
        )
    width = int(np.prod(found.shape[1:]))
    if signed.task == "multiclass":
        if found.ndim != 2 or width != len(signed.classes):
            raise ModelError(
                f"the scores have shape {list(found.shape)} for {len(signed.classes)} classes",
                hint="one column per class, in the order of the signature's classes",
            )
    elif signed.task == "binary" and found.ndim == 2 and width == 2:
        found = found[:, signed.positive_index]
    elif width == 1:
        found = found.reshape(-1)
    else:
        raise ModelError(
            f"the scores have shape {list(found.shape)}, a {signed.task} model gives one per row"
        )
    known = found[np.isfinite(found)]
    if signed.task == "regression" or not known.size:
        return found
    low, high = float(known.min()), float(known.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ModelError(
            f"the scores go from {low:.3g} to {high:.3g}, which are no probabilities",
            hint="end the model with a sigmoid or softmax",
        )
    return found
