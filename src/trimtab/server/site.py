"""The API and the pages as one Starlette app."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trimtab.errors import NotFoundError, UsageError
from trimtab.server import api, operations, pages
from trimtab.server.failure import failed
from trimtab.server.opened import Opened


def build(opened: Opened) -> Starlette:
    """The app of a project, to stand behind the guard."""
    return Starlette(
        routes=[*api.routes(opened), *pages.routes(opened)],
        exception_handlers={HTTPException: _refused},
    )


async def _refused(request: Request, error: Exception) -> Response:
    path = request.url.path
    status = error.status_code if isinstance(error, HTTPException) else 500
    if not path.startswith("/api/") and status == 404:
        return pages.not_found(path)
    if status == 405:
        return failed(UsageError(f"{path} does not take {request.method}"), status=405)
    hint = f"{operations.PREFIX}/openapi.json lists what there is"
    return failed(NotFoundError(f"there is nothing at {path[:200]}", hint=hint), status=status)
