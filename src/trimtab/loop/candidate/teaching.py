"""What the monitor needs taught at training time: trees that predict a regression's error."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.outcomes.loss import Trees
from trimtab.tune import losses


def trees(groups: NDArray[np.uint8], loss: NDArray[np.float64]) -> Trees:
    """Trees that predict a loss from group numbers, as the monitor walks them."""
    made = losses.fit(groups, loss)
    return Trees(
        start=made.start,
        roots=tuple(made.roots),
        depth=made.depth,
        feature=made.feature.tobytes(),
        cut=made.cut.tobytes(),
        left=made.left.tobytes(),
        right=made.right.tobytes(),
        value=made.value.tobytes(),
        noise=made.noise,
        rows=made.rows,
        rest=zlib.compress(made.rest.tobytes()),
    )
