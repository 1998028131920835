"""What others write while a server holds its board: runs of `trimtab run` and of the SDK, models that pass.

The runs are shown to MLflow's clients in the experiment "Default" and can only be read there. Whether
anything was written costs a look at a number that SQLite keeps; only then the runs that changed are
read, four times a second at most.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from trimtab.errors import TrimtabError
from trimtab.interop.mlflow import ours, rows
from trimtab.interop.mlflow.board import ROOT, Board
from trimtab.interop.mlflow.state import TrackedRun
from trimtab.store import changes, deleted, tables
from trimtab.store.database import from_row
from trimtab.store.packed import Points
from trimtab.store.records import Run
from trimtab.store.statements import in_parts

_said = logging.getLogger("trimtab.interop")
SECONDS: Final = 0.25
KINDS: Final = ("flow", "run")
Latest = dict[str, tuple[int, int, float]]
"""Step, time in microseconds and value of the last point of each series."""
KIND: Final = "trimtab.kind"
_NAME: Final = "mlflow.runName"


class Following:
    """Keeps a board up with the rows that other processes write."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._link: sqlite3.Connection | None = None
        self._version = -1
        self._after = 0.0
        self._of: object = None
        self._shown: set[str] = set()
        self._mark = 0
        self._passed: object = None

    def is_behind(self) -> bool:
        """Whether there may be something new; asks no table."""
        if self._of is not self._board.runs:  # the board was read anew, without what is shown here
            return True
        return time.monotonic() >= self._after and self._asked() != self._version

    def catch_up(self) -> None:
        """Take in what has changed since the last time."""
        with self._lock:
            if not self.is_behind():
                return
            board, self._version = self._board, self._asked()
            placed = board.runs
            is_new = self._of is not placed
            passed = ours.mark(board.ws)
            if passed != self._passed:
                try:
                    ours.publish(board.ws)
                except TrimtabError as error:  # a full disk: what is there can be read all the same
                    _said.warning("files of models that passed are not shown: %s", error.message)
                    passed = None  # tried again with the next change
            mark, told = self._told(is_new)
            found = _rows(board, told)
            shown = set() if is_new else self._shown
            gone = (shown if told is None else shown & told) - found
            shared = {run for run in found if run in placed and not placed[run].is_followed}
            # What nobody changes through the board is read without holding anybody up.
            taken = list(_records(board, sorted(found - shared)))
            with board.lock:
                if board.runs is not placed:  # it was read anew meanwhile
                    return
                for one, last in (*taken, *_records(board, sorted(shared))):
                    self._take(one, last)
                for run in gone:
                    self._drop(run)
                if is_new or passed != self._passed:
                    ours.show(board)
            self._of, self._passed = placed, passed
            self._shown, self._mark = (shown - gone) | found, mark
            self._after = time.monotonic() + SECONDS

    def close(self) -> None:
        """Give the connection back."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _asked(self) -> int:
        """A number that is another once anybody else has committed."""
        if self._link is None:
            path = self._board.ws.engine.url.database or ""
            self._link = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            # No server says when it ends; the connection goes with whoever held it.
            weakref.finalize(self, self._link.close)
        return int(self._link.execute("PRAGMA data_version").fetchone()[0])

    def _told(self, is_new: bool) -> tuple[int, set[str] | None]:
        """A mark of what has been committed by now, and the runs that changed since the last one."""
        ws = self._board.ws
        with ws.reading() as db:
            mark = changes.mark(db)
            told = None if is_new else changes.since(db, ws, self._mark)
        return mark, None if told is None else told.runs | told.points

    def _take(self, row: Run, last: Latest) -> None:
        board = self._board
        one = board.runs.get(row.id)
        if one is None:
            one = TrackedRun(
                id=row.id,
                experiment=0,
                name=row.name,
                user="",
                start=row.started_at // 1000,
                location=f"{ROOT}0/{row.id}/artifacts",
                is_followed=True,
            )
            board.place(one)
        else:
            board.renew(one)
        one.name, one.status = row.name, rows.WORDS[row.status]
        one.end = row.ended_at // 1000 if row.ended_at else None
        one.params = {key: _text(value) for key, value in row.params.items()}
        one.tags = {key: _text(value) for key, value in row.tags.items()} | {_NAME: row.name}
        if one.is_followed:
            one.tags[KIND] = row.kind
            if row.parent:
                one.tags[rows.PARENT] = row.parent
        one.metrics = Points(
            {key: (value, moment // 1000, step) for key, (step, moment, value) in last.items()}
        )
        one.is_summed = True

    def _drop(self, run: str) -> None:
        one = self._board.runs.get(run)
        if one is not None and one.is_followed:
            self._board.unplace(one)


def _rows(board: Board, among: set[str] | None) -> set[str]:
    """Which runs, of some or of all, have a process: a client's own has none, unless the SDK has taken
    it up again.
    """
    table, found = tables.runs, set[str]()
    query = sa.select(table.c.id).where(
        table.c.project == board.ws.project,
        table.c.kind.in_(KINDS),
        table.c.pid != 0,
        ~deleted.is_deleted(),
    )
    with board.ws.reading() as db:
        if among is None:
            return set(db.execute(query).scalars())
        for some in in_parts(sorted(among)):
            found |= set(db.execute(query.where(table.c.id.in_(some))).scalars())
    return found


def _records(board: Board, changed: list[str]) -> Iterator[tuple[Run, Latest]]:
    """The runs with their last points."""
    if not changed:
        return
    # Arrays are loaded where there is a series to read, not by a server that nobody logs to.
    from trimtab.store.series import newest  # noqa: PLC0415

    table = tables.runs
    for some in in_parts(changed):
        with board.ws.reading() as db:
            last = newest.ends(db, board.ws, some)
            for row in db.execute(sa.select(table).where(table.c.id.in_(some))):
                one = from_row(Run, row)
                yield one, last.get(one.id, {})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
