"""What a run of a model costs by its rows: how many are scored together, and whether in a thread.

Measured where the model is packaged, on its golden rows, and linked to it as an attachment. Reading
it needs neither the model nor a store.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import hashing
from trimtab.errors import IntegrityError, ModelError
from trimtab.model.golden import Golden
from trimtab.model.signature import Signature

FILE: Final = "calibration.json"
FORMAT: Final = 1
SIZES: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 256)
SLOW_SECONDS: Final = 0.001
"""A model that needs this long for one row would hold up every other request of its process."""
_SAME: Final = 1.05
_SECONDS: Final = 0.9
_LEAST, _MOST = 3, 25


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Median seconds of CPU time of a run of `sizes` rows; sizes that take too long are left out.

    `most` is the size with the least seconds per row, the smaller of nearly equal ones; a `slow`
    model is run in a thread of its own. `model` is the digest of what was measured.
    """

    model: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    most: int
    slow: bool
    format: int = FORMAT


class Asked(Protocol):
    """A loaded model."""

    @property
    def signature(self) -> Signature:
        """What it takes."""
        ...

    def predict_packed(self, numbers: NDArray[np.float64], words: list[list[str | None]]) -> Any:
        """Score numbers [columns, rows] and one list of texts a column."""
        ...


def beside(folder: Path) -> Path:
    """The folder that holds the attachments of the package in `folder`."""
    return folder.with_name(f"{folder.name}.attachments")


def measure(model: Asked, rows: Golden, digest: str) -> Calibration:
    """The calibration of a loaded model, on its golden rows repeated; takes about a second.

    Raises ModelError where there are no golden rows, or where the model fails on them.
    """
    numbers, words = _packed(model.signature, rows)
    sizes: list[int] = []
    seconds: list[float] = []
    left = _SECONDS
    for size in SIZES:
        if sizes and seconds[-1] * size / sizes[-1] * (_LEAST + 1) > left:
            break
        found, spent = _time(model, numbers, words, size)
        left -= spent
        sizes.append(size)
        seconds.append(found)
    each = [cost / size for cost, size in zip(seconds, sizes, strict=True)]
    most = next(size for size, cost in zip(sizes, each, strict=True) if cost <= min(each) * _SAME)
    return Calibration(
        model=digest,
        sizes=tuple(sizes),
        seconds=tuple(seconds),
        most=most,
        slow=seconds[0] >= SLOW_SECONDS,
    )


def encode(found: Calibration) -> bytes:
    """A calibration as JSON, with the digest of its other keys as `checksum`."""
    body = msgspec.to_builtins(found)
    data = msgspec.json.encode({**body, "checksum": _checksum(body)}, order="sorted")
    return msgspec.json.format(data, indent=1) + b"\n"


def decode(data: bytes) -> Calibration:
    """JSON to a calibration; raises IntegrityError, or ModelError where it is of a newer format."""
    try:
        body = msgspec.json.decode(data, type=dict[str, Any])
        checksum = body.pop("checksum", None)
        if isinstance(body.get("format"), int) and body["format"] > FORMAT:
            raise ModelError(
                f"{FILE} has format {body['format']}; this version of trimtab reads {FORMAT}"
            )
        if checksum != _checksum(body):
            raise IntegrityError(f"{FILE} was changed: its checksum is another")
        found = msgspec.convert(body, Calibration)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"{FILE} cannot be read: {error}") from error
    if found.most < 1:
        raise IntegrityError(f"{FILE} cannot be read: `most` is {found.most}")
    return found


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration beside the package in `folder`, None where there is none.

    Raises IntegrityError or ModelError where there is one that cannot be read.
    """
    try:
        data = (beside(folder) / FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return decode(data)


def _time(
    model: Asked, numbers: NDArray[np.float64], words: list[list[str | None]], size: int
) -> tuple[float, float]:
    """Median seconds of a run of `size` rows, and the seconds that finding it took."""
    count = numbers.shape[1]
    begun, times = time.process_time(), list[float]()
    share = _SECONDS / len(SIZES)
    while len(times) <= _MOST:
        at = (np.arange(size) + len(times) * size) % count
        part = numbers[:, at]
        texts = [[column[i] for i in at] for column in words]
        before = time.process_time()
        model.predict_packed(part, texts)
        after = time.process_time()
        times.append(after - before)
        if len(times) > _LEAST and after - begun > share:
            break
    return statistics.median(times[1:]), time.process_time() - begun  # the first run warms up


def _packed(signed: Signature, rows: Golden) -> tuple[NDArray[np.float64], list[list[str | None]]]:
    count = len(rows.decisions)
    if not count:
        raise ModelError("the package has no golden rows, so its cost cannot be measured")
    arrays = rows.arrays(signed)
    numbers = np.empty((len(signed.numbers), count), dtype=np.float64)
    for place, name in enumerate(signed.numbers):
        numbers[place] = arrays[name]
    words = [
        [None if value is None else str(value) for value in rows.columns[name]]
        for name in signed.words
    ]
    return numbers, words


def _checksum(body: dict[str, Any]) -> str:
    return hashing.object_digest("blob", body)
