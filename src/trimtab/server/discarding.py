"""The page of deleted runs, and the forms that delete runs and restore them.

Deleting from a page asks to be sure; it can be taken back until a collection takes the runs for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from trimtab.errors import UsageError
from trimtab.loop.project import Project
from trimtab.server import disposal
from trimtab.server.requests import Disposal
from trimtab.store import deleted
from trimtab.store.records import Run

SHOWN: Final = 100
PLACE: Final = "/runs/deleted"
_BACK: Final = re.compile(r"/runs(/deleted|/[0-9a-f]{32})?(\?[\x21-\x7e]*)?\Z")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A deleted run, when it was deleted (microseconds), and how many inside it went with it."""

    run: Run
    at: int
    inside: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deleted runs, those that went last first; `next` is the address of the next one."""

    rows: list[Row]
    total: int
    next: str = ""
    first: str = ""


def page(project: Project, query: Mapping[str, str]) -> Page:
    """The runs that can be restored; one that went with the run around it stands there alone."""
    ws = project.ws
    gone = deleted.find(ws)
    found = {run.id: run for run in deleted.load(ws, gone)}
    outer = [run for run in found.values() if gone.get(run.parent) != gone[run.id]]
    outer.sort(key=lambda run: (gone[run.id], run.id), reverse=True)
    asked = query.get("from", "")
    begin = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else 0
    shown = outer[begin : begin + SHOWN]
    wholes = deleted.inside(ws, [run.id for run in shown])
    rows = [
        Row(
            run=run,
            at=gone[run.id],
            inside=sum(gone.get(one) == gone[run.id] for one in wholes[run.id]) - 1,
        )
        for run in shown
    ]
    is_last = begin + SHOWN >= len(outer)
    return Page(
        rows=rows,
        total=len(outer),
        next="" if is_last else f"{PLACE}?from={begin + SHOWN}",
        first=PLACE if begin else "",
    )


def act(project: Project, what: str, given: Mapping[str, list[str]]) -> str | None:
    """Do what a form asks for; the address to go on at, None for what there is not.

    Raises UsageError where nothing is chosen or nobody is sure, and what the operations raise.
    """
    chosen = given.get("run", [])
    if what not in ("delete", "restore"):
        return None
    if not chosen:
        raise UsageError("no run is chosen", hint="go back, tick some, and ask again")
    if what == "restore":
        disposal.RUNS_RESTORE.call(project, Disposal(ids=chosen))
    elif given.get("sure") != ["1"]:
        raise UsageError("nothing was deleted: nobody said to be sure", hint="go back and tick it")
    else:
        asked = Disposal(ids=chosen, force=given.get("force") == ["1"])
        disposal.RUNS_DELETE.call(project, asked)
    back = given.get("back", [""])[-1]
    return back if _BACK.match(back) else "/runs"
