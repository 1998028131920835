"""A few rows together through a packed graph, straight from their cells.

Gives what `LoadedModel.predict_packed` gives for the same rows. Of as few as come in one turn of an
event loop, plain Python packs and looks at numbers sooner than NumPy.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import numpy as np

from trimtab.errors import ModelError
from trimtab.model.decide import decider
from trimtab.model.signature import Class, Signature
from trimtab.model.single import GREATEST, Run

_NAN: Final = float("nan")

Row = Sequence[Any]


class Several:
    """Rows for a graph with one float32 score per row; the cells are numbers, then texts, null is None."""

    def __init__(self, run: Run, signed: Signature) -> None:
        self._run = run
        self._outputs = [signed.output]
        self._decide = decider(signed)
        self._is_bounded = signed.task != "regression"
        self._split = len(signed.numbers)
        self._width = len(signed.numbers) + len(signed.words)
        self._nulls = any(column.nullable for column in signed.inputs if column.kind == "text")

    def predict(self, rows: Sequence[Row]) -> tuple[list[float], list[Class]] | None:
        """Scores and decisions; None where a number may be beyond a 32-bit float.

        Raises ModelError where the model fails or gives a score that is no finite number.
        """
        feed = self._feed(rows)
        if feed is None:
            return None
        try:
            scores: list[float] = self._run(self._outputs, feed, None)[0].tolist()
        except Exception as error:  # ONNX Runtime raises its own classes
            raise ModelError(f"the model failed on these rows: {type(error).__name__}") from error
        if not math.isfinite(sum(scores)):
            raise ModelError("the model gave a score that is not a finite number")
        if self._is_bounded and not (min(scores) >= 0.0 and max(scores) <= 1.0):
            scores = [min(max(score, 0.0), 1.0) for score in scores]
        return scores, list(map(self._decide, scores))

    def _feed(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        feed: dict[str, Any] = {}
        count, split = len(rows), self._split
        if split:
            try:
                data = b"".join(packed("f", [row[:split] for row in rows]))
            except OverflowError:
                return None
            if GREATEST in data:
                return None
            feed["numbers"] = np.frombuffer(data, dtype="<f4").reshape(count, split)
        if split < self._width:
            texts = chain.from_iterable([row[split : self._width] for row in rows])
            words = [text or "" for text in texts] if self._nulls else texts
            made = np.fromiter(words, dtype=object, count=count * (self._width - split))
            feed["words"] = made.reshape(count, -1)
        return feed


def packed(kind: str, lists: Sequence[Sequence[Any]]) -> list[bytes]:
    """Numbers as little-endian floats of 32 ("f") or 64 bits ("d"), NaN for None.

    The lists are equally long. Raises OverflowError where a number is beyond them.
    """
    if not lists:
        return []
    pack = _layout(kind, len(lists[0])).pack
    try:
        return [pack(*one) for one in lists]
    except struct.error:  # a null
        return [pack(*[_NAN if x is None else x for x in one]) for one in lists]


@lru_cache(maxsize=256)
def _layout(kind: str, count: int) -> struct.Struct:
    return struct.Struct(f"<{count}{kind}")
