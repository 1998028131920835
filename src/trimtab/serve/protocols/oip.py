"""Open Inference Protocol v2 `infer`: tensors in JSON or binary to rows, and answers to tensors.

One tensor per column, or the two packed tensors `numbers` and `words`. Errors are
`{"error": "text"}` as the protocol and its clients want. Sources: kserve/open-inference-protocol,
specification/protocol/inference_rest.md; triton-inference-server/server, docs/protocol
(binary data, classification).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trimtab.errors import InputError, TrimtabError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import cells, columnwise, formats, parse, tensors
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Refusal, Response, encode, headers_of, status_of
from trimtab.serve.shell.fast import Fast, Taken

PREFIX: Final = "/v2"
LENGTH_HEADER: Final = "inference-header-content-length"
BINARY: Final = "application/octet-stream"
DATATYPE: Final = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}
_PACKED: Final = {"numbers": "FP32", "words": "BYTES"}
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Output:
    """An output that was asked for; `top` classes instead of its values where that is positive."""

    name: str
    binary: bool
    top: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What an infer request wants back: its own id, and some outputs or all of them."""

    id: str = ""
    outputs: tuple[Output, ...] = ()
    binary: bool = False


_ALL: Final = Asked()


class Oip:
    """`POST /v2/models/NAME[/versions/VERSION]/infer`."""

    name = "oip"

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of an infer request; raises Refusal or InputError."""
        given = call.headers.get(LENGTH_HEADER)
        if given is None:
            form = formats.sent(_as_json(call.headers.get("content-type", "")))
            if form.kind != "json":
                raise Refusal(415, "content_type", "infer takes JSON or binary tensors")
            return rows(parse.decode_json(call.body), memoryview(b""), signature)
        if not (given.isascii() and given.isdecimal()) or len(given) > 12:
            raise Refusal(400, "bad_request", f"{LENGTH_HEADER} is not a number of bytes")
        length = int(given)
        if length > len(call.body):
            raise Refusal(400, "bad_request", f"{LENGTH_HEADER} is more than the body has")
        if length == 0:
            return _raw(memoryview(call.body), signature)
        request = parse.decode_json(call.body[:length])
        return rows(request, memoryview(call.body)[length:], signature)

    def short(self, call: Call, fast: Fast) -> tuple[Taken | None, Asked]:
        """The rows of a request in plain JSON, a tensor per column; None where it is anything more."""
        plain = None if LENGTH_HEADER in call.headers else columnwise.read(call.body, fast)
        return (plain[0], Asked(id=plain[1])) if plain is not None else (None, _ALL)

    def write(self, answer: Answer) -> Response:
        """Score, decision and prediction id as tensors, or those that were asked for."""
        return write(answer, answer.options if isinstance(answer.options, Asked) else Asked())

    def fail(self, error: TrimtabError) -> Response:
        """`{"error": "text"}` with the place and the hint in the text."""
        return failed(error)


def failed(error: TrimtabError) -> Response:
    """`{"error": "text"}`, which the clients of this protocol and of KServe v1 read."""
    text = error.message
    if isinstance(error, InputError) and error.row is not None:
        text += f" (row {error.row})"
    body = encode({"error": f"{text}; {error.hint}" if error.hint else text})
    return Response(status=status_of(error), body=body, headers=headers_of(error))


def outputs_of(signature: Signature) -> list[dict[str, Any]]:
    """Name, datatype and shape of every output."""
    width = [-1, len(signature.classes)] if signature.task == "multiclass" else [-1]
    listed = [{"name": signature.output, "datatype": "FP32", "shape": width}]
    if signature.task != "regression":
        listed.append({"name": "decision", "datatype": _class_type(signature), "shape": [-1]})
    listed.append({"name": "prediction_id", "datatype": "BYTES", "shape": [-1]})
    return listed


def rows(request: Any, tail: memoryview, signature: Signature) -> Rows:
    """The rows of a decoded request; `tail` are the bytes of its binary tensors, in order."""
    given = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(given, list) or not all(isinstance(x, dict) for x in given):
        raise Refusal(400, "bad_request", "inputs is not a list of tensors")
    asked = _asked(request, signature)
    names = [tensor.get("name") for tensor in given]
    if not all(isinstance(name, str) for name in names):
        raise Refusal(400, "bad_request", "an input has no name")
    if len(set(names)) != len(names):
        raise Refusal(400, "bad_request", "an input is given twice")
    packed = bool(names) and set(names) <= _PACKED.keys() - {c.name for c in signature.inputs}
    columns: dict[str, list[Any]] = {}
    for tensor, shape, values, binary in _tensors(given, tail):
        if packed:
            columns |= _unpack(tensor, values, shape, signature, binary=binary)
        else:
            columns[tensor["name"]] = _column(tensor, values, shape, signature, binary=binary)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"the inputs have {min(lengths)} to {max(lengths)} rows")
    count = next(iter(lengths), 0)
    parse.check_count(count)
    return Rows(columns=columns, count=count, options=asked)


def write(answer: Answer, asked: Asked) -> Response:
    """The reply: JSON, and the bytes of those outputs that were asked for in binary after it."""
    wanted = asked.outputs or tuple(
        Output(one["name"], asked.binary) for one in outputs_of(answer.signature)
    )
    listed, tail = [], []
    for output in wanted:
        tensor, values = _tensor(output, answer)
        if output.binary:
            tail.append(tensors.encode(tensor["datatype"], values))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = values
        listed.append(tensor)
    head = encode(
        {
            "model_name": answer.name,
            "model_version": answer.label,
            "id": asked.id or answer.request,
            "outputs": listed,
        }
    )
    if not tail:
        return Response(status=200, body=head)
    return Response(
        status=200,
        body=b"".join([head, *tail]),
        headers={LENGTH_HEADER: str(len(head))},
        content_type=BINARY,
    )


def _as_json(content_type: str) -> str:
    """Without binary tensors a body is JSON, also under the type of binary ones."""
    return "" if content_type.lower().startswith(BINARY) else content_type


def _asked(request: dict[str, Any], signature: Signature) -> Asked:
    parameters = _parameters(request)
    binary = parameters.get("binary_data_output") is True
    name = request.get("id", "")
    if not isinstance(name, str) or len(name) > parse.MAX_ID:
        raise Refusal(400, "bad_request", f"id is not a text of at most {parse.MAX_ID} characters")
    given = request.get("outputs")
    if given is None:
        return Asked(id=name, binary=binary)
    if not isinstance(given, list) or not all(isinstance(x, dict) for x in given):
        raise Refusal(400, "bad_request", "outputs is not a list of outputs")
    outputs = tuple([_output(one, signature, binary=binary) for one in given])
    return Asked(id=name, outputs=outputs, binary=binary)


def _output(given: dict[str, Any], signature: Signature, *, binary: bool) -> Output:
    names = [one["name"] for one in outputs_of(signature)]
    name, parameters = given.get("name"), _parameters(given)
    if not isinstance(name, str) or name not in names:
        raise Refusal(
            400, "bad_request", "an output that the model does not have was asked for",
            hint=f"it has {', '.join(names)}",
        )  # fmt: skip
    if "shared_memory_region" in parameters:
        raise _no_shared_memory()
    top = parameters.get("classification", 0)
    if type(top) is not int or top < 0:
        raise Refusal(400, "bad_request", "classification is not a number of classes")
    if top and (name != signature.output or signature.task == "regression"):
        raise Refusal(400, "bad_request", f"output {name!r} has no classes to choose from")
    said = parameters.get("binary_data", binary)
    return Output(name=name, binary=said is True, top=top)


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Refusal(400, "bad_request", "parameters is not an object")
    return parameters or {}


def _tensors(
    given: list[dict[str, Any]], tail: memoryview
) -> Iterator[tuple[dict[str, Any], list[int], list[Any], bool]]:
    """Every tensor with its shape, its values row by row, and whether they came in binary."""
    place = 0
    for tensor in given:
        name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
        if not isinstance(shape, list) or not all(type(x) is int and x >= 0 for x in shape):
            raise Refusal(400, "bad_request", f"input {name[:80]!r} has no shape of whole numbers")
        if not isinstance(datatype, str) or len(shape) > _MAX_DEPTH:
            raise Refusal(400, "bad_request", f"input {name[:80]!r} has no datatype that is known")
        parameters = _parameters(tensor)
        if "shared_memory_region" in parameters:
            raise _no_shared_memory()
        size, values = parameters.get("binary_data_size"), tensor.get("data")
        if isinstance(values, list) == (size is not None):
            raise Refusal(
                400,
                "bad_request",
                f"input {name[:80]!r} has {'no data as a list' if size is None else 'data twice'}",
                hint="send either data or the parameter binary_data_size with bytes after the JSON",
            )
        if isinstance(values, list):
            yield tensor, shape, tensors.flat(name, datatype, shape, values), False
            continue
        if type(size) is not int or not 0 <= size <= len(tail) - place:
            raise Refusal(400, "bad_request", f"input {name[:80]!r} has fewer bytes than it says")
        data = tail[place : place + size]
        place += size
        yield tensor, shape, tensors.decode(name, datatype, shape, data), True
    if place != len(tail):
        raise Refusal(400, "bad_request", "the body has more bytes than its inputs say")


def _column(
    tensor: dict[str, Any],
    values: list[Any],
    shape: list[int],
    signature: Signature,
    *,
    binary: bool,
) -> list[Any]:
    """The cells of a tensor that is one column."""
    name = tensor["name"]
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise InputError(f"input {name[:80]!r} is not of shape [N] or [N, 1]")
    column = next((c for c in signature.inputs if c.name == name), None)
    if column is None:
        return values
    if tensor["datatype"] not in tensors.FITS[column.kind]:
        raise InputError(
            f"input {name!r} has datatype {tensor['datatype'][:20]!r}",
            hint=f"send {DATATYPE[column.kind]}",
            column=name,
        )
    return cells.missing(column, values) if binary else values


def _unpack(
    tensor: dict[str, Any],
    values: list[Any],
    shape: list[int],
    signature: Signature,
    *,
    binary: bool,
) -> dict[str, list[Any]]:
    """The columns of a packed tensor [N, k], in the order of the signature."""
    name = tensor["name"]
    columns = [c for c in signature.inputs if (c.kind == "text") == (name == "words")]
    fits = tensors.FITS["text" if name == "words" else "number"]
    if len(shape) != 2 or shape[1] != len(columns) or tensor["datatype"] not in fits:
        raise InputError(
            f"input {name!r} is not {_PACKED[name]} of shape [N, {len(columns)}]",
            hint=f"its columns are {', '.join(c.name for c in columns)}",
        )
    taken = {c.name: cells.booleans(c, values[i :: len(columns)]) for i, c in enumerate(columns)}
    return {c.name: cells.missing(c, taken[c.name]) if binary else taken[c.name] for c in columns}


def _raw(body: memoryview, signature: Signature) -> Rows:
    """A body without any JSON: the one input of a model, or its packed `numbers` where no is text.

    A text is one row, its bytes without a length before them. All outputs are asked for in binary.
    """
    inputs = signature.inputs
    asked = Asked(binary=True)
    if len(inputs) == 1 and inputs[0].kind == "text":
        try:
            texts = cells.missing(inputs[0], [bytes(body).decode()])
        except UnicodeDecodeError:
            raise Refusal(400, "bad_request", "the body is not UTF-8") from None
        return Rows(columns={inputs[0].name: texts}, count=1, options=asked)
    if any(c.kind == "text" for c in inputs):
        raise Refusal(400, "bad_request", "a raw body is one tensor, and this model takes several")
    alone = inputs[0].kind == "boolean" and len(inputs) == 1
    datatype, size = ("BOOL", 1) if alone else ("FP32", 4)
    count, rest = divmod(len(body), size * len(inputs))
    if rest:
        raise Refusal(400, "bad_request", f"a raw body is {datatype} of shape [N, {len(inputs)}]")
    parse.check_count(count)
    values = tensors.decode("raw", datatype, [count, len(inputs)], body)
    columns = {c.name: cells.booleans(c, values[i :: len(inputs)]) for i, c in enumerate(inputs)}
    return Rows(columns=columns, count=count, options=asked)


def _tensor(output: Output, answer: Answer) -> tuple[dict[str, Any], list[Any]]:
    """An output without its data, and the data row by row."""
    signature, outputs, rows = answer.signature, answer.outputs, len(answer.ids)
    shape, kind = [rows], "BYTES"
    values: list[Any] = list(answer.ids)
    if output.top:
        values = _top(answer, output.top)
        shape = [rows, len(values) // rows]
    elif output.name == signature.output:
        kind, shape = "FP32", [rows, *outputs.score.shape[1:]]
        values = outputs.score.ravel().tolist()
    elif output.name == "decision":
        kind = _class_type(signature)
        given: list[Any] = outputs.decision
        values = [str(x) for x in given] if kind == "BYTES" else given
    assert len(values) == math.prod(shape)
    return {"name": output.name, "datatype": kind, "shape": shape}, values


def _top(answer: Answer, top: int) -> list[str]:
    """`value:index:label` of the classes with the greatest scores, row by row."""
    signature, score = answer.signature, answer.outputs.score
    if signature.task == "binary":
        chosen = score.astype(np.float64)
        both = [1 - chosen, chosen] if signature.positive_index else [chosen, 1 - chosen]
        score = np.stack(both, axis=1)
    labels = signature.classes
    found = []
    for values, order in zip(
        score.tolist(), np.argsort(-score, axis=1, kind="stable").tolist(), strict=True
    ):
        found += [f"{values[i]:f}:{i}:{labels[i]}" for i in order[:top]]
    return found


def _class_type(signature: Signature) -> str:
    classes = signature.classes
    if all(type(x) is bool for x in classes):
        return "BOOL"
    whole = all(type(x) is int and -(2**63) <= x < 2**63 for x in classes)
    return "INT64" if whole else "BYTES"


def _no_shared_memory() -> Refusal:
    return Refusal(501, "not_offered", "shared memory is not offered here", hint="send the data")
