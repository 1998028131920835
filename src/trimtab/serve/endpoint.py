"""A model endpoint as one detached process: `python -m trimtab.serve.endpoint FOLDER`.

Reads `endpoint.json` and `routes.json` of its folder, answers HTTP, follows changes of the routes,
and tells its state in `state.json`, written whole at every change. SIGTERM lets every request that
was begun be answered; a second one ends it at once. docs/serving.md describes the folder.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trimtab.errors import TrimtabError, UsageError
from trimtab.serve import contracts, notice, tombstone, worker
from trimtab.serve.access.auth import check_bind
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings, State, read_settings, write_state
from trimtab.serve.holding import bound, only_one
from trimtab.serve.process import started
from trimtab.serve.router import Router
from trimtab.serve.supervisor import Supervisor


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
    """Serve a folder; raises NotFoundError, UsageError, or ConflictError where its port is taken.

    Where `retire.json` says that the endpoint is gone, everything begun is answered and this process
    becomes the one that refuses: same id, same socket, no model.
    """
    folder = folder.resolve()
    settings = read_settings(folder)
    port = contracts.port_from(os.environ)
    if port is not None:
        settings = msgspec.structs.replace(settings, host="0.0.0.0", port=port)  # noqa: S104
    check_bind(settings.host, folder, settings.auth)
    with only_one(folder), bound(settings.host, settings.port) as listener:
        if notice.is_gone(folder):
            tombstone.become(folder, listener.fileno())
        state = State(
            pid=os.getpid(),
            pid_started=started(os.getpid()),
            host=settings.host,
            port=listener.getsockname()[1],
            ready=False,
        )
        if settings.workers > 1:
            tell = functools.partial(write_state, folder)
            kept = Supervisor(folder, settings, listener, tell, state).run()
        else:
            kept = _alone(folder, settings, listener, state)
        if kept >= 0:
            tombstone.become(folder, kept)


def _alone(folder: Path, settings: Settings, listener: socket.socket, state: State) -> int:
    """Answer in this very process; returns the socket to go on with, as `worker.run`."""
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

    return worker.run(worker.build(folder, settings, router), listener, tell)


if __name__ == "__main__":
    raise SystemExit(main())
