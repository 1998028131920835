"""What a server without login refuses: strangers' host names, cross-site requests, odd writes.

A web page anywhere can make a browser send requests to loopback. A foreign name that resolves here
(DNS rebinding) shows in `Host`; a form or script of another site shows in `Origin`, and cannot send
`application/json` without the permission that this server never gives. The pages' own forms are the
one other thing that is taken, outside the API and only where the browser says that they are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from trimtab.errors import RefusedError, UsageError
from trimtab.interop.mlflow.paths import is_ours as is_mlflow
from trimtab.serve.access.auth import is_loopback

if TYPE_CHECKING:  # the framework comes with the first page
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM: Final = "application/x-www-form-urlencoded"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    # "no-referrer" would make a form of our own page come from the origin "null"
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """ASGI middleware: checks every request before anything reads it, marks every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                extra = [pair for pair in _HEADERS if pair[0] not in given]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        refusal = _refusal(scope)
        if refusal is None:
            await self.app(scope, receive, marked)
        else:
            from trimtab.server.failure import failed  # noqa: PLC0415 - the framework, as above

            status = 415 if isinstance(refusal, UsageError) else None
            await failed(refusal, status=status)(scope, receive, marked)


def _refusal(scope: Scope) -> RefusedError | UsageError | None:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host = _name(f"//{headers.get('host', '')}")
    if not is_loopback(host):
        return RefusedError(
            f"this server answers on loopback only, not as {host[:100]!r}",
            hint="open it as http://127.0.0.1 with its port",
        )
    if scope["method"] in _SAFE:
        return None
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers["host"]:
        return RefusedError("this request comes from a page of another site")
    if is_mlflow(scope["path"]):
        return None  # no form of another site can send its writes: a POST is JSON, or refused there
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM and not scope["path"].startswith("/api/"):
        site = headers.get("sec-fetch-site", "same-origin")
        if origin is None or site != "same-origin":
            return RefusedError("a form is taken from this server's own pages only")
        return None
    if kind != "application/json":
        return UsageError(
            f"{scope['method']} needs content-type: application/json",
            hint="send a JSON object, {} where there is nothing to say",
        )
    return None


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
