"""Tensors of the Open Inference Protocol: their datatypes, as JSON values and as raw bytes.

Bytes are little-endian without padding, BOOL is one byte, BYTES is a 32-bit length before each
element. Source: the binary tensor data extension of triton-inference-server/server.
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.serve.protocols import cells
from trimtab.serve.reply import Refusal

INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
RANGES: Final = {
    name: (0, 2 ** int(name[4:]) - 1) if name[0] == "U" else (-half, half - 1)
    for name in INTEGERS
    for half in (2 ** (int(name.lstrip("UINT")) - 1),)
}
"""The least and the greatest number of an integer datatype."""
FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
FITS: Final = {
    "number": INTEGERS | FLOATS,
    "boolean": frozenset({"BOOL"}),
    "text": frozenset({"BYTES"}),
}
"""Which datatypes a column of a kind may come in."""
_RAW: Final = {
    "BOOL": "u1",
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{name: f"<{'u' if name[0] == 'U' else 'i'}{int(name.lstrip('UINT')) // 8}" for name in INTEGERS},
}  # fmt: skip
NO_JSON: Final = frozenset({"FP16", "BF16"})
_LENGTH: Final = struct.Struct("<I")
DATATYPES: Final = tuple(sorted({*_RAW, "BYTES"}))


def flat(name: str, datatype: str, shape: list[int], data: list[Any]) -> list[Any]:
    """The values of a tensor in JSON, row by row; raises Refusal where they are not of its shape."""
    if datatype in NO_JSON:
        raise _wrong(name, f"of datatype {datatype} can only be sent as binary data")
    values = data
    for _ in shape[1:]:
        if not any(isinstance(value, list) for value in values):
            break
        parts = (value if isinstance(value, list) else [value] for value in values)
        values = list(itertools.chain.from_iterable(parts))
    if any(isinstance(value, list | dict) for value in values):
        raise _wrong(name, f"is nested deeper than its shape {shape}")
    if len(values) != math.prod(shape):
        raise _wrong(name, f"has {len(values)} values, its shape is {shape}")
    if datatype in RANGES:
        _check_whole(name, datatype, values)
    return values


def whole(datatype: str, values: list[Any]) -> bool:
    """Whether JSON values, at least one, are all whole numbers that an integer datatype holds."""
    least, most = RANGES[datatype]
    return {int}.issuperset(map(type, values)) and least <= min(values) and max(values) <= most


def decode(name: str, datatype: str, shape: list[int], data: memoryview) -> list[Any]:
    """The values of a binary tensor, None for NaN; raises Refusal where the bytes do not fit."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return _texts(name, count, data)
    raw = _RAW.get(datatype)
    if raw is None:
        raise _wrong(name, f"has an unknown datatype, send one of {', '.join(DATATYPES)}")
    dtype = np.dtype(raw)
    size = count * dtype.itemsize
    if size != len(data):
        said = f"has {len(data)} bytes, {datatype} of shape {shape} takes {size}"
        raise _wrong(name, said)
    array: NDArray[Any] = np.frombuffer(data, dtype=dtype)
    if datatype == "BOOL":
        if count and array.max() > 1:
            raise _wrong(name, "has a byte that is neither 0 nor 1 in a BOOL")
        return list(array.astype(bool).tolist())
    if datatype == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return cells.without_nan(array)


def encode(datatype: str, values: list[Any]) -> bytes:
    """Values as bytes; BYTES takes texts."""
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])
    if datatype == "BF16":
        return (np.array(values, dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.array(values, dtype=_RAW[datatype]).tobytes()


def _texts(name: str, count: int, data: memoryview) -> list[Any]:
    if count * _LENGTH.size > len(data):
        raise _wrong(name, f"has {len(data)} bytes, too few for {count} elements")
    raw = bytes(data)
    texts: list[Any] = []
    place = 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, place)
            place += _LENGTH.size + length
            texts.append(raw[place - length : place].decode())
    except struct.error:
        raise _wrong(name, "ends within an element") from None
    except UnicodeDecodeError:
        raise _wrong(name, "holds an element that is not UTF-8") from None
    if place != len(raw):
        raise _wrong(name, "has another number of bytes than its elements")
    return texts


def _check_whole(name: str, datatype: str, values: list[Any]) -> None:
    """Refuse a number that is none of an integer datatype; what is no number, its column refuses."""
    if not values or whole(datatype, values):
        return
    least, most = RANGES[datatype]
    for place, value in enumerate(values):
        if type(value) in (int, float) and not (least <= value <= most and value == value // 1):
            said = f"{value:g}" if type(value) is float else _short(value)
            raise _wrong(
                name,
                f"holds {said} at place {place}, {datatype} holds whole numbers from {least} to {most}",
            )


def _short(value: int) -> str:
    return str(value) if value.bit_length() <= 128 else "a number of more than 128 bits"


def _wrong(name: str, said: str) -> Refusal:
    return Refusal(400, "bad_request", f"input {name[:80]!r} {said}")
