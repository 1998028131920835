"""The platform's own server as one ASGI app: the API, the pages and MLflow's protocol, behind the
guard.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import trimtab
from trimtab.errors import NotFoundError, UsageError
from trimtab.interop.mlflow.app import Mlflow
from trimtab.loop.project import Project
from trimtab.server import api, operations, pages
from trimtab.server.failure import JSON, failed
from trimtab.server.guard import Guard
from trimtab.server.opened import Opened


def build(project: Project) -> Starlette:
    """The app of a project. It takes no login, and so answers on loopback only."""
    opened = Opened(project)
    return Starlette(
        routes=[Route("/healthz", _health), *api.routes(opened), *pages.routes(opened)],
        middleware=[Middleware(Guard), Middleware(Mlflow, ws=project.ws)],
        exception_handlers={HTTPException: _refused},
    )


async def _health(_request: Request) -> Response:
    return Response(b'{"ok":true,"version":"%s"}' % trimtab.__version__.encode(), media_type=JSON)


async def _refused(request: Request, error: Exception) -> Response:
    path = request.url.path
    status = error.status_code if isinstance(error, HTTPException) else 500
    if not path.startswith("/api/") and status == 404:
        return pages.not_found(path)
    if status == 405:
        return failed(UsageError(f"{path} does not take {request.method}"), status=405)
    hint = f"{operations.PREFIX}/openapi.json lists what there is"
    return failed(NotFoundError(f"there is nothing at {path[:200]}", hint=hint), status=status)
