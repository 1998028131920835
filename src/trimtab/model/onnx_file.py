"""An ONNX graph that somebody brings, made into the graph of a package.

Its inputs may be one tensor per column or matrices of all numbers and all texts; its scores may come
as a matrix, a column, or labels with a list of dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper

from trimtab.errors import ModelError
from trimtab.model import graph, onnx_check, onnx_input
from trimtab.model.onnx_check import line
from trimtab.model.onnx_input import Input
from trimtab.model.shaping import shaped
from trimtab.model.signature import Signature

_PREFERRED: Final = ("score", "scores", "value", "probabilities", "output_probability")
_OWN: Final = "given:"


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A graph as it was given, and the signature it is to have.

    `output` names the output that holds the scores; "" takes the only one that can.
    """

    data: bytes
    signature: Signature
    output: str = ""

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The checked graph; raises ModelError or RefusedError."""
        return onnx_check.read(self.data)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Which columns go into which input; raises ModelError."""
        return tuple(onnx_input.find(self.model.graph, self.signature))

    @cached_property
    def source(self) -> str:
        """The name of the tensor that holds the scores; raises ModelError."""
        return _source(self.model.graph, self.output)

    def packed(self, shape: tuple[int, ...]) -> bytes:
        """The graph with the inputs and the output of a package.

        `shape` is that of the original's scores for some rows, as `raw` gives them. Raises
        ModelError.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        body, signed = model.graph, self.signature
        # No name of the graph is to be one that is added here.
        graph.rename(body, {name: _OWN + name for name in graph.names(body)})
        cast = helper.make_node("Cast", [_OWN + self.source], ["as_float"], to=TensorProto.FLOAT)
        body.node.append(cast)
        column = -1 if signed.task == "multiclass" else None
        if signed.task == "binary" and len(shape) == 2 and shape[1] == 2:
            column = signed.positive_index
        graph.take_output(body, "as_float", signed.output, column=column)
        left = {value.name for value in body.input}
        if unread := [one.name for one in self.inputs if _OWN + one.name not in left]:
            raise ModelError(
                f"the scores do not depend on the graph's input {unread[0]!r}",
                hint="leave its columns out of the signature, or name another output",
            )
        for name, columns, text in (
            (graph.NUMBERS, signed.numbers, False),
            (graph.WORDS, signed.words, True),
        ):
            taken = [(_OWN + x.name, x) for x in self.inputs if x.text == text]
            if taken:
                onnx_input.pack(body, name, columns, taken)
        return graph.finish(model)

    def raw(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """What the graph as given answers to prepared rows; raises ModelError."""
        feed = {one.name: one.array(frame) for one in self.inputs}
        try:
            found = np.asarray(self._session.run([self.source], feed)[0])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"the ONNX graph fails on the given rows: {line(error)}") from error
        return found.astype(np.float64)

    def scores(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The same as [N] of the positive class, [N, classes] or [N] values; raises ModelError."""
        return shaped(self.raw(frame), self.signature, frame.height)

    @cached_property
    def _session(self) -> Any:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=self.source))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot load the graph: {line(error)}",
                hint="export it for an operator set that this onnxruntime knows",
            ) from error


def _source(body: onnx.GraphProto, wanted: str) -> str:
    names = [value.name for value in body.output]
    if wanted and wanted not in names:
        raise ModelError(
            f"the graph has no output {wanted!r}", hint=f"its outputs: {', '.join(names)}"
        )
    maps = {node.output[0]: node.input[0] for node in body.node if node.op_type == "ZipMap"}
    able = {
        value.name: maps.get(value.name, value.name)
        for value in body.output
        if value.name in maps or value.type.tensor_type.elem_type in onnx_input.FLOATS
    }
    if wanted:
        if wanted not in able:
            raise ModelError(f"the graph's output {wanted!r} holds no scores of type float")
        return able[wanted]
    chosen = [name for name in able if name in _PREFERRED] or list(able)
    if len(chosen) != 1:
        raise ModelError(
            f"{len(chosen)} outputs of the graph could be the scores",
            hint=f'name one: output="..." of {", ".join(names)}',
        )
    return able[chosen[0]]
