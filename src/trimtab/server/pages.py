"""The web page: server-rendered, no build, nothing fetched from anywhere else."""

from __future__ import annotations

import functools
import importlib.resources
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs

import jinja2
import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

import trimtab
from trimtab import ids
from trimtab.errors import NotFoundError, TrimtabError, UsageError
from trimtab.loop.project import Project
from trimtab.monitor.findings import called
from trimtab.server import (
    diff_page,
    discarding,
    distributions,
    operations,
    rolling,
    run_files,
    runs_page,
    shown,
    telling,
    views,
    watching,
    words,
)
from trimtab.server.opened import Opened
from trimtab.server.requests import Acknowledgement, Question, Resolution

_STATIC: Final = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_MOST_FORM: Final = 16_384
_said = logging.getLogger("trimtab.server")
Page = Callable[[Project, Request], str]
Given = dict[str, list[str]]
Act = Callable[[Opened, Request, Given], Response]


def routes(opened: Opened) -> list[Route]:
    """The pages and their three files."""
    pages: dict[str, Page] = {
        "/": _loop,
        "/monitor": _monitor,
        "/rollouts": _rollouts,
        "/rollouts/{id}": _rollout,
        "/timeline": _timeline,
        "/runs": _runs,
        discarding.PLACE: _deleted,
        "/runs/{id}": _run,
        "/runs/{before}/diff/{after}": _diff,
        "/why": _why,
    }
    found = [Route(path, _endpoint(page, opened), methods=["GET"]) for path, page in pages.items()]
    forms = {
        "/monitor/incidents/{id}/{act}": _act,
        "/rollouts/{id}/{act}": _steer,
        "/runs/{act}": _discard,
    }
    found += [Route(path, _acting(opened, act), methods=["POST"]) for path, act in forms.items()]
    # before the page of a run, whose address has room for any word
    table = Route("/runs/export.{ending}", _sending(opened, _table), methods=["GET"])
    made = Route("/runs/{id}/file", _sending(opened, _made), methods=["GET"])
    return [table, made, *found, Route("/static/{name}", _file, methods=["GET"])]


def not_found(path: str) -> Response:
    """The page of an address that there is not."""
    error = NotFoundError(f"there is nothing at {path[:200]}", hint="the loop is at /")
    return _failure(error, "trimtab")


def _endpoint(page: Page, opened: Opened) -> Callable[[Request], Awaitable[Response]]:
    def answer(request: Request) -> Response:
        project, broken = opened.last()
        try:
            html = page(project, request)
        except TrimtabError as error:
            return _failure(error, project.config.project.name)
        except Exception as error:
            _said.exception("%s could not be shown", request.url.path)
            hint = "the traceback is on the server's stderr"
            fault = TrimtabError(
                f"something unexpected happened: {type(error).__name__}", hint=hint
            )
            return _failure(fault, project.config.project.name)
        if broken is not None:
            html = html.replace("<!-- notices -->", _notice(broken), 1)
        return HTMLResponse(html)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint


def _loop(project: Project, request: Request) -> str:
    return _render("loop.html", project, page=views.loop(project))


def _monitor(project: Project, request: Request) -> str:
    asked = request.query_params
    page = watching.page(
        project,
        asked.get("name", ""),
        asked.get("model", ""),
        asked.get("window", ""),
        asked.get("feature", ""),
    )
    return _render("monitor.html", project, page=page)


def _timeline(project: Project, request: Request) -> str:
    page = telling.page(project, request.query_params.get("since", ""))
    return _render("timeline.html", project, page=page)


def _acting(opened: Opened, act: Act) -> Callable[[Request], Awaitable[Response]]:
    """What the forms of the pages send: it is done, then back to the page."""

    async def endpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_FORM:
                return _failure(UsageError("this form is too long"), "trimtab")
        given = parse_qs(body.decode("utf-8", "replace"))
        return await run_in_threadpool(act, opened, request, given)

    return endpoint


def _act(opened: Opened, request: Request, sent: Given) -> Response:
    project, _ = opened.last()
    given = _last(sent)
    incident, act = request.path_params["id"], request.path_params["act"]
    try:
        if act == "ack":
            asked = Acknowledgement(id=incident, by=given.get("by", "")[:200])
            done = operations.INCIDENTS_ACK.call(project, asked)
        elif act == "resolve":
            note = given.get("note", "")[:2000]
            done = operations.INCIDENTS_RESOLVE.call(project, Resolution(id=incident, note=note))
        else:
            return not_found(request.url.path)
    except TrimtabError as error:
        return _failure(error, project.config.project.name)
    return RedirectResponse(f"/monitor#incident-{done.id}", status_code=303)


