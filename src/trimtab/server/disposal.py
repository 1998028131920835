"""Operations on the end of a run's life: deleted, restored, collected for good."""

from __future__ import annotations

from typing import Any, Final

from trimtab.server import requests as asked
from trimtab.server.operation import Operation
from trimtab.store.collected import Collection, Disposed

RUNS_DELETE: Final = Operation(
    name="runs.delete",
    method="POST",
    path="/runs/delete",
    summary="Delete runs, or an experiment with its runs: they can be restored.",
    request=asked.Disposal,
    response=Disposed,
    handler="disposal:delete",
    mutates=True,
)
RUNS_RESTORE: Final = Operation(
    name="runs.restore",
    method="POST",
    path="/runs/restore",
    summary="Take the deletion of runs, or of an experiment, back.",
    request=asked.Disposal,
    response=Disposed,
    handler="disposal:restore",
    mutates=True,
)
GC_PLAN: Final = Operation(
    name="gc.plan",
    method="GET",
    path="/gc",
    summary="What a collection of deleted runs would take, in rows and bytes.",
    request=asked.Age,
    response=Collection,
    handler="disposal:plan",
)
GC: Final = Operation(
    name="gc",
    method="POST",
    path="/gc",
    summary="Take deleted runs away for good, with what nothing else names.",
    request=asked.Age,
    response=Collection,
    handler="disposal:collect",
    mutates=True,
)
TABLE: Final[tuple[Operation[Any, Any], ...]] = (RUNS_DELETE, RUNS_RESTORE, GC_PLAN, GC)
