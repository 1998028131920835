"""A kept replay read back, with none of what made it: the server shows it and trains nothing."""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab.errors import NotFoundError
from trimtab.loop.replay.report import REPORT, Replayed
from trimtab.store import runs, trees
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace

KIND: Final = "replay"
FOLDER: Final = "replay"


def read(ws: Workspace, run: Run) -> Replayed | None:
    """The report of a run, None where it is no replay or ended early."""
    if run.kind != KIND:
        return None
    for link in runs.links(ws, run.id):
        if (link.direction, link.name) == ("out", FOLDER):
            try:
                entry = trees.walk(ws.blobs, link.digest)[REPORT]
                return msgspec.json.decode(ws.blobs.read(entry.digest), type=Replayed)
            except (KeyError, NotFoundError, msgspec.MsgspecError):
                return None  # from a version of another shape, or removed
    return None
