"""A model endpoint as one detached process: `python -m trimtab.serve.endpoint FOLDER`.

Reads `endpoint.json` and `routes.json` of its folder, answers HTTP, follows changes of the routes,
and tells its state in `state.json`, written whole at every change. SIGTERM lets every request that
was begun be answered; a second one ends it at once. docs/serving.md describes the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from trimtab.errors import ConflictError, TrimtabError, UsageError
from trimtab.serve import contracts, worker
from trimtab.serve.auth import check_bind
from trimtab.serve.engine import Engine
from trimtab.serve.folder import (
    DRAIN_SECONDS,
    STATE,
    Settings,
    State,
    read_settings,
    read_state,
    write_state,
)
from trimtab.serve.process import alive, started
from trimtab.serve.router import Router
from trimtab.serve.supervisor import Supervisor

_LOCK_SECONDS: Final = DRAIN_SECONDS + 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an endpoint until it is told to stop; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        if len(given) != 1:
            raise UsageError("usage: python -m trimtab.serve.endpoint FOLDER")
        run(Path(given[0]))
    except TrimtabError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        sys.stderr.write(f"trimtab: {error.message}{hint}\n")
        return error.exit_code
    return 0


def run(folder: Path) -> None:
    """Serve a folder; raises NotFoundError, UsageError, or ConflictError where its port is taken."""
    folder = folder.resolve()
    settings = read_settings(folder)
    port = contracts.port_from(os.environ)
    if port is not None:
        settings = msgspec.structs.replace(settings, host="0.0.0.0", port=port)  # noqa: S104
    check_bind(settings.host, folder, settings.auth)
    with _only_one(folder), _bound(settings) as listener:
        state = State(
            pid=os.getpid(),
            pid_started=started(os.getpid()),
            host=settings.host,
            port=listener.getsockname()[1],
            ready=False,
        )
        if settings.workers > 1:
            tell = functools.partial(write_state, folder)
            Supervisor(folder, settings, listener, tell, state).run()
        else:
            _alone(folder, settings, listener, state)


def _alone(folder: Path, settings: Settings, listener: socket.socket, state: State) -> None:
    """Answer in this very process."""
    router = Router(
        folder, settings.pii, invalid=settings.invalid, allow_python=settings.allow_python
    )
    router.reload()

    def tell(engine: Engine, is_alive: bool) -> None:
        table = engine.router.table
        now = msgspec.structs.replace(
            state,
            pid=state.pid if is_alive else 0,
            ready=engine.ready and is_alive,
            routes_version=table.version if table else 0,
            error=engine.router.error,
        )
        write_state(folder, now)

    worker.run(worker.build(folder, settings, router), listener, tell)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two processes never tell its state; raises ConflictError."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _lock(folder, handle)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path, handle: int) -> None:
    """Take the lock; workers whose supervisor was killed hold it until they have drained."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            state = read_state(folder)
            if time.monotonic() > until or (state and alive(state.pid, state.pid_started)):
                raise ConflictError(
                    f"an endpoint is already running from {folder}", hint=f"see {STATE} there"
                ) from None
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket; raises ConflictError where the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(2048)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ConflictError(
                f"{settings.host}:{settings.port} "
                + ("is in use already" if taken else f"cannot be bound: {error.strerror}"),
                hint="stop what listens there, or set another [serve] port (0 picks a free one)",
            ) from error
        yield listener
    finally:
        listener.close()


if __name__ == "__main__":
    raise SystemExit(main())
