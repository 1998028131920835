"""MLflow's paths of the server, straight on ASGI: everything else goes on to the app behind.

No request costs a framework: the path is looked up, its fields are read, and the answer is one
message. Changes go to the writer, what takes long to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from trimtab.errors import TrimtabError
from trimtab.interop.mlflow import limits, ours, routes, transfer, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.following import Following
from trimtab.interop.mlflow.paths import OTHER, PLAIN, PREFIXES, is_ours
from trimtab.interop.mlflow.wire import Asked
from trimtab.interop.mlflow.writing import Writer
from trimtab.store.workspace import Workspace

MAX_BODY: Final = 32 << 20
_CODES: Final = {
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    503: "TEMPORARILY_UNAVAILABLE",
}
_said = logging.getLogger("trimtab.interop")


class Mlflow:
    """ASGI middleware: answers MLflow's paths out of a workspace."""

    def __init__(self, app: Any, ws: Workspace) -> None:
        self.app = app
        self.board = Board(ws)
        self.writer = Writer(self.board)
        self.following = Following(self.board)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or not is_ours(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except Fault as fault:
            await transfer.reply(send, fault.status, fault.body())
        except TrimtabError as error:
            told = Fault(error.message, _CODES.get(error.http_status, "BAD_REQUEST"))
            await transfer.reply(send, told.status, told.body())
        except transfer.Gone:
            return
        except Exception as error:
            _said.error("an MLflow request failed", exc_info=error)
            told = Fault(
                f"Something unexpected happened: {type(error).__name__}. The server's stderr says more.",
                "INTERNAL_ERROR",
            )
            await transfer.reply(send, 500, told.body())

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        if path in PLAIN:
            await transfer.reply(
                send, 200, PLAIN[path], (b"content-type", b"text/plain; charset=utf-8")
            )
            return
        if not self.board.is_current():
            await asyncio.to_thread(self.board.load)
        for prefix in PREFIXES:
            if path.startswith(prefix):
                if path.endswith("/upload-artifact") and method == "POST":
                    await transfer.to_run(self.board, self.writer, scope, receive, send)
                    return
                data = await self._rpc(scope, receive, method, path[len(prefix) :])
                await transfer.reply(send, 200, data)
                return
        if path in OTHER or not path.startswith(transfer.PREFIXES):
            if path == "/get-artifact" and method in ("GET", "HEAD"):
                await self._follow()
                await transfer.of_run(self.board, scope, send)
                return
            if path == "/model-versions/get-artifact" and method in ("GET", "HEAD"):
                await transfer.of_version(self.board, scope, send)
                return
            raise Fault("trimtab keeps no traces of MLflow's clients.", "NOT_IMPLEMENTED")
        rest = decoded(scope, path)
        await self._follow()
        await transfer.answer(self.board, self.writer, scope, receive, send, method, rest)

    async def _rpc(self, scope: Any, receive: Any, method: str, path: str) -> bytes:
        route = routes.find("GET" if method == "HEAD" else method, path.rstrip("/"))
        if method in ("GET", "HEAD"):
            asked = wire.query(scope["query_string"])
        else:
            asked = wire.body(await _body(scope, receive, method, path))
        if route.fixed:
            own = (
                {key: [one] for key, one in route.fixed.items()} if asked.is_query else route.fixed
            )
            asked = Asked({**asked.fields, **own}, is_query=asked.is_query)
        board = self.board
        if route.how in ("quick", "write"):
            if path.startswith(("registered-models/", "model-versions/")):
                ours.check(asked)
            change = functools.partial(route.handler, board, asked)
            found = await self.writer.do(change, quick=route.how == "quick")
            return found if isinstance(found, bytes) else wire.encode(found)
        await self._follow()
        if route.how == "read":
            return _look(board, route, asked)
        return await asyncio.to_thread(_look, board, route, asked)

    async def _follow(self) -> None:
        if self.following.is_behind():
            await asyncio.to_thread(self.following.catch_up)


def _look(board: Board, route: routes.Route, asked: Asked) -> bytes:
    with contextlib.nullcontext() if route.how == "disk" else board.lock:
        found = route.handler(board, asked)
    # what is shown is never changed in place, so the lock need not be held while it is encoded
    return found if isinstance(found, bytes) else wire.encode(found)


async def _body(scope: Any, receive: Any, method: str, path: str) -> bytes:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    most = limits.BATCH_BYTES if path == "runs/log-batch" else MAX_BODY
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise transfer.Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise Fault(
                f"Batched logging API requests must be at most {most} bytes, this is longer."
                if most == limits.BATCH_BYTES
                else f"The request is longer than {most} bytes."
            )
        if not message.get("more_body"):
            break
    if method == "POST" and kind.partition(b";")[0].strip().lower() != b"application/json":
        raise Fault(
            "Bad Request. Content-Type must be application/json, not "
            f"'{kind[:100].decode('latin-1')}'.",
            "BAD_REQUEST",
        )
    return b"".join(parts)


def decoded(scope: Any, path: str) -> str:
    """A path as it was sent, decoded once; raises a fault where that is no text."""
    raw = scope.get("raw_path")
    if raw is None:
        return path
    try:
        return unquote_to_bytes(raw.partition(b"?")[0]).decode()
    except UnicodeDecodeError:
        raise Fault("Invalid path") from None
