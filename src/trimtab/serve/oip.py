"""Open Inference Protocol v2 over JSON: metadata, health and `infer`.

One tensor per column, or the two packed tensors `numbers` and `words`. Errors are
`{"error": "text"}` as the protocol and its clients want. Source: kserve/open-inference-protocol,
specification/protocol/inference_rest.md. Binary tensors are not spoken here.
"""

from __future__ import annotations

import math
from typing import Any, Final

import trimtab
from trimtab.errors import InputError, TrimtabError
from trimtab.model.signature import Column, Signature
from trimtab.serve import parse
from trimtab.serve.answer import Answer, Call
from trimtab.serve.parse import Rows
from trimtab.serve.reply import Refusal, Response, encode, headers_of, status_of

PREFIX: Final = "/v2"
_INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_FITS: Final = {
    "number": _INTEGERS | {"FP32", "FP64"},
    "boolean": frozenset({"BOOL"}),
    "text": frozenset({"BYTES"}),
}
_DATATYPE: Final = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}
_PACKED: Final = {"numbers": "FP32", "words": "BYTES"}


class Oip:
    """`POST /v2/models/NAME/infer`."""

    name = "oip"

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of an infer request; raises Refusal or InputError."""
        request = parse.decode_json(call.body)
        tensors = request.get("inputs") if isinstance(request, dict) else None
        if not isinstance(tensors, list) or not all(isinstance(x, dict) for x in tensors):
            raise Refusal(400, "bad_request", "inputs is not a list of tensors")
        names = {tensor.get("name") for tensor in tensors}
        columns: dict[str, list[Any]] = {}
        packed = bool(names) and names <= _PACKED.keys() - {c.name for c in signature.inputs}
        for tensor in tensors:
            values, shape = _data(tensor)
            if packed:
                columns |= _unpack(tensor, values, shape, signature)
            elif len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
                raise InputError(f"input {tensor['name']!r} is not of shape [N] or [N, 1]")
            else:
                columns[tensor["name"]] = values
                _check_type(tensor, signature)
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise InputError(f"the inputs have {min(lengths)} to {max(lengths)} rows")
        count = next(iter(lengths), 0)
        parse.check_count(count)
        return Rows(columns=columns, count=count)

    def write(self, answer: Answer) -> Response:
        """Score, decision and prediction id as tensors."""
        signature, outputs = answer.signature, answer.outputs
        rows = len(answer.ids)
        shape = [rows, *outputs.score.shape[1:]]
        tensors = [_tensor(signature.output, "FP32", shape, outputs.score.ravel().tolist())]
        if signature.task != "regression":
            kind = _class_type(signature)
            data = [str(x) for x in outputs.decision] if kind == "BYTES" else outputs.decision
            tensors.append(_tensor("decision", kind, [rows], data))
        tensors.append(_tensor("prediction_id", "BYTES", [rows], list(answer.ids)))
        body = encode(
            {
                "model_name": answer.name,
                "model_version": answer.label,
                "id": answer.request,
                "outputs": tensors,
            }
        )
        return Response(status=200, body=body)

    def fail(self, error: TrimtabError) -> Response:
        """`{"error": "text"}` with the place and the hint in the text."""
        text = error.message
        if isinstance(error, InputError) and error.row is not None:
            text += f" (row {error.row})"
        body = encode({"error": f"{text}; {error.hint}" if error.hint else text})
        return Response(status=status_of(error), body=body, headers=headers_of(error))


def server() -> bytes:
    """`GET /v2`."""
    return encode({"name": "trimtab", "version": trimtab.__version__, "extensions": []})


def metadata(name: str, labels: list[str], signature: Signature) -> bytes:
    """`GET /v2/models/NAME`."""
    width = [-1, len(signature.classes)] if signature.task == "multiclass" else [-1]
    outputs = [{"name": signature.output, "datatype": "FP32", "shape": width}]
    if signature.task != "regression":
        outputs.append({"name": "decision", "datatype": _class_type(signature), "shape": [-1]})
    outputs.append({"name": "prediction_id", "datatype": "BYTES", "shape": [-1]})
    inputs = [
        {"name": c.name, "datatype": _DATATYPE[c.kind], "shape": [-1]} for c in signature.inputs
    ]
    return encode(
        {
            "name": name,
            "versions": labels,
            "platform": f"trimtab_{signature.engine}",
            "inputs": inputs,
            "outputs": outputs,
        }
    )


def _data(tensor: dict[str, Any]) -> tuple[list[Any], list[int]]:
    """A tensor's values, flat, and its shape."""
    name, shape, values = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    if not isinstance(name, str):
        raise Refusal(400, "bad_request", "an input has no name")
    if not isinstance(shape, list) or not all(type(x) is int and x >= 0 for x in shape):
        raise Refusal(400, "bad_request", f"input {name[:80]!r} has no shape")
    if not isinstance(values, list):
        raise Refusal(
            400,
            "bad_request",
            f"input {name[:80]!r} has no data",
            hint="binary tensors are not spoken here: send JSON data",
        )
    flat = _flatten(values)
    if len(flat) != math.prod(shape):
        raise Refusal(
            400, "bad_request", f"input {name[:80]!r} has {len(flat)} values, its shape is {shape}"
        )
    return flat, shape


def _flatten(values: list[Any]) -> list[Any]:
    while any(isinstance(value, list) for value in values):
        values = [x for value in values for x in (value if isinstance(value, list) else [value])]
    return values


def _check_type(tensor: dict[str, Any], signature: Signature) -> None:
    column = next((c for c in signature.inputs if c.name == tensor["name"]), None)
    if column is not None and tensor.get("datatype") not in _FITS[column.kind]:
        raise InputError(
            f"input {column.name!r} has datatype {str(tensor.get('datatype'))[:20]!r}",
            hint=f"send {_DATATYPE[column.kind]}",
            column=column.name,
        )


def _unpack(
    tensor: dict[str, Any], values: list[Any], shape: list[int], signature: Signature
) -> dict[str, list[Any]]:
    """The columns of a packed tensor [N, k], in the order of the signature."""
    name = tensor["name"]
    texts = name == "words"
    columns = [c for c in signature.inputs if (c.kind == "text") == texts]
    if len(shape) != 2 or shape[1] != len(columns) or tensor.get("datatype") != _PACKED[name]:
        raise InputError(
            f"input {name!r} is not {_PACKED[name]} of shape [N, {len(columns)}]",
            hint=f"its columns are {', '.join(c.name for c in columns)}",
        )
    return {c.name: _cells(c, values[i :: len(columns)]) for i, c in enumerate(columns)}


def _cells(column: Column, values: list[Any]) -> list[Any]:
    if column.kind != "boolean":
        return values
    return [bool(x) if type(x) in (int, float) and x in (0, 1) else x for x in values]


def _class_type(signature: Signature) -> str:
    if all(type(x) is bool for x in signature.classes):
        return "BOOL"
    return "INT64" if all(type(x) is int for x in signature.classes) else "BYTES"


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
