"""One row at a time through a packed graph: its inputs are made once and filled again.

Gives what `LoadedModel.predict_packed` gives for the same row, without an array made on the way.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from trimtab.errors import ModelError
from trimtab.model.decide import decider
from trimtab.model.signature import Class, Signature

_NAN: Final = float("nan")
# How the greatest float32 begins, of either sign: what a little more than it is rounded to.
GREATEST: Final = b"\xff\xff\x7f"

Run = Callable[[list[str], dict[str, Any], None], Sequence[Any]]
"""A session's `run`: names of outputs, inputs by name, no options."""


class Single:
    """The inputs of one row. For one thread, and for a graph with one float32 score per row."""

    def __init__(self, run: Run, signed: Signature) -> None:
        self._run = run
        self._outputs = [signed.output]
        self._decide = decider(signed)
        self._is_bounded = signed.task != "regression"
        self._count = count = len(signed.numbers)
        self._fill = struct.Struct(f"<{count}f").pack_into
        self._buffer = bytearray(4 * count)
        words = np.empty((1, len(signed.words)), dtype=object)
        self._words = words.reshape(-1)
        self._feed: dict[str, Any] = {}
        if count:
            self._feed["numbers"] = np.frombuffer(self._buffer, dtype="<f4").reshape(1, count)
        if signed.words:
            self._feed["words"] = words

    def predict(self, cells: Sequence[Any]) -> tuple[float, Class] | None:
        """Score and decision of a row: its numbers, then its texts; null is None.

        None where a number may be beyond a 32-bit float. Raises ModelError where the model fails or
        gives a score that is no finite number.
        """
        count = self._count
        numbers = cells[:count]
        try:
            try:
                self._fill(self._buffer, 0, *numbers)
            except struct.error:  # a null
                self._fill(self._buffer, 0, *[_NAN if one is None else one for one in numbers])
        except OverflowError:
            return None
        if GREATEST in self._buffer:
            return None
        words = self._words
        for place, text in enumerate(cells[count:]):
            words[place] = text or ""
        try:
            score = self._run(self._outputs, self._feed, None)[0].item()
        except Exception as error:  # ONNX Runtime raises its own classes
            raise ModelError(f"the model failed on this row: {type(error).__name__}") from error
        if not math.isfinite(score):
            raise ModelError("the model gave a score that is not a finite number")
        if self._is_bounded and not 0.0 <= score <= 1.0:
            score = 1.0 if score > 1.0 else 0.0  # float32 sums of votes end at 1.0000001
        return score, self._decide(score)
