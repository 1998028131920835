"""Golden rows: inputs with the estimator's own answers, carried by every package.

Whoever loads a package asks it these rows first; a model that no longer gives these answers (other
runtime, other processor, damaged file) is refused before it serves.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model.signature import Class, Signature

FILE: Final = "golden.json"
FORMAT: Final = 1


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of inputs (null where missing) with expected scores and decisions.

    `scores` holds N numbers, or N lists of one number per class; differences are judged in units
    of `scale`.
    """

    columns: dict[str, list[float | str | None]]
    scores: list[Any]
    decisions: list[Class]
    scale: float = 1.0
    format: int = FORMAT

    def arrays(self, signature: Signature) -> dict[str, NDArray[Any]]:
        """The inputs as `LoadedModel.predict` takes them; raises ModelError on a missing column."""
        missing = [c.name for c in signature.inputs if c.name not in self.columns]
        if missing:
            raise ModelError(f"the golden rows lack column {missing[0]!r} of the signature")
        return {
            c.name: _words(self.columns[c.name])
            if c.kind == "text"
            else np.array(self.columns[c.name], dtype=np.float64)
            for c in signature.inputs
        }

    def expected(self) -> NDArray[np.float64]:
        """The expected scores, [N] or [N, classes]."""
        return np.array(self.scores, dtype=np.float64)


def encode(golden: Golden) -> bytes:
    """Golden rows as JSON; NaN becomes null."""
    return msgspec.json.encode(golden) + b"\n"


def decode(data: bytes) -> Golden:
    """JSON to golden rows; raises ModelError."""
    try:
        return msgspec.json.decode(data, type=Golden)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{FILE} of the model package cannot be read: {error}") from error


def _words(values: list[float | str | None]) -> NDArray[Any]:
    words = np.empty(len(values), dtype=object)
    words[:] = ["" if value is None else value for value in values]
    return words
