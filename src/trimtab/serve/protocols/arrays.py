"""NumPy's `.npy` as a body and a reply; object arrays, which are pickles, are never read.

Source: numpy.lib.format.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError
from trimtab.model.signature import Column, Signature
from trimtab.serve.protocols import cells, parse
from trimtab.serve.protocols.cells import Columns
from trimtab.serve.reply import Refusal


def read(body: bytes, signature: Signature) -> Columns:
    """An array [N, columns], or a structured one [N] with named fields; never an object array."""
    try:
        array = _array(body)
    except Exception:  # numpy reads the header with ast and tokenize, which raise their own
        raise Refusal(
            400, "bad_body", "the body is not a NumPy array: its header or size is wrong"
        ) from None
    if array.dtype.names is not None and array.ndim == 1:
        parse.check_count(array.shape[0])
        kinds = {c.name: c for c in (*signature.inputs, *signature.context)}
        named = {str(name): _items(array[name]) for name in array.dtype.names}
        return {
            name: _from_array(kinds[name], values) if name in kinds else values
            for name, values in named.items()
        }
    if array.dtype.names is not None or array.ndim not in (1, 2):
        raise InputError("the array is not of shape [N, columns]")
    if array.ndim == 1:
        array = array.reshape((-1, 1) if len(signature.inputs) == 1 else (1, -1))
    parse.check_count(array.shape[0])
    columns = cells.positional(signature, array.shape[1])
    return {
        column.name: _from_array(column, _items(array[:, place]))
        for place, column in enumerate(columns)
    }


def _array(body: bytes) -> NDArray[Any]:
    """The array of an .npy file; its claimed size is compared with the body before memory is taken."""
    file = io.BytesIO(body)
    version = np.lib.format.read_magic(file)
    newer = version >= (2, 0)
    read_header = (
        np.lib.format.read_array_header_2_0 if newer else np.lib.format.read_array_header_1_0
    )
    shape, fortran, dtype = read_header(file)
    data = memoryview(body)[file.tell() :]
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != len(data) or not dtype.itemsize:
        raise ValueError("the size is not the shape's")
    array: NDArray[Any] = np.frombuffer(data, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _items(array: NDArray[Any]) -> list[Any]:
    """A column of an array as cells; raises InputError for types that no column takes."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if array.ndim != 1 or kind not in "biufUS" or (kind == "f" and size > 8):
        raise InputError(f"the array holds {str(array.dtype)[:40]}, which no column takes")
    if kind == "S":
        try:
            return [x.decode() for x in array.tolist()]
        except UnicodeDecodeError:
            raise InputError("the array holds a text that is not UTF-8") from None
    if kind == "U":
        try:
            return list(array.tolist())
        except (ValueError, UnicodeError):
            raise InputError("the array holds a text that is not Unicode") from None
    return cells.without_nan(array)


def _from_array(column: Column, values: list[Any]) -> list[Any]:
    return cells.missing(column, cells.booleans(column, values))


def write(values: Any) -> bytes:
    """A list or an array of numbers, booleans or texts [N] as `.npy`."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()