def _steer(opened: Opened, request: Request, sent: Given) -> Response:
    project, _ = opened.last()
    rollout, act = request.path_params["id"], request.path_params["act"]
    try:
        done = rolling.act(project, rollout, act, _last(sent))
    except TrimtabError as error:
        return _failure(error, project.config.project.name)
    if done is None:
        return not_found(request.url.path)
    return RedirectResponse(f"/rollouts/{done.rollout.id}", status_code=303)


def _discard(opened: Opened, request: Request, sent: Given) -> Response:
    project, _ = opened.last()
    try:
        back = discarding.act(project, request.path_params["act"], sent)
    except TrimtabError as error:
        return _failure(error, project.config.project.name)
    if back is None:
        return not_found(request.url.path)
    return RedirectResponse(back, status_code=303)


def _last(sent: Given) -> dict[str, str]:
    return {name: values[-1] for name, values in sent.items()}


def _rollouts(project: Project, request: Request) -> str:
    return _render("rollouts.html", project, rows=rolling.listed(project))


def _rollout(project: Project, request: Request) -> str:
    return _render("rollout.html", project, page=rolling.page(project, request.path_params["id"]))


def _runs(project: Project, request: Request) -> str:
    page = runs_page.page(project, request.query_params)
    back = "/runs" + (f"?{request.url.query}" if request.url.query else "")
    return _render("runs.html", project, page=page, back=back)


def _deleted(project: Project, request: Request) -> str:
    return _render("deleted.html", project, page=discarding.page(project, request.query_params))


def _table(project: Project, request: Request) -> Response:
    return runs_page.file(project, request.path_params["ending"], request.query_params)


def _made(project: Project, request: Request) -> Response:
    run, path = request.path_params["id"], request.query_params.get("path", "")
    return run_files.file(project, run, path)


def _sending(
    opened: Opened, file: Callable[[Project, Request], Response]
) -> Callable[[Request], Awaitable[Response]]:
    def answer(request: Request) -> Response:
        project, _ = opened.last()
        try:
            return file(project, request)
        except TrimtabError as error:
            return _failure(error, project.config.project.name)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint


def _run(project: Project, request: Request) -> str:
    begin = request.query_params.get("series", "")
    page = views.run_page(project, request.path_params["id"], begin)
    return _render("run.html", project, page=page, before=diff_page.before(project, page.shown.run))


def _diff(project: Project, request: Request) -> str:
    asked = request.path_params
    page = diff_page.page(project, asked["before"], asked["after"])
    return _render("diff.html", project, page=page)


def _why(project: Project, request: Request) -> str:
    what = request.query_params.get("what", "")
    lineage = operations.WHY.call(project, Question(what=what)) if what else None
    drawn = distributions.of(project, what) if "@" in what else None
    return _render("why.html", project, what=what, lineage=lineage, drawn=drawn)


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return not_found(request.url.path)
    data = importlib.resources.files("trimtab.server").joinpath("static", name).read_bytes()
    return Response(data, media_type=_STATIC[name])


def _render(template: str, project: Project, **values: Any) -> str:
    name = project.config.project.name
    return _templates().get_template(template).render(project=name, now=ids.now(), **values)


def _failure(error: TrimtabError, project: str) -> Response:
    template = _templates().get_template("error.html")
    html = template.render(project=project, now=ids.now(), error=error)
    return HTMLResponse(html, status_code=error.http_status)


def _notice(error: TrimtabError) -> str:
    return _templates().get_template("notice.html").render(error=error)


@functools.cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("trimtab.server", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        words.number, words.interval, words.size, words.span, words.ago, words.moment, words.took,
        words.short, words.cell, words.cause, words.measured, words.standing, words.stage,
        words.origin, shown.paths, called,
        views.answering, views.staged, views.told, views.reference,
    ):  # fmt: skip
        found.filters[function.__name__] = function
    found.filters["plain"] = msgspec.to_builtins
    found.globals["version"] = trimtab.__version__
    return found
