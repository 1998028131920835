"""One at a time, among the processes of this machine; whoever dies lets the next one in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from trimtab import hashing
from trimtab.store.workspace import Workspace


@contextmanager
def turn(ws: Workspace, name: str) -> Iterator[None]:
    """Wait until no other process is inside under the same name."""
    folder = ws.root / "locks"
    folder.mkdir(exist_ok=True)
    short = hashing.object_digest("key", name).removeprefix(hashing.PREFIX)[:32]
    with (folder / short).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
