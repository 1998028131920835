"""Endpoints as processes of this machine: start, adopt, stop, and which models they answer with.

An endpoint is detached: it outlives the command that started it and is known by its process id and
that process's start time. It reads its folder and never the database.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import ServeConfig
from trimtab.errors import ConflictError, NotFoundError, TrimtabError, UsageError
from trimtab.model import registry
from trimtab.serve import folder as endpoint_folder
from trimtab.serve import notice
from trimtab.serve import routes as routing
from trimtab.serve.access import tokens
from trimtab.serve.access.auth import check_bind
from trimtab.serve.folder import Settings, State, read_state, write_settings
from trimtab.serve.process import alive, started
from trimtab.serve.routes import Role, RoutesFile, RouteSpec
from trimtab.store import operations
from trimtab.store.records import Endpoint, Version
from trimtab.store.workspace import Workspace

TARGET: Final = "local"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 6.0  # within these an endpoint has tried its routes again


def folder(ws: Workspace, name: str) -> Path:
    """The folder of an endpoint: its settings, routes, state and prediction log."""
    return ws.root / "endpoints" / name


def log_folder(ws: Workspace, name: str) -> Path:
    """Where an endpoint's prediction log is."""
    return folder(ws, name) / "log"


def package_folder(ws: Workspace, digest: str) -> Path:
    """A model package checked out to a folder of its own, made once, its attachments beside it."""
    return registry.folder(ws, digest)


def spec(ws: Workspace, version: Version, role: Role, weight: float) -> RouteSpec:
    """A route to a version's package."""
    return RouteSpec(
        role=role,
        model=version.digest,
        label=version.label,
        folder=str(package_folder(ws, version.digest)),
        weight=weight,
    )


def set_routes(
    ws: Workspace, name: str, routes: list[RouteSpec], shadow: list[RouteSpec] | None = None
) -> None:
    """Tell an endpoint which models answer; the same routes again change nothing."""
    place = folder(ws, name)
    place.mkdir(parents=True, exist_ok=True)
    old = _routes(place)
    new = RoutesFile(
        version=(old.version if old else 0) + 1,
        name=name,
        routes=tuple(routes),
        shadow=tuple(shadow or ()),
    )
    if old is None or msgspec.structs.replace(new, version=old.version) != old:
        routing.write(place, new)
    _save(ws, name, routes=msgspec.to_builtins(_routes(place)))


def start(
    ws: Workspace,
    name: str,
    serve: ServeConfig,
    *,
    port: int | None = None,
    verify_key: str = "",
) -> Endpoint:
    """Start an endpoint that has routes, or adopt the one that runs; waits until it is ready.

    Raises ConflictError where its port is taken or it was retired, TrimtabError with its log's end
    where it fails, RefusedError where a model of its routes is not signed with `verify_key`.
    """
    running = find(ws, name)
    if running is not None and running.state == "ready":
        return running
    place = folder(ws, name)
    if notice.is_gone(place):
        raise ConflictError(
            f"endpoint {name!r} was retired", hint="`trimtab deploy --revive` brings it back"
        )
    _check_signatures(ws, place, verify_key)
    orphan = read_state(place)
    if orphan is not None and orphan.ready and alive(orphan.pid, orphan.pid_started):
        # Whoever started it was killed before he could say so.
        return _save(
            ws, name, state="ready", host=orphan.host, port=orphan.port,
            pid=orphan.pid, pid_started=orphan.pid_started,
        )  # fmt: skip
    wanted = serve.port if port is None else port
    known = running.port if running is not None and not wanted else wanted
    for attempt in dict.fromkeys((known, wanted)):
        try:
            return _launch(ws, name, place, serve, attempt)
        except ConflictError:
            if attempt == wanted:
                raise
    raise AssertionError("a start either returns or raises")


