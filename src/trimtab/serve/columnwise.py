"""The short way for tensors: a request in plain JSON with one tensor per input column.

Its shape is decoded in one go. What it does not take, for whatever reason, goes the ordinary way
(`oip.rows`, `parse.Checker`), which answers the same or says exactly what is wrong.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.serve import parse, tensors
from trimtab.serve.fast import Fast, Taken

_FITS: Final = {kind: types - tensors.NO_JSON for kind, types in tensors.FITS.items()}
_IDLE: Final = frozenset({"content_type"})
"""Parameters that other servers' clients add and that change nothing here."""


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Any] | None = None


_decode: Final = msgspec.json.Decoder(_Request).decode


def read(body: bytes, fast: Fast) -> tuple[Taken, str] | None:
    """The rows and the request's own id, or None where the request is anything more."""
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not request.inputs or not _is_idle(request.parameters) or len(request.id) > parse.MAX_ID:
        return None
    columns: dict[str, list[Any]] = {}
    rows = len(request.inputs[0].data)
    for tensor in request.inputs:
        if (
            len(tensor.data) != rows
            or tensor.shape not in ([rows], [rows, 1])
            or tensor.datatype not in _FITS.get(fast.kinds.get(tensor.name, ""), ())
            or not _is_idle(tensor.parameters)
        ):
            return None
        columns[tensor.name] = tensor.data
    taken = fast.lines(columns) if len(columns) == len(request.inputs) else None
    return None if taken is None else (taken, request.id)


def _is_idle(parameters: dict[str, Any] | None) -> bool:
    return parameters is None or parameters.keys() <= _IDLE
