"""Changes to tracked rows by somebody other than the server that holds them in memory.

Whoever changes them notes it inside of the transaction, so that a server which waited for its turn
sees the note before it writes. The note is the length of a file: asking costs one look at it.
"""

from __future__ import annotations

import os
from typing import Final

import sqlalchemy as sa

from trimtab.errors import StorageError
from trimtab.store import database, tables
from trimtab.store.workspace import Workspace

FILE: Final = "tracked.changes"


def note(ws: Workspace) -> None:
    """Say that tracked rows are changed in the open transaction; raises StorageError."""
    if not database.in_transaction(ws.engine):
        raise RuntimeError("a change is noted inside of its transaction")
    try:
        handle = os.open(ws.root / FILE, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        try:
            os.write(handle, b".")
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(f"cannot write {ws.root / FILE}: {error.strerror}") from error


def note_run(ws: Workspace, run: str) -> None:
    """Say that a run is changed in the open transaction, where it is one that clients log."""
    own = tables.tracked_runs
    query = sa.select(own.c.run).where(own.c.project == ws.project, own.c.run == run)
    with ws.reading() as db:
        is_theirs = db.execute(query).first() is not None
    if is_theirs:
        note(ws)


def noted(ws: Workspace) -> int:
    """How many changes were noted; what it says is sure only inside of a write transaction."""
    try:
        # text, not a Path, which costs more than the look: a server asks for every request
        return os.stat(f"{ws.root}{os.sep}{FILE}").st_size
    except FileNotFoundError:
        return 0