def unheard(ws: Workspace, name: str, serve: ServeConfig, port: int | None = None) -> list[str]:
    """Settings that a running endpoint was started with and that are others now.

    It takes them when it is started again.
    """
    found = find(ws, name)
    if found is None or found.state != "ready" or found.target != TARGET:
        return []
    try:
        had = endpoint_folder.read_settings(folder(ws, name))
    except TrimtabError:  # an older trimtab's
        return []
    now = _settings(ws, name, serve, port or serve.port or found.port)
    had = msgspec.structs.replace(had, port=found.port)
    return [key for key in Settings.__struct_fields__ if getattr(had, key) != getattr(now, key)]


def settle(ws: Workspace, name: str) -> None:
    """Wait until a running endpoint answers by the routes that were written last.

    Raises TrimtabError with its reason where it goes on with those before.
    """
    place = folder(ws, name)
    routes, begun, before = _routes(place), time.monotonic(), read_state(place)
    while routes is not None and before is not None:
        told, spent = read_state(place), time.monotonic() - begun
        if told is None or not alive(told.pid, told.pid_started):
            return
        if told.routes_version >= routes.version:
            return
        # What it said before it saw these routes is said of others.
        is_fresh = told.error and (told.error != before.error or spent > _RETRY_SECONDS)
        if is_fresh or spent > _START_SECONDS:
            raise TrimtabError(
                f"endpoint {name!r} goes on with the models that it had: "
                f"{told.error or f'it took no others within {_START_SECONDS:.0f} s'}"
            )
        time.sleep(0.02)


def find(ws: Workspace, name: str) -> Endpoint | None:
    """An endpoint as it really is: its row, corrected by whether its process lives."""
    rows = [one for one in operations.endpoints(ws) if one.name == name]
    if not rows:
        return None
    row = rows[0]
    if row.state in ("ready", "starting") and not alive(row.pid, row.pid_started):
        return _save(ws, name, state="lost", pid=0)
    return row


def check_ours(ws: Workspace, name: str) -> None:
    """Raises UsageError where the name is that of a monitor inside another server: nothing here answers."""
    if any(one.name == name and one.target != TARGET for one in operations.endpoints(ws)):
        raise UsageError(
            f"{name!r} answers inside another server: it is watched here, and neither run nor steered",
            hint="do it in that server; `trimtab deploy MODEL@vN --name NAME` serves the model here too, "
            f"`trimtab retire {name}` ends the watching",
        )


def every(ws: Workspace) -> list[Endpoint]:
    """Every endpoint as it really is."""
    found = (find(ws, row.name) for row in operations.endpoints(ws))
    return [one for one in found if one is not None]


def stop(ws: Workspace, name: str) -> Endpoint:
    """Stop an endpoint: it answers what it has accepted and ends; raises NotFoundError, UsageError."""
    row = find(ws, name)
    if row is None:
        raise NotFoundError(f"there is no endpoint {name!r}", hint="see `trimtab endpoints ls`")
    check_ours(ws, name)
    if row.pid:
        end(row.pid, row.pid_started)
    if notice.is_gone(folder(ws, name)):  # it stays what it is
        return _save(ws, name, pid=0)
    return _save(ws, name, state="stopped", pid=0)


def url(endpoint: Endpoint) -> str:
    """The address of an endpoint."""
    return f"http://{endpoint.host}:{endpoint.port}"


def state(ws: Workspace, name: str) -> State | None:
    """What the endpoint's process says of itself."""
    return read_state(folder(ws, name))


def refused(ws: Workspace, endpoint: Endpoint) -> str:
    """Why a running endpoint does not answer by its newest routes, "" where it does."""
    told = _told(ws, endpoint)
    return told.error if told is not None and told.routes_version < _given(endpoint) else ""


def settled(ws: Workspace, endpoint: Endpoint) -> bool:
    """Whether a running endpoint says that it answers by its newest routes."""
    told = _told(ws, endpoint)
    return told is not None and told.routes_version >= _given(endpoint)


def _given(endpoint: Endpoint) -> int:
    return int(endpoint.routes.get("version", 0))


