"""What a process that serves an endpoint's folder holds: the folder, and a listening socket.

Light: a process without models holds them too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trimtab.errors import ConflictError
from trimtab.serve.folder import DRAIN_SECONDS, STATE, read_state
from trimtab.serve.process import alive

_LOCK_SECONDS: Final = DRAIN_SECONDS + 2.0


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
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
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """The listening socket; raises ConflictError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ConflictError(
                f"{host}:{port} "
                + ("is in use already" if taken else f"cannot be bound: {error.strerror}"),
                hint="stop what listens there, or set another [serve] port (0 picks a free one)",
            ) from error
        yield listener
    finally:
        listener.close()
