"""A request as a contract sees it, an answered one, and what a contract must offer for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from trimtab.errors import TrimtabError
from trimtab.model.load import Outputs
from trimtab.model.signature import Signature
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request: `path` and `query` are apart, `headers` have lower-case names, `body` is inflated."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Everything a contract may put into its reply.

    `ids` are the prediction ids, one per row; `options` is what `read` left in `Rows.options`.
    """

    name: str
    label: str
    request: str
    ids: tuple[str, ...]
    signature: Signature
    outputs: Outputs
    options: Any = None


class Contract(Protocol):
    """A tongue of the endpoint: a request to rows, answers to a response. Holds no state, no I/O.

    `read` raises Refusal for a malformed request and InputError for wrong content; what a cell may
    hold is not its business but that of `parse.Checker`.
    """

    name: str

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of a request."""
        ...

    def write(self, answer: Answer) -> Response:
        """The reply."""
        ...

    def fail(self, error: TrimtabError) -> Response:
        """The reply to a request that failed."""
        ...