def _told(ws: Workspace, endpoint: Endpoint) -> State | None:
    found = state(ws, endpoint.name) if endpoint.state == "ready" else None
    return found if found is not None and found.pid == endpoint.pid else None


def end(pid: int, since: float) -> None:
    """End a process that is still the one that began then; it may finish what it has begun."""
    if not alive(pid, since):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid or os.getpid(), os.WNOHANG)
        return
    for sign, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 2.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if not alive(pid, since):
                return
            time.sleep(0.02)


def _launch(ws: Workspace, name: str, place: Path, serve: ServeConfig, port: int) -> Endpoint:
    place.mkdir(parents=True, exist_ok=True)
    settings = _settings(ws, name, serve, port)
    check_bind(serve.host, place, settings.auth)
    write_settings(place, settings)
    (place / endpoint_folder.STATE).unlink(missing_ok=True)
    _save(ws, name, state="starting", host=serve.host)
    with (place / "endpoint.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "trimtab.serve.endpoint", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=place,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = read_state(place)
        if found is not None and found.ready and found.pid == process.pid:
            return _save(
                ws,
                name,
                state="ready",
                pid=found.pid,
                pid_started=started(found.pid),
                port=found.port,
            )
        if found is not None and found.error and not found.ready and found.pid == process.pid:
            end(process.pid, started(process.pid))
            _save(ws, name, state="stopped", pid=0)
            raise TrimtabError(f"endpoint {name!r} cannot serve: {found.error}", hint=_tail(place))
        if process.poll() is not None:
            _save(ws, name, state="stopped", pid=0)
            raise _failed(name, place, process.returncode, port)
        time.sleep(0.02)
    process.kill()
    _save(ws, name, state="stopped", pid=0)
    raise TrimtabError(
        f"endpoint {name!r} was not ready after {_START_SECONDS:.0f} s", hint=_tail(place)
    )


def _settings(ws: Workspace, name: str, serve: ServeConfig, port: int) -> Settings:
    return Settings(
        name=name,
        project=ws.project_name,
        host=serve.host,
        port=port,
        event_time=serve.event_time,
        pii=serve.pii,
        invalid=serve.invalid,
        sample=serve.sample,
        disk_full=serve.disk_full,
        sticky=serve.sticky,
        allow_python=serve.allow_python,
        workers=serve.workers or os.cpu_count() or 1,
        auth=tokens.resolve(serve.auth, ws.project_dir),
        limits=serve.limits,
    )


def _check_signatures(ws: Workspace, place: Path, verify_key: str) -> None:
    routes = _routes(place) if verify_key else None
    for one in (*routes.routes, *routes.shadow) if routes else ():
        registry.check_signature(ws, one.model, verify_key)


def _failed(name: str, place: Path, code: int, port: int) -> TrimtabError:
    if code == ConflictError.exit_code:
        return ConflictError(
            f"port {port} is in use by another process",
            hint="choose another with `trimtab deploy --port N` or [serve] port, 0 for any free one",
        )
    return TrimtabError(
        f"endpoint {name!r} ended with code {code} as it started", hint=_tail(place)
    )


def _save(ws: Workspace, name: str, **fields: Any) -> Endpoint:
    rows = [one for one in operations.endpoints(ws) if one.name == name]
    row = (
        rows[0]
        if rows
        else Endpoint(
            name=name,
            target=TARGET,
            state="stopped",
            folder=str(folder(ws, name)),
            created_at=ids.now(),
        )
    )
    row = msgspec.structs.replace(row, **fields)
    operations.save_endpoint(ws, row)
    return row


def _routes(place: Path) -> RoutesFile | None:
    path = place / routing.FILE
    return msgspec.json.decode(path.read_bytes(), type=RoutesFile) if path.is_file() else None


def _tail(place: Path) -> str:
    path = place / "endpoint.log"
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "its log ends: " + " | ".join(lines[-3:]) if lines else f"its log is {path}"
