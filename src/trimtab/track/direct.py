"""Points straight into the store, for runs of a few points that a platform's own process makes.

A file for each trial of a search would cost more than it saves: such a run is made again, not saved.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.store.records import Point

if TYPE_CHECKING:  # a machine that only writes spools has no database
    from trimtab.store.workspace import Workspace

_BUFFERED: Final = 1_000
_SECONDS: Final = 1.0


class Direct:
    """Points in memory, stored when there are many, after a second, and at the end."""

    def __init__(self, ws: Workspace, run: str, steps: dict[str, int]) -> None:
        self.steps = steps
        self._ws = ws
        self._run = run
        self._points: list[Point] = []
        self._flushed = time.monotonic()
        self.batches = 0

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each named series; raises UsageError for a value that is no number."""
        now = ids.now()
        for key, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError) as error:
                raise UsageError(f"metric {key!r} is no number: {value!r}") from error
            at = self.steps.get(key, 0) if step is None else step
            self.steps[key] = at + 1
            self._points.append(Point(key=key, step=at, time=now, value=number))
        if len(self._points) >= _BUFFERED or time.monotonic() - self._flushed > _SECONDS:
            self.flush()

    def columns(self, key: str, steps: bytes, values: bytes, now: int) -> None:
        """Add points as columns: little-endian int64 steps and float64 values."""
        pairs = zip(memoryview(steps).cast("q"), memoryview(values).cast("d"), strict=True)
        self._points += [Point(key=key, step=at, time=now, value=one) for at, one in pairs]
        self.flush()

    def flush(self) -> None:
        """Store what is in memory."""
        # The database, only where points go straight into it.
        from trimtab.store import metrics  # noqa: PLC0415

        points, self._points = self._points, []
        self.batches += bool(points)
        self._flushed = time.monotonic()
        try:
            metrics.append(self._ws, self._run, points)
        except BaseException:
            self._points = points + self._points
            raise
