"""The HTTP API: a route for every operation, each request checked by its type."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab.errors import TrimtabError, UsageError
from trimtab.server import operations, webhooks
from trimtab.server.failure import JSON, failed, unexpected
from trimtab.server.openapi import document
from trimtab.server.opened import Opened
from trimtab.server.operations import Operation

MAX_BODY: Final = 1 << 20


def routes(opened: Opened) -> list[Route]:
    """The routes of `/api/v1`."""
    found = [
        Route(one.url, _endpoint(one, opened), methods=[one.method], name=one.name)
        for one in operations.TABLE
    ]
    described = Route(f"{operations.PREFIX}/openapi.json", _openapi, methods=["GET"])
    return [*found, webhooks.route(opened), described]


async def _openapi(_request: Request) -> Response:
    return Response(msgspec.json.encode(document()), media_type=JSON)


def _endpoint(
    operation: Operation[Any, Any], opened: Opened
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            asked = read(operation, request, await _body(request))
            answer = await run_in_threadpool(lambda: operation.call(opened.current(), asked))
        except TrimtabError as error:
            return failed(error)
        except Exception as error:
            return unexpected(error)
        return Response(msgspec.json.encode(answer), status_code=operation.status, media_type=JSON)

    return endpoint


def read(operation: Operation[Any, Any], request: Request, body: bytes) -> Any:
    """The operation's request out of path, query and body; raises UsageError."""
    fields: dict[str, Any] = dict(request.path_params)
    is_text = operation.method == "GET"
    try:
        if is_text:
            fields |= dict(request.query_params)
        else:
            fields = msgspec.json.decode(body or b"{}", type=dict[str, Any]) | fields
        return msgspec.convert(fields, operation.request, strict=not is_text)
    except msgspec.MsgspecError as error:
        known = ", ".join(operation.request.__struct_fields__) or "none"
        raise UsageError(
            f"{operation.name}: {str(error).replace('`$.', '`')}", hint=f"fields: {known}"
        ) from error


async def _body(request: Request) -> bytes:
    if request.method == "GET":
        return b""
    announced = request.headers.get("content-length", "0")
    whole = bytearray()
    if float(announced if announced.isdecimal() else math.inf) <= MAX_BODY:
        async for chunk in request.stream():
            whole += chunk
            if len(whole) > MAX_BODY:
                break
        else:
            return bytes(whole)
    raise UsageError(f"the body is larger than {MAX_BODY >> 20} MiB")
