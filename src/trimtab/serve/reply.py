"""What the engine answers: status, headers and bytes, and the one shape of an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trimtab.errors import InputError, TrimtabError

JSON: Final = "application/json"


class Response(msgspec.Struct, frozen=True, gc=False):
    """An answer; `headers` have lower-case names and hold neither length nor type."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    content_type: str = JSON


class Refusal(TrimtabError):
    """The request is refused for its form: `status` and headers beside the usual words."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.name = code
        self.headers = dict(headers or {})


def status_of(error: TrimtabError) -> int:
    """The HTTP status of an error."""
    return error.status if isinstance(error, Refusal) else error.http_status


def code_of(error: TrimtabError) -> str:
    """The stable name of an error."""
    return error.name if isinstance(error, Refusal) else error.code


def headers_of(error: TrimtabError) -> dict[str, str]:
    """Headers that go with an error; a 503 always says when to come back."""
    headers = dict(error.headers) if isinstance(error, Refusal) else {}
    if status_of(error) == 503:
        headers.setdefault("retry-after", "1")
    return headers


def error_body(error: TrimtabError) -> bytes:
    """`{"error": {"code", "message", "hint", "row", "column"}}`; row and column where known."""
    body: dict[str, Any] = {"code": code_of(error), "message": error.message, "hint": error.hint}
    if isinstance(error, InputError):
        body |= {"row": error.row, "column": error.column}
    return encode({"error": body})


def refused(error: TrimtabError) -> Response:
    """The usual answer to a request that failed."""
    return Response(status=status_of(error), body=error_body(error), headers=headers_of(error))


def encode(value: Any) -> bytes:
    """A value as JSON; a float that is not finite becomes null."""
    return msgspec.json.encode(value)
