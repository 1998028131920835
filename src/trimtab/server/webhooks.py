"""Triggers that another system fires: `POST /api/v1/triggers/NAME/webhook`, signed.

`x-trimtab-signature` is `sha256=` and the hex HMAC-SHA256 of `TIMESTAMP.BODY` under the trigger's
secret, `x-trimtab-timestamp` the seconds since 1970, at most five minutes off. Under the same
`idempotency-key` a call is the same firing, however often it comes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab import ids
from trimtab.errors import RefusedError, TrimtabError, UsageError
from trimtab.loop import firings, secret, triggers
from trimtab.loop.project import Project
from trimtab.server import operations
from trimtab.server.answers import Fired
from trimtab.server.failure import JSON, failed, unexpected
from trimtab.server.opened import Opened
from trimtab.store import operations as rows

SECONDS: Final = 300
MAX_BODY: Final = 64 << 10
MAX_KEY: Final = 200


def route(opened: Opened) -> Route:
    """The webhook's route."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            if len(body) > MAX_BODY:
                raise UsageError(f"a webhook's body is at most {MAX_BODY >> 10} KiB")
            name, headers = request.path_params["name"], dict(request.headers)
            found, is_new = await run_in_threadpool(
                lambda: fire(opened.current().applied(), name, headers, body)
            )
        except TrimtabError as error:
            return failed(error)
        except Exception as error:
            return unexpected(error)
        return Response(
            msgspec.json.encode(found), status_code=202 if is_new else 200, media_type=JSON
        )

    return Route(f"{operations.PREFIX}/triggers/{{name}}/webhook", endpoint, methods=["POST"])


def fire(
    project: Project, name: str, headers: dict[str, str], body: bytes, *, now: float | None = None
) -> tuple[Fired, bool]:
    """Fire a trigger as a webhook asks, and whether it is new.

    Raises RefusedError for a signature that does not hold, UsageError without a key, NotFoundError
    for an unknown trigger, ConflictError where its brakes say no.
    """
    trigger = firings.named(project, name)
    if all(word.kind != "webhook" for word in trigger.words):
        raise RefusedError(f"trigger {name!r} starts on no webhook", hint='on = ["webhook"]')
    _check(
        secret.resolve(trigger.settings.secret, project.folder), headers, body,
        ids.now() / 1e6 if now is None else now,
    )  # fmt: skip
    key = headers.get("idempotency-key", "")
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise UsageError(f"idempotency-key is not a text of 1 to {MAX_KEY} characters")
    slot = f"webhook:{key}"
    known = rows.action_of(project.ws, triggers.key_of(name, slot))
    cause = {"kind": "webhook", "body": hashlib.sha256(body).hexdigest()}
    return Fired(actions=[known or firings.by_hand(project, name, slot, cause)]), known is None


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a call."""
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _check(key: bytes, headers: dict[str, str], body: bytes, now: float) -> None:
    said, given = headers.get("x-trimtab-timestamp", ""), headers.get("x-trimtab-signature", "")
    if not said.isdecimal() or len(said) > 12 or abs(now - int(said)) > SECONDS:
        raise RefusedError(
            "the webhook's timestamp is not of now",
            hint=f"x-trimtab-timestamp: seconds since 1970, at most {SECONDS} off",
        )
    if not hmac.compare_digest(sign(key, said, body).encode(), given.encode()):
        raise RefusedError(
            "the webhook's signature does not hold",
            hint="x-trimtab-signature: sha256= and the HMAC of TIMESTAMP.BODY under the secret",
        )
