"""Rows to answers without a request: the checker and the model that every contract uses, and no more.

Batch prediction and the replay of training rows go through here, so that what a file gets and what
a client gets are decided by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trimtab.model.load import LoadedModel, Outputs
from trimtab.serve.protocols.parse import Checked, Checker, Rows

MOST: Final = 32
"""Rows of one run of an ONNX graph: trees cost least per row at 16 to 32."""


def score(model: LoadedModel, checker: Checker, rows: Rows) -> tuple[Checked, Outputs]:
    """Check rows against the signature and score them.

    Raises InputError naming row and column, ModelError where the model fails on a row.
    """
    checked = checker.check(rows)
    count, words = checked.count, list(checked.words.values())
    most = MOST if model.signature.engine == "onnx" else count
    if count <= most:
        return checked, model.predict_packed(checked.numbers, words)
    parts = [
        model.predict_packed(
            checked.numbers[:, start : start + most],
            [column[start : start + most] for column in words],
        )
        for start in range(0, count, most)
    ]
    decisions = [one for part in parts for one in part.decision]
    return checked, Outputs(np.concatenate([part.score for part in parts]), decisions)


def take(rows: Rows, places: Sequence[int]) -> Rows:
    """Those rows, in that order."""
    return Rows(
        columns={name: [values[i] for i in places] for name, values in rows.columns.items()},
        count=len(places),
    )
