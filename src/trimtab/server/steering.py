"""Operations on what steers a project: triggers, the controller's rest, a word on data."""

from __future__ import annotations

from typing import Any, Final

from trimtab.loop import reports
from trimtab.server import answers
from trimtab.server import requests as asked
from trimtab.server.operation import Operation

TRIGGERS_LS: Final = Operation(
    name="triggers.ls",
    method="GET",
    path="/triggers",
    summary="What starts flows.",
    request=asked.Nothing,
    response=answers.Triggers,
    handler="triggers:ls",
)
TRIGGERS_SHOW: Final = Operation(
    name="triggers.show",
    method="GET",
    path="/triggers/{name}",
    summary="A trigger and what it started, or why not.",
    request=asked.Named,
    response=answers.TriggerShown,
    handler="triggers:show",
)
TRIGGERS_FIRE: Final = Operation(
    name="triggers.fire",
    method="POST",
    path="/triggers/{name}/fire",
    summary="Fire a trigger by hand.",
    request=asked.Firing,
    response=answers.Fired,
    handler="triggers:fire",
    mutates=True,
    status=202,
)
TRIGGERS_BACKFILL: Final = Operation(
    name="triggers.backfill",
    method="POST",
    path="/triggers/{name}/backfill",
    summary="Fire the scheduled moments of a range that had none.",
    request=asked.Backfill,
    response=answers.Fired,
    handler="triggers:backfill",
    mutates=True,
    status=202,
)
PAUSE: Final = Operation(
    name="pause",
    method="POST",
    path="/pause",
    summary="Let the controller observe and start nothing.",
    request=asked.Reason,
    response=answers.Paused,
    handler="triggers:paused",
    mutates=True,
)
RESUME: Final = Operation(
    name="resume",
    method="POST",
    path="/resume",
    summary="Let the controller act again.",
    request=asked.Nothing,
    response=answers.Paused,
    handler="triggers:resumed",
    mutates=True,
)
DATA_ACCEPT: Final = Operation(
    name="data.accept",
    method="POST",
    path="/data/{reference}/accept",
    summary="Let a data version be trained on, whatever acceptance measured; its rows are trusted.",
    request=asked.Acceptance,
    response=reports.Admission,
    handler="data:accept",
    mutates=True,
)
TABLE: Final[tuple[Operation[Any, Any], ...]] = (
    TRIGGERS_LS,
    TRIGGERS_SHOW,
    TRIGGERS_FIRE,
    TRIGGERS_BACKFILL,
    DATA_ACCEPT,
    PAUSE,
    RESUME,
)
