"""SageMaker's containers, and with them MLflow's scoring server: `POST /invocations`.

The format goes in by Content-Type and out by Accept. Headers `X-Amzn-SageMaker-*` are understood
and answered; errors carry MLflow's keys beside `error`. Sources: AWS, "Use your own inference code";
sagemaker-python-sdk, local/entities.py; sagemaker-inference-toolkit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from trimtab.errors import TrimtabError, UsageError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import bodies, formats, mlflow, parse
from trimtab.serve.protocols.bodies import Wish
from trimtab.serve.protocols.formats import PLAIN
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response, encode, refused

PATH: Final = "/invocations"
ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
_PREFIX: Final = "x-amzn-sagemaker-"
_MAX_ATTRIBUTES: Final = 1024
_MOST_AT_ONCE: Final = 8


class Invocations:
    """The contract of SageMaker and MLflow. In SageMaker a CSV is always answered by CSV."""

    name = "invocations"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.at_home = any(key.startswith("SAGEMAKER_") for key in environment)
        accept = environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")
        self.default = formats.wanted(accept) if accept else PLAIN

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of a body; raises Refusal or InputError."""
        headers = call.headers
        asking = self.at_home or any(key.startswith(_PREFIX) for key in headers)
        rows = bodies.read(call, signature, default=self.default, mirror=asking)
        if not asking:
            return rows
        found = replace(rows, options=replace(rows.options, attributes=headers.get(ATTRIBUTES, "")))
        given = headers.get(INFERENCE_ID)
        if given is None or rows.ids is not None:
            return found
        name = parse.check_id(given)
        ids = (
            [name]
            if rows.count == 1
            else [parse.check_id(f"{name}:{i}") for i in range(rows.count)]
        )
        return replace(found, ids=ids)

    def write(self, answer: Answer) -> Response:
        """The reply that was wanted; SageMaker passes on no header but its custom attributes."""
        response = bodies.write(answer)
        if isinstance(answer.options, Wish) and answer.options.attributes is not None:
            response.headers[ATTRIBUTES] = _attributes(answer, answer.options.attributes)
        return response

    def fail(self, error: TrimtabError) -> Response:
        """The usual error object, with MLflow's keys beside it; wrong content is 400 there."""
        response = refused(error)
        body: dict[str, Any] = msgspec.json.decode(response.body)
        return Response(
            status=400 if response.status == 422 else response.status,
            body=encode(body | mlflow.error_keys(error)),
            headers=response.headers,
        )


def execution_parameters(environment: Mapping[str, str]) -> dict[str, Any]:
    """`GET /execution-parameters`, which batch transform asks for what its job does not say.

    A payload is 1 MB where the environment says nothing: 10,000 rows, the most of one request, are
    seldom less. Raises UsageError for variables that are no numbers.
    """
    strategy = environment.get("SAGEMAKER_BATCH_STRATEGY", "").replace("_", "").upper()
    return {
        "MaxConcurrentTransforms": _whole(
            environment,
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
            min(_MOST_AT_ONCE, os.cpu_count() or 1),
        ),
        "BatchStrategy": "SINGLE_RECORD" if strategy == "SINGLERECORD" else "MULTI_RECORD",
        "MaxPayloadInMB": _whole(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 1),
    }


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{name} is not a whole number", hint="unset it, or set a number")
    return int(text)


def _attributes(answer: Answer, sent: str) -> str:
    """What was sent, with the request's id and the model behind it while there is room."""
    mine = f"x-request-id={answer.request},x-model-version={answer.label}"
    both = f"{sent},{mine}" if sent else mine
    text = both if len(both) <= _MAX_ATTRIBUTES else sent
    return "".join(x if " " <= x <= "~" else "?" for x in text[:_MAX_ATTRIBUTES])
