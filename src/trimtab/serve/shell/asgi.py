"""The engine as a raw ASGI application: reads the body up to the limit, moves bytes, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.reply import Refusal, Response, refused
from trimtab.serve.shell.wire import no_version

# Those of ASGI; a server that takes HTTP/2.0 from a request line passes that on as it is.
_VERSIONS: Final = ("1.0", "1.1", "2", "3")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class App:
    """`App(engine)` is an ASGI 3 application for HTTP; lifespan events are not spoken."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._batcher: Batcher | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the endpoint speaks HTTP, not {scope['type']}")
        limit = self.engine.limits.body
        body = await _body(receive, limit)
        if body is None:
            return
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name, text = raw.decode("latin-1"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        try:
            if scope.get("http_version", "1.1") not in _VERSIONS:
                raise no_version(scope["http_version"])
            self.engine.limits.check_body(len(body))
        except Refusal as error:
            response = refused(error)
        else:
            response = await self._response(scope, headers, body)
        await self._answer(scope["method"], response, send)

    async def _response(self, scope: Message, headers: dict[str, str], body: bytes) -> Response:
        query = scope.get("query_string", b"").decode("latin-1")
        found = self.engine.begin(scope["method"], scope["path"], headers, body, query)
        if isinstance(found, Response):
            return found
        loop = asyncio.get_running_loop()
        if self._batcher is None:
            self._batcher = Batcher(self.engine, loop)
        answered: asyncio.Future[Response] = loop.create_future()
        self._batcher.submit(
            found, lambda response: None if answered.done() else answered.set_result(response)
        )
        try:
            return await answered
        except asyncio.CancelledError:
            found.gone = True
            raise

    async def _answer(self, method: str, response: Response, send: Send) -> None:
        headers = [
            (b"content-length", str(len(response.body)).encode()),
            (b"content-type", response.content_type.encode()),
            *(
                (name.encode(), value.encode("latin-1", "replace"))
                for name, value in response.headers.items()
            ),
        ]
        # A body left unread, or an endpoint on its way out, must not be followed by more requests.
        if self.engine.draining or response.status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if method == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The body, at most one chunk beyond the limit; None where the client is gone."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > limit or not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
