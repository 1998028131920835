"""Thresholds of trees that lie on a data value, moved a hair to the side where they do no harm.

Boosting puts many thresholds exactly on values of the training rows. Behind a scaler that computes in
float32 such a value may come out one rounding step beyond its threshold, and the row takes the other
branch. Moving the threshold by four such steps keeps the value on its side; the next value is far
away. Where it is not, the parity check of `package` refuses the result.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx

STEPS: Final = 4
_STEP: Final = 2.0**-24
# At or below goes the one way: up keeps the value there. Strictly below: down keeps it out.
_MOVES: Final = {b"BRANCH_LEQ": 1, b"BRANCH_GT": 1, b"BRANCH_LT": -1, b"BRANCH_GTE": -1}


def settle(data: bytes) -> bytes | None:
    """A graph with its trees' thresholds moved, None where it has no trees."""
    model = onnx.load_from_string(data)
    trees = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    for node in trees:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "nodes_modes" not in attributes or "nodes_values" not in attributes:
            return None
        values = np.array(attributes["nodes_values"].floats, dtype=np.float32)
        signs = [_MOVES.get(mode, 0) for mode in attributes["nodes_modes"].strings]
        room = STEPS * _STEP * np.maximum(1.0, np.abs(values))
        moved = values + np.array(signs, dtype=np.float32) * room.astype(np.float32)
        attributes["nodes_values"].floats[:] = moved.tolist()
    return bytes(model.SerializeToString(deterministic=True)) if trees else None
