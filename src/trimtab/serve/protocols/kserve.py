"""KServe's protocol v1, which is TF Serving's: `POST /v1/models/NAME:predict`.

`{"instances": [...]}` gives `{"predictions": [...]}`, one entry per instance; an error is
`{"error": "text"}`, as KServe's own server and clients have it. Any body of `bodies` is read.
"""

from __future__ import annotations

from trimtab.errors import TrimtabError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import bodies, oip
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response


class Kserve:
    """The contract."""

    name = "kserve"

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of a body; raises Refusal or InputError."""
        return bodies.read(call, signature)

    def write(self, answer: Answer) -> Response:
        """`{"predictions": [...]}`."""
        return bodies.write(answer)

    def fail(self, error: TrimtabError) -> Response:
        """`{"error": "text"}`."""
        return oip.failed(error)


def path(name: str) -> str:
    """Where a model is asked."""
    return f"/v1/models/{name}:predict"
