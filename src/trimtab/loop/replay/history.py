"""History as a replay walks it: labelled rows in order of time, cut into windows.

Rows without a label or a time are left out and counted in the notes. Which labels are known when a
window opens follows from the delay alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.config import duration
from trimtab.errors import DataError, UsageError
from trimtab.tune import roles as naming
from trimtab.tune import study
from trimtab.tune.candidate import Class, Kind, Task
from trimtab.tune.frames import features as prepared
from trimtab.tune.learner import EVEN, Decide

WINDOWS: Final = 50
LEAST: Final = 6
"""Windows to test in; fewer say nothing of noise between windows."""
_ROWS: Final = re.compile(r"\d+")
_FEW: Final = 10


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """How history is cut: `window` and `delay` are rows ("500") or a time ("1d").

    `window` is "" for fiftieths of the rows. `first` is the share of rows that every policy is
    trained on before the first test.
    """

    window: str = ""
    delay: str = "0"
    first: float = 0.2


@dataclass(frozen=True, eq=False)
class History:
    """`table` holds the features as estimators get them; `labels` classes or numbers, `codes` their
    places among `classes`. Window k is rows `starts[k]` to `starts[k + 1]`; those before window
    `begin` are the first part. `seen[k]` labels are known when window k opens, `known_at[i]` rows
    when row i comes. `times` are microseconds.
    """

    table: pl.DataFrame
    labels: NDArray[Any]
    codes: NDArray[Any]
    classes: tuple[Class, ...]
    task: Task
    times: NDArray[np.int64] | None
    starts: tuple[int, ...]
    begin: int
    seen: tuple[int, ...]
    known_at: NDArray[np.int64]
    notes: tuple[str, ...]
    decide: Decide = EVEN

    @property
    def rows(self) -> int:
        """Rows in all."""
        return len(self.labels)

    @property
    def windows(self) -> range:
        """The windows that are tested."""
        return range(self.begin, len(self.starts) - 1)

    @property
    def tested(self) -> int:
        """The row with which testing begins."""
        return self.starts[self.begin]

    def rows_of(self, window: int) -> slice:
        """The rows of a window."""
        return slice(self.starts[window], self.starts[window + 1])

    def moment(self, row: int) -> int:
        """The time of a row, 0 where there are none."""
        return 0 if self.times is None else int(self.times[row])


def build(
    frame: pl.DataFrame,
    *,
    target: str,
    time: str,
    features: dict[str, Kind],
    cut: Cut,
    task: Task | None = None,
    decide: str = "",
) -> History:
    """Order, clean and cut a table; raises DataError or UsageError saying what does not fit.

    Without `time` the rows are taken in the order in which they stand. `decide` is as in the
    project file.
    """
    notes: list[str] = []
    rows = _labelled(frame, target, notes)
    rows, times = _ordered(rows, time, notes)
    task = task or naming.task_of(rows[target])
    labels = study.outcomes(rows[target], task)
    classes: tuple[Class, ...] = ()
    codes = labels
    if task != "regression":
        known, codes = np.unique(labels, return_inverse=True)
        classes = tuple(known.tolist())
        task = task if (task == "binary") == (len(classes) == 2) else naming.task_of(rows[target])
    starts = _starts(len(labels), times, cut.window)
    begin = _begin(codes, starts, cut.first, task, notes)
    tested = len(starts) - 1 - begin
    if tested < LEAST:
        raise DataError(
            f"{len(labels)} labelled rows make {len(starts) - 1} windows, and after the first part "
            f"{max(tested, 0)} are left to test in; {LEAST} are needed",
            hint="cut shorter windows with --window, or a smaller first part with --first",
        )
    known_at = _known(len(labels), times, cut.delay)
    return History(
        table=prepared(rows, features),
        labels=labels,
        codes=codes,
        classes=classes,
        task=task,
        times=times,
        starts=starts,
        begin=begin,
        seen=tuple(int(known_at[row]) for row in starts[:-1]),
        known_at=known_at,
        notes=tuple(notes),
        decide=_decide(decide, classes, task),
    )


def _decide(text: str, classes: tuple[Class, ...], task: Task) -> Decide:
    positive, threshold = naming.decision(text, classes, task)
    if positive is None or threshold is None:
        return EVEN
    return Decide(classes.index(positive), threshold)


def _labelled(frame: pl.DataFrame, target: str, notes: list[str]) -> pl.DataFrame:
    rows = frame.drop_nulls([target])
    if rows.schema[target].is_float():
        rows = rows.drop_nans([target])
    if missing := frame.height - rows.height:
        notes.append(f"{missing:,} of {frame.height:,} rows have no {target} and are left out")
    if not rows.height:
        raise DataError(f"no row has a {target}", hint="a replay needs labels")
    return rows


def _ordered(
    rows: pl.DataFrame, time: str, notes: list[str]
) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
    if not time:
        notes.append("rows are taken in the order in which they stand: no time column is named")
        return rows, None
    kind = rows.schema[time]
    if not (isinstance(kind, pl.Datetime | pl.Date) or kind.is_numeric()):
        raise DataError(
            f"column {time!r} holds {kind}, no times",
            hint="name a column of dates or moments with --time, or use --in-order",
        )
    dated = rows.drop_nulls([time])
    if kind.is_float():
        dated = dated.drop_nans([time])
    if missing := rows.height - dated.height:
        notes.append(f"{missing:,} rows have no {time} and are left out")
    order = dated[time] if kind.is_numeric() else dated[time].cast(pl.Datetime("us")).to_physical()
    back = int((order.diff().drop_nulls() < 0).sum())
    if back:
        notes.append(f"{time} goes back {back:,} times: the rows are sorted by it")
        dated = dated.sort(time, maintain_order=True)
    if kind.is_numeric():
        return dated, None
    return dated, dated[time].cast(pl.Datetime("us")).to_physical().to_numpy()


def _starts(rows: int, times: NDArray[np.int64] | None, window: str) -> tuple[int, ...]:
    """The first row of each window, and the end; a short last window joins the one before it."""
    if window and not _ROWS.fullmatch(window):
        if times is None:
            raise UsageError(
                f"--window {window} is a length of time, and the rows have no dates",
                hint="name the column with --time, or give rows: --window 500",
            )
        bucket = times // _span(window, "--window")
        found = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1)).tolist()
        return (*found, rows)
    size = int(window) if window else max(rows // WINDOWS, 1)
    if size < 1:
        raise UsageError("--window 0 holds no row", hint="give rows or a time: 500, 1d")
    found = list(range(0, rows, size))
    if len(found) > 1 and rows - found[-1] < size / 2:
        found.pop()
    return (*found, rows)


def _begin(
    codes: NDArray[Any], starts: tuple[int, ...], first: float, task: Task, notes: list[str]
) -> int:
    """The first window that is tested: behind the share, and behind two classes to learn from."""
    rows = len(codes)
    begin = next((k for k, row in enumerate(starts) if row >= max(first * rows, _FEW)), len(starts))
    if task == "regression":
        return begin
    asked = begin
    while begin < len(starts) and len(np.unique(codes[: taught(0, starts[begin]).stop])) < 2:
        begin += 1
    if asked < begin < len(starts):
        notes.append(
            f"the first part was made longer, {starts[begin]:,} rows: before, there is one class only"
        )
    return begin


def taught(start: int, stop: int) -> slice:
    """The part of some rows that is learned from: all but the last fifth, as `search` does."""
    return slice(start, stop - (stop - start) // 5)


def _known(rows: int, times: NDArray[np.int64] | None, delay: str) -> NDArray[np.int64]:
    """How many labels are known when each row comes: never its own."""
    own = np.arange(rows)
    if _ROWS.fullmatch(delay):
        return np.maximum(own - int(delay), 0)
    if times is None:
        raise UsageError(
            f"--delay {delay} is a length of time, and the rows have no dates",
            hint="name the column with --time, or give rows: --delay 500",
        )
    found = np.searchsorted(times + _span(delay, "--delay"), times, side="right")
    return np.minimum(found, own)


def _span(text: str, option: str) -> int:
    try:
        found = duration(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is neither rows nor a length of time", hint="such as 500, 6h or 1d"
        ) from error
    if found <= 0 and option == "--window":
        raise UsageError(f"{option} {text} holds nothing", hint="such as 500, 6h or 1d")
    return found
