"""The operation on replays: they are begun on the command line, and read here."""

from __future__ import annotations

from typing import Any, Final

from trimtab.loop.replay.report import Replayed
from trimtab.server import requests as asked
from trimtab.server.operation import Operation

RUNS_REPLAY: Final = Operation(
    name="runs.replay",
    method="GET",
    path="/runs/{id}/replay",
    summary="What a replay found: losses, cost and retrainings of each policy.",
    request=asked.Identified,
    response=Replayed,
    handler="replays:show",
)
TABLE: Final[tuple[Operation[Any, Any], ...]] = (RUNS_REPLAY,)
