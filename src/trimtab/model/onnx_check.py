"""Whether an ONNX graph that somebody brings can be trusted to run wherever a package does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx
from onnx import TensorProto, helper, inliner

from trimtab.errors import ModelError, RefusedError
from trimtab.model import graph

MIN_OPSET: Final = 7
_STANDARD: Final = ("", "ai.onnx.ml")
_NEWEST_TYPE: Final = TensorProto.INT4  # the last type of IR version 10


def read(data: bytes) -> onnx.ModelProto:
    """The graph in full, its local functions inlined, its values named so that none is of trimtab.

    Raises ModelError where it is no valid graph of a known operator set, RefusedError for
    operators outside of the standard and for weights in other files.
    """
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's DecodeError has no public home
        raise ModelError(f"the bytes are no ONNX model: {line(error)}") from error
    if not model.graph.output:
        raise ModelError("the bytes are no ONNX model: there is no output in them")
    for name in (x for x in model.opset_import if x.domain == "ai.onnx"):
        name.domain = ""
    _operator_set(model)
    model = inliner.inline_local_functions(model) if model.functions else model
    for body in graphs(model.graph):
        _operators(body)
        _weights(body)
    model.ir_version = min(model.ir_version, graph.IR_VERSION)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the ONNX graph is not valid: {line(error)}") from error
    given = {x.name for x in model.graph.initializer}
    graph.keep_inputs(model.graph, [x for x in model.graph.input if x.name not in given])
    return model


def _operator_set(model: onnx.ModelProto) -> None:
    versions = {x.domain: x.version for x in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if "" not in versions:
        model.opset_import.append(helper.make_opsetid("", 21))
    elif not MIN_OPSET <= versions[""] <= newest:
        raise ModelError(
            f"the graph has operator set {versions['']}; known here are {MIN_OPSET} to {newest}",
            hint="bring it to another with onnx.version_converter, or export it anew",
        )


def _operators(body: onnx.GraphProto) -> None:
    for node in body.node:
        node.domain = "" if node.domain == "ai.onnx" else node.domain
        if node.domain not in _STANDARD or not onnx.defs.has(node.op_type, node.domain):
            raise RefusedError(
                f"the graph uses {node.domain or 'ai.onnx'}:{node.op_type}, which is no operator "
                "of the ONNX standard",
                hint="export it with standard operators: a package runs wherever ONNX does",
            )


def _weights(body: onnx.GraphProto) -> None:
    for tensor in _tensors(body):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise RefusedError(
                f"the graph keeps {tensor.name!r} in another file",
                hint="save it as one file: onnx.save(model, path, save_as_external_data=False)",
            )
        if tensor.data_type > _NEWEST_TYPE:
            name = TensorProto.DataType.Name(tensor.data_type)
            raise ModelError(f"{tensor.name!r} has type {name}, newer than IR version 10")


def line(error: Exception) -> str:
    """The first line of what a foreign library says."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def graphs(body: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and those inside of its nodes."""
    yield body
    for node in body.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from graphs(inner)


def _tensors(body: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from body.initializer
    for sparse in body.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in body.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
