"""Surgery on a converted graph: two packed inputs, one wanted output, nothing unused.

One tensor per column costs ONNX Runtime about half a microsecond each; packed, a single row of
25 columns takes half the time. Knows nothing of estimators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import onnx
from onnx import TensorProto, helper

IR_VERSION: Final = 10
NUMBERS: Final = "numbers"
WORDS: Final = "words"
_RESERVED: Final = (NUMBERS, WORDS, "score", "scores", "value")


def prune(graph: onnx.GraphProto) -> None:
    """Drop nodes, initializers and inputs that no output depends on."""
    needed = {out.name for out in graph.output}
    kept = []
    for node in reversed(graph.node):  # nodes are in topological order
        if needed & set(node.output):
            kept.append(node)
            needed |= _reads(node)
    _replace(graph.node, reversed(kept))
    _replace(graph.initializer, [x for x in graph.initializer if x.name in needed])
    _replace(graph.input, [x for x in graph.input if x.name in needed])
    del graph.value_info[:]


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values wherever they are made or read, in subgraphs too."""
    sparse = (x.values for x in graph.sparse_initializer)
    for value in (*graph.initializer, *sparse, *graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(x, x) for x in node.input]
        node.output[:] = [names.get(x, x) for x in node.output]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                rename(body, names)


def names(graph: onnx.GraphProto) -> set[str]:
    """The names of all values, in subgraphs too."""
    found = {x.name for x in (*graph.initializer, *graph.input, *graph.output, *graph.value_info)}
    found |= {x.values.name for x in graph.sparse_initializer}
    for node in graph.node:
        found |= {*node.input, *node.output}
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                found |= names(body)
    return found - {""}


def take_output(graph: onnx.GraphProto, source: str, name: str, *, column: int | None) -> None:
    """Make `name` the one output: a column of the matrix `source`, or its flattened values.

    With `column` -1 the matrix itself is the output.
    """
    # A column called "score" must not collide with the output of that name.
    taken = {x for node in graph.node for x in (*node.input, *node.output)} & set(_RESERVED)
    rename(graph, {x: f"inner_{x}" for x in taken})
    source = f"inner_{source}" if source in taken else source
    if column is None:
        constant(graph, "flat_shape", [-1], [1])
        graph.node.append(helper.make_node("Reshape", [source, "flat_shape"], [name]))
    elif column < 0:
        graph.node.append(helper.make_node("Identity", [source], [name]))
    else:
        constant(graph, "wanted_class", [column], [])
        graph.node.append(helper.make_node("Gather", [source, "wanted_class"], [name], axis=1))
    shape = [None, None] if column == -1 else [None]
    _replace(graph.output, [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)])
    prune(graph)


def pack(graph: onnx.GraphProto, columns: Sequence[str], name: str, kind: int) -> None:
    """Replace the inputs `columns`, each [N, 1], by one input `name` of shape [N, len(columns)].

    `columns` are the graph's own input names. A Concat of whole columns becomes one Gather.
    """
    if not columns:
        return
    place = {column: index for index, column in enumerate(columns)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Concat" and all(x in place for x in node.input):
            indices = [place[x] for x in node.input]
            node = _gather(graph, name, indices, node.output[0])
        nodes.append(node)
    read = set().union(*(_reads(node) for node in nodes))
    gathers = [_gather(graph, name, [place[x]], x) for x in columns if x in read]
    _replace(graph.node, [*gathers, *nodes])
    rest = [x for x in graph.input if x.name not in place]
    packed = helper.make_tensor_value_info(name, kind, [None, len(columns)])
    _replace(graph.input, [*rest, packed])


def prepend(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Add nodes before all others, which may read what they make."""
    _replace(graph.node, [*nodes, *graph.node])


def keep_inputs(graph: onnx.GraphProto, inputs: Iterable[onnx.ValueInfoProto]) -> None:
    """Make these the inputs of the graph."""
    _replace(graph.input, inputs)


def finish(model: onnx.ModelProto) -> bytes:
    """Check the model and serialise it, with nothing in it that differs from run to run."""
    model.ir_version = IR_VERSION
    model.graph.name = "model"
    model.producer_name, model.producer_version = "trimtab", ""
    model.domain = model.doc_string = model.graph.doc_string = ""
    used = {node.domain for node in model.graph.node} | {""}
    _replace(model.opset_import, [x for x in model.opset_import if x.domain in used])
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _gather(graph: onnx.GraphProto, source: str, indices: list[int], out: str) -> onnx.NodeProto:
    where = f"places_{len(graph.initializer)}"
    constant(graph, where, indices, [len(indices)])
    return helper.make_node("Gather", [source, where], [out], axis=1)


def constant(graph: onnx.GraphProto, name: str, values: list[int], shape: list[int]) -> None:
    """Add a constant tensor of integers."""
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, shape, values))


def _reads(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            names |= set().union(*(_reads(inner) for inner in body.node))
            names |= {out.name for out in body.output}
    return names


def _replace(field: object, values: Iterable[object]) -> None:
    """Assign a repeated protobuf field, which has no slice assignment for messages."""
    kept = list(values)
    del field[:]  # type: ignore[attr-defined]
    field.extend(kept)  # type: ignore[attr-defined]
