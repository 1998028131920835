"""Operations on rollouts: what they wait for, what a person may do with them, tests and drills."""

from __future__ import annotations

from typing import Any, Final

from trimtab.loop.releases import shown
from trimtab.server import requests as asked
from trimtab.server.operation import Operation

LS: Final = Operation(
    name="rollouts.ls",
    method="GET",
    path="/rollouts",
    summary="Rollouts and A/B tests, newest first.",
    request=asked.RolloutFilter,
    response=shown.RolloutsListed,
    handler="rollouts:ls",
)
SHOW: Final = Operation(
    name="rollouts.show",
    method="GET",
    path="/rollouts/{id}",
    summary="A rollout: its stage, its verdicts and what it waits for.",
    request=asked.Identified,
    response=shown.RolloutShown,
    handler="rollouts:show",
)
REPORT: Final = Operation(
    name="rollouts.report",
    method="GET",
    path="/rollouts/{id}/report",
    summary="The arms of an A/B test beside each other.",
    request=asked.Identified,
    response=shown.ArmsCompared,
    handler="rollouts:report",
)
ADVANCE: Final = Operation(
    name="rollouts.advance",
    method="POST",
    path="/rollouts/{id}/advance",
    summary="Move a rollout one stage on, from the last one to champion.",
    request=asked.Advance,
    response=shown.Steered,
    handler="rollouts:advance",
    mutates=True,
)
HOLD: Final = Operation(
    name="rollouts.hold",
    method="POST",
    path="/rollouts/{id}/hold",
    summary="Keep a rollout at its stage until it is released.",
    request=asked.ByHand,
    response=shown.Steered,
    handler="rollouts:hold",
    mutates=True,
)
RELEASE: Final = Operation(
    name="rollouts.release",
    method="POST",
    path="/rollouts/{id}/release",
    summary="Let a rollout that is held go on.",
    request=asked.ByHand,
    response=shown.Steered,
    handler="rollouts:release",
    mutates=True,
)
ROLLBACK: Final = Operation(
    name="rollouts.rollback",
    method="POST",
    path="/rollouts/{id}/rollback",
    summary="End a rollout: the champion answers alone again.",
    request=asked.ByHand,
    response=shown.Steered,
    handler="rollouts:rollback",
    mutates=True,
)
DRILL: Final = Operation(
    name="rollouts.drill",
    method="POST",
    path="/rollouts/drill",
    summary="Roll back on a live endpoint, time it, count lost answers.",
    request=asked.Drill,
    response=shown.Drilled,
    handler="rollouts:drill",
    mutates=True,
)
TABLE: Final[tuple[Operation[Any, Any], ...]] = (
    LS,
    SHOW,
    REPORT,
    ADVANCE,
    HOLD,
    RELEASE,
    ROLLBACK,
    DRILL,
)
