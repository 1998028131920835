"""The one body parser of `/invocations`, `:predict` and Vertex AI's predict route.

Every shape of JSON that a tongue has (its own, MLflow's, TF Serving's, Open Inference) and every
format of `formats` is read on each of these paths; what was sent decides the shape of the reply,
`Accept` its format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from trimtab.errors import InputError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import formats, mlflow, oip, parse, typed
from trimtab.serve.protocols.formats import PLAIN, Form
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response, encode

SHAPES: Final = (*typed.SHAPES, *mlflow.SHAPES)
# What may stand beside the rows, and change nothing: Vertex AI's, MLflow's and TF Serving's.
_BESIDE: Final[dict[str, type]] = {"parameters": dict, "params": dict, "signature_name": str}


@dataclass(frozen=True, slots=True)
class Wish:
    """The reply that a request wants. `attributes` are SageMaker's, None where it is not asking."""

    form: Form = PLAIN
    style: Literal["predictions", "typed"] | oip.Asked = "predictions"
    attributes: str | None = None


def read(call: Call, signature: Signature, *, default: Form = PLAIN, mirror: bool = False) -> Rows:
    """The rows of a body, with a Wish as their options; raises Refusal or InputError.

    The reply is `default` where Accept does not say otherwise; with `mirror` a CSV is answered by
    CSV, and so is a CSV without a header line in any case: only MLflow's clients always send one
    and expect JSON.
    """
    if oip.LENGTH_HEADER in call.headers:
        rows = oip.Oip().read(call, signature)
        return replace(rows, options=Wish(style=rows.options))
    accept = call.headers.get("accept", "")
    sent = formats.sent(call.headers.get("content-type", ""))
    if sent.kind == "json":
        wish = Wish(form=formats.wanted(accept, default))
        return _json(parse.decode_json(call.body, nan=True), signature, wish)
    rows, found = formats.read(sent, call.body, signature)
    if found.kind == "csv" and (mirror or not found.header) and default == PLAIN:
        default = Form("csv", header=False)
    return replace(rows, options=Wish(form=formats.wanted(accept, default)))


def write(answer: Answer) -> Response:
    """The reply that `read` found to be wanted."""
    wish = answer.options if isinstance(answer.options, Wish) else Wish()
    if isinstance(wish.style, oip.Asked):
        return oip.write(answer, wish.style)
    if wish.form.kind != "json":
        return formats.write(wish.form, answer)
    if wish.style == "typed":
        return typed.write(answer)
    return Response(status=200, body=encode({"predictions": typed.predictions(answer)}))


def _json(request: Any, signature: Signature, wish: Wish) -> Rows:
    if not isinstance(request, dict):
        raise InputError("the body is not an object", hint='send {"instances": [{...}]}')
    given = [key for key in SHAPES if key in request]
    if len(given) != 1:
        raise InputError(
            f"the body has {' and '.join(given) or 'no rows'}",
            hint=f"send exactly one of {', '.join(SHAPES)}",
        )
    for key, kind in _BESIDE.items():
        if not isinstance(request.get(key), kind | None):
            raise InputError(f"{key} is not {'an object' if kind is dict else 'a text'}")
    shape, value = given[0], request[given[0]]
    if shape in typed.SHAPES:
        own = {key: x for key, x in request.items() if key not in _BESIDE}
        return replace(typed.rows(own), options=replace(wish, style="typed"))
    if shape == "inputs" and _are_tensors(value):
        rows = oip.rows(request, memoryview(b""), signature)
        return replace(rows, options=replace(wish, style=rows.options))
    for key in request:
        if key != shape and key not in _BESIDE:
            raise InputError(f"unknown key {key[:80]!r} beside {shape}")
    return replace(mlflow.rows(shape, value, signature), options=wish)


def _are_tensors(value: Any) -> bool:
    """Whether `inputs` are Open Inference tensors: rows have no such keys."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(x, dict) and {"name", "shape", "datatype"} <= x.keys() for x in value)
    )
