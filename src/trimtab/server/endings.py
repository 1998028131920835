"""Operations on the end of an endpoint's life: who calls it, what retiring means, and doing it."""

from __future__ import annotations

from typing import Any, Final

from trimtab.loop.retiring.ending import Plan, Retirement
from trimtab.server import answers
from trimtab.server import requests as asked
from trimtab.server.operation import Operation

CONSUMERS: Final = Operation(
    name="endpoints.consumers",
    method="GET",
    path="/endpoints/{name}/consumers",
    summary="Who called an endpoint in the last 30 days.",
    request=asked.Named,
    response=answers.Consumers,
    handler="endings:consumers",
)
RETIRE_PLAN: Final = Operation(
    name="retire.plan",
    method="GET",
    path="/endpoints/{name}/retire",
    summary="What retiring an endpoint would end, erase, keep and free.",
    request=asked.Ending,
    response=Plan,
    handler="endings:plan",
)
RETIRE: Final = Operation(
    name="retire",
    method="POST",
    path="/endpoints/{name}/retire",
    summary="Retire an endpoint: announced, then 410 with its successor, then gone.",
    request=asked.Ending,
    response=Plan,
    handler="endings:retire",
    mutates=True,
)
RETIRE_CANCEL: Final = Operation(
    name="retire.cancel",
    method="POST",
    path="/endpoints/{name}/retire/cancel",
    summary="Take the announcement of an end back.",
    request=asked.Named,
    response=Retirement,
    handler="endings:cancel",
    mutates=True,
)
TABLE: Final[tuple[Operation[Any, Any], ...]] = (CONSUMERS, RETIRE_PLAN, RETIRE, RETIRE_CANCEL)
