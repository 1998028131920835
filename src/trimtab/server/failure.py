"""How an error leaves the server: `{"error": {"code", "message", "hint"}}` with its HTTP status."""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from starlette.responses import Response

from trimtab.errors import TrimtabError

JSON: Final = "application/json"
_said = logging.getLogger("trimtab.server")


class Failure(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, a sentence, and what to do next."""

    code: str
    message: str
    hint: str = ""


class Failed(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: Failure


def failed(error: TrimtabError, *, status: int | None = None) -> Response:
    """The answer to a request that raised `error`."""
    body = Failed(Failure(error.code, error.message, error.hint))
    return Response(
        msgspec.json.encode(body), status_code=status or error.http_status, media_type=JSON
    )


def unexpected(error: Exception) -> Response:
    """The answer to a request that met a fault of trimtab's own; the log has its traceback."""
    _said.error("a request failed", exc_info=error)
    body = Failed(
        Failure(
            "internal",
            f"something unexpected happened: {type(error).__name__}",
            "the traceback is on the server's stderr",
        )
    )
    return Response(msgspec.json.encode(body), status_code=500, media_type=JSON)
