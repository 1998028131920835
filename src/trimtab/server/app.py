"""The platform's own server as one ASGI app: the guard, and behind it the parts.

A part is loaded for the first request that it answers: a server that only takes metrics loads no pages,
and one that nobody has asked for anything loads neither.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trimtab
from trimtab.errors import TrimtabError, UsageError
from trimtab.interop.mlflow import paths
from trimtab.server.guard import Guard
from trimtab.server.opened import Opened

if TYPE_CHECKING:  # the framework comes with the first page
    from starlette.types import ASGIApp, Receive, Scope, Send

HEALTH: Final = b'{"ok":true,"version":"%s"}' % trimtab.__version__.encode()


def build(opened: Opened) -> Guard:
    """The app of a project. It takes no login, and so answers on loopback only."""

    def site() -> Any:
        from trimtab.server.site import build as made  # noqa: PLC0415 - see above

        opened.project()
        return made(opened)

    def mlflow() -> Any:
        from trimtab.interop.mlflow.app import Mlflow  # noqa: PLC0415 - see above

        return Mlflow(pages, opened.project().ws)

    pages = Late(site)
    return Guard(Split(Late(mlflow), pages))


class Split:
    """Which part answers a request."""

    def __init__(self, mlflow: ASGIApp, pages: ASGIApp) -> None:
        self.mlflow = mlflow
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let a part do it."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/healthz":
            await _health(scope, receive, send)
        elif paths.is_ours(path):
            await self.mlflow(scope, receive, send)
        else:
            await self.pages(scope, receive, send)


class Late:
    """An app that is made for its first request."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it answer."""
        made = self._made
        if made is None:
            try:
                made = await asyncio.to_thread(self._once)
            except TrimtabError as error:  # a store that cannot be opened
                from trimtab.server.failure import failed  # noqa: PLC0415 - see above

                await failed(error)(scope, receive, send)
                return
        await made(scope, receive, send)

    def _once(self) -> ASGIApp:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


async def _health(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        from trimtab.server.failure import failed  # noqa: PLC0415 - see above

        refusal = UsageError(f"/healthz does not take {scope['method']}")
        await failed(refusal, status=405)(scope, receive, send)
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(HEALTH))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = HEALTH if scope["method"] == "GET" else b""
    await send({"type": "http.response.body", "body": body})
