"""An answered request, and what a contract must offer to read requests and write answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trimtab.errors import TrimtabError
from trimtab.model.load import Outputs
from trimtab.model.signature import Signature
from trimtab.serve.parse import Rows


@dataclass(frozen=True)
class Answer:
    """Everything a contract may put into its reply. `ids` are the prediction ids, one per row."""

    name: str
    label: str
    request: str
    ids: tuple[str, ...]
    signature: Signature
    outputs: Outputs


class Contract(Protocol):
    """A tongue of the endpoint: bytes to rows, answers to bytes. Holds no state, does no I/O.

    `read` raises Refusal for a malformed body and InputError for wrong content; what a cell may
    hold is not its business but that of `parse.Checker`.
    """

    name: str

    def read(self, body: bytes, signature: Signature) -> Rows:
        """The rows of a request body."""
        ...

    def write(self, answer: Answer) -> bytes:
        """The reply's body."""
        ...

    def fail(self, error: TrimtabError) -> bytes:
        """The body of an error."""
        ...
