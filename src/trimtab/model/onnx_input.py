"""The inputs of an ONNX graph that somebody brings: which columns each takes, and in which shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper

from trimtab.errors import ModelError
from trimtab.model import graph
from trimtab.model.signature import Signature

FLOATS: Final = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_INTEGERS: Final = (TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8)
_NUMERIC: Final = (*FLOATS, *_INTEGERS, TensorProto.BOOL)


@dataclass(frozen=True)
class Input:
    """One input of a graph: its columns, its element type and its shape after the batch."""

    name: str
    columns: tuple[str, ...]
    element: int
    shape: tuple[int, ...] | None

    @property
    def text(self) -> bool:
        """Whether it takes texts."""
        return self.element == TensorProto.STRING

    def array(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Prepared rows as this input takes them."""
        chosen = frame.select(self.columns).to_numpy()
        if self.element == TensorProto.STRING:
            chosen = chosen.astype(object)
        else:
            chosen = chosen.astype(helper.tensor_dtype_to_np_dtype(self.element))
        return chosen if self.shape is None else chosen.reshape(-1, *self.shape)


def find(body: onnx.GraphProto, signed: Signature) -> Iterator[Input]:
    """The inputs with their columns; raises ModelError.

    By name where an input is called like a column, else the one matrix of numbers or texts.
    """
    columns = {c.name: c for c in signed.inputs}
    used: set[str] = set()
    rest = []
    for value in body.input:
        if value.name in columns and _width(value) in (None, 1):
            used.add(value.name)
            yield _input(value, (value.name,), signed)
        else:
            rest.append(value)
    for value in rest:
        text = value.type.tensor_type.elem_type == TensorProto.STRING
        names = tuple(c.name for c in signed.inputs if (c.kind == "text") == text)
        left = tuple(name for name in names if name not in used)
        if not left:
            raise ModelError(
                f"the graph's input {value.name!r} is called like no column of the signature",
                hint=f"its columns are {', '.join(columns)}",
            )
        used.update(left)
        yield _input(value, left, signed)
    if missing := [name for name in columns if name not in used]:
        raise ModelError(
            f"no input of the graph takes column {missing[0]!r}",
            hint=f"the graph's inputs: {', '.join(x.name for x in body.input)}",
        )


def _input(value: onnx.ValueInfoProto, columns: tuple[str, ...], signed: Signature) -> Input:
    tensor = value.type.tensor_type
    text = any(c.kind == "text" for c in signed.inputs if c.name in columns)
    if tensor.elem_type not in ((TensorProto.STRING,) if text else _NUMERIC):
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ModelError(
            f"the graph's input {value.name!r} is of type {kind}, its columns are "
            f"{'texts' if text else 'numbers'}"
        )
    if tensor.elem_type not in (TensorProto.STRING, *FLOATS):
        for c in signed.inputs:
            if c.name in columns and c.nullable:
                raise ModelError(
                    f"column {c.name!r} may be null, and the graph's input {value.name!r} takes "
                    "integers, which have no null",
                    hint="declare the column as not nullable",
                )
    if not tensor.HasField("shape"):
        return Input(value.name, columns, tensor.elem_type, (len(columns),))
    sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    if not sizes or sizes[0] is not None:
        raise ModelError(
            f"the graph's input {value.name!r} has a fixed batch of {sizes[0] if sizes else 'none'}",
            hint="export it with a dynamic first axis",
        )
    shape = [len(columns) if size is None and len(sizes) == 2 else size for size in sizes[1:]]
    if None in shape or int(np.prod([size or 0 for size in shape])) != len(columns):
        raise ModelError(
            f"the graph's input {value.name!r} has shape {['N', *sizes[1:]]} and gets "
            f"{len(columns)} columns",
            hint="name in the signature every column it takes, in its order",
        )
    return Input(value.name, columns, tensor.elem_type, tuple(size or 0 for size in shape))


def _width(value: onnx.ValueInfoProto) -> int | None:
    """The number of values per row; None where the shape leaves it open."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]
    return None if 0 in sizes else int(np.prod(sizes))


def pack(
    body: onnx.GraphProto,
    name: str,
    columns: tuple[str, ...],
    taken: Sequence[tuple[str, Input]],
) -> None:
    """Replace inputs by one packed input: gathered, cast and shaped as each of them was.

    `taken` are their names in the graph by now, with what they were.
    """
    kind = TensorProto.STRING if taken[0][1].text else TensorProto.FLOAT
    place = {column: index for index, column in enumerate(columns)}
    nodes: list[onnx.NodeProto] = []
    for given, one in taken:
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        where = [place[column] for column in one.columns]
        if where != list(range(len(columns))):
            graph.constant(body, f"{given}_places", where, [len(where)])
            steps.append(("Gather", [f"{given}_places"], {"axis": 1}))
        if one.element != kind:
            steps.append(("Cast", [], {"to": one.element}))
        if one.shape != (len(one.columns),):
            graph.constant(
                body, f"{given}_shape", [-1, *(one.shape or ())], [1 + len(one.shape or ())]
            )
            steps.append(("Reshape", [f"{given}_shape"], {}))
        steps = steps or [("Identity", [], {})]
        outs = [*(f"{given}_{index}" for index in range(len(steps) - 1)), given]
        for (operator, more, attributes), read, made in zip(
            steps, [name, *outs], outs, strict=False
        ):
            nodes.append(helper.make_node(operator, [read, *more], [made], **attributes))
    graph.prepend(body, nodes)
    gone = {given for given, _ in taken}
    packed = helper.make_tensor_value_info(name, kind, [None, len(columns)])
    graph.keep_inputs(body, [*(x for x in body.input if x.name not in gone), packed])
