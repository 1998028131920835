"""The short way for tensors: a request in plain JSON with one tensor per input column.

Its shape is decoded in one go. What it does not take, for whatever reason, goes the ordinary way
(`oip.rows`, `parse.Checker`), which answers the same or says exactly what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final

import msgspec

from trimtab.serve.protocols import parse, tensors
from trimtab.serve.shell.fast import NOT_TAKEN, Fast, Row, Taken

_FITS: Final = {kind: types - tensors.NO_JSON for kind, types in tensors.FITS.items()}
_MAX_ORDERS: Final = 64

Order = Callable[[list[Any]], Sequence[Any]]
"""Cells in the order of a request's tensors to that of the signature."""


class _Idle(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Parameters that other servers' clients add and that change nothing here."""

    content_type: Any = None


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: _Idle | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: list[_Tensor]
    id: str = ""
    parameters: _Idle | None = None


_decode: Final = msgspec.json.Decoder(_Request).decode


def read(body: bytes, fast: Fast) -> tuple[Taken, str] | None:
    """The rows and the request's own id, or None where the request is anything more."""
    try:
        request = _decode(body)
    except NOT_TAKEN:
        return None
    if not request.inputs or len(request.id) > parse.MAX_ID:
        return None
    columns: dict[str, list[Any]] = {}
    rows = len(request.inputs[0].data)
    for tensor in request.inputs:
        if (
            len(tensor.data) != rows
            or tensor.shape not in ([rows], [rows, 1])
            or tensor.datatype not in _FITS.get(fast.kinds.get(tensor.name, ""), ())
        ):
            return None
        if tensor.datatype in tensors.RANGES and not tensors.whole(tensor.datatype, tensor.data):
            return None
        columns[tensor.name] = tensor.data
    taken = fast.lines(columns) if len(columns) == len(request.inputs) else None
    return None if taken is None else (taken, request.id)


def alone(fast: Fast, bodies: Sequence[bytes]) -> tuple[list[Row], Sequence[str]]:
    """The row of each body that holds one, and the requests' own ids; raises one of `NOT_TAKEN`."""
    rows, names = [], []
    for body in bodies:
        row, name = one(fast, body)
        rows.append(row)
        names.append(name)
    return rows, names


def one(fast: Fast, body: bytes) -> tuple[Row, str]:
    """The same of one body."""
    request = _decode(body)
    row = _row(request.inputs, fast) if len(request.id) <= parse.MAX_ID else None
    if row is None:
        raise msgspec.ValidationError("not one row of plain tensors")
    return row, request.id


def _row(inputs: list[_Tensor], fast: Fast) -> Row | None:
    """The one row of tensors, None where they are anything else."""
    if not inputs:
        return None
    names, shapes, datatypes, data, _ = zip(*map(msgspec.structs.astuple, inputs), strict=True)
    if not all(shape in ([1], [1, 1]) for shape in shapes) or {1} != set(map(len, data)):
        return None
    key = (names, datatypes)
    order = fast.orders.get(key)
    if order is None:
        order = _order(names, datatypes, fast)
        if order is None:
            return None
        if len(fast.orders) >= _MAX_ORDERS:
            fast.orders.clear()
        fast.orders[key] = order
    return fast.line(order([cell for (cell,) in data]))


def _order(names: tuple[str, ...], datatypes: tuple[str, ...], fast: Fast) -> Order | None:
    """Where each column of the signature stands; None where the tensors are not its columns."""
    if len(names) != len(fast.columns) or set(names) != set(fast.columns):
        return None
    for name, datatype in zip(names, datatypes, strict=True):
        if datatype not in _FITS[fast.kinds[name]]:
            return None
    order: Order = list if names == fast.columns else itemgetter(*map(names.index, fast.columns))
    whole = [(i, one) for i, one in enumerate(datatypes) if one in tensors.RANGES]
    return partial(_whole, order, whole) if whole else order


def _whole(order: Order, whole: list[tuple[int, str]], cells: list[Any]) -> Sequence[Any]:
    """An order where some of the datatypes hold whole numbers only; raises one of `NOT_TAKEN`."""
    for place, datatype in whole:
        if not tensors.whole(datatype, cells[place : place + 1]):
            raise msgspec.ValidationError(f"not of {datatype}")
    return order(cells)
