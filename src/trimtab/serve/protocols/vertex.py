"""Vertex AI's custom containers: the routes that its environment names, and the predict contract.

`{"instances": [...], "parameters"?}` gives `{"predictions": [...]}` with as many entries. Source:
Google Cloud, "Custom container requirements for inference".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.errors import TrimtabError, UsageError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import bodies
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response, refused


class Vertex:
    """The contract of `$AIP_PREDICT_ROUTE`."""

    name = "vertex"

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of a body; raises Refusal or InputError."""
        return bodies.read(call, signature)

    def write(self, answer: Answer) -> Response:
        """`{"predictions": [...]}`."""
        return bodies.write(answer)

    def fail(self, error: TrimtabError) -> Response:
        """The usual error object."""
        return refused(error)


@dataclass(frozen=True, slots=True)
class Routes:
    """Where GET asks for health and POST for predictions; both may be the same path."""

    health: str
    predict: str


def routes(environment: Mapping[str, str]) -> Routes | None:
    """The routes of a Vertex AI container, None outside of one.

    A route that is not set is `/v1/endpoints/ENDPOINT/deployedModels/MODEL:predict`, for health as
    for predictions. Raises UsageError for a route that is no path.
    """
    health, predict = (
        environment.get("AIP_HEALTH_ROUTE", ""),
        environment.get("AIP_PREDICT_ROUTE", ""),
    )
    endpoint = environment.get("AIP_ENDPOINT_ID", "")
    model = environment.get("AIP_DEPLOYED_MODEL_ID", "")
    usual = f"/v1/endpoints/{endpoint}/deployedModels/{model}:predict" if endpoint and model else ""
    for name, route in (("AIP_HEALTH_ROUTE", health), ("AIP_PREDICT_ROUTE", predict)):
        if route and not (route.startswith("/") and route.isascii() and route.isprintable()):
            raise UsageError(f"{name} is no path of a URL", hint="it begins with a slash")
    found = Routes(health=health or usual, predict=predict or usual)
    return found if found.health or found.predict else None
