"""The records of an endpoint's end: what a person wants, what that means, how far it is.

Light: no database is loaded.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trimtab.serve.access.consumers import Consumer
from trimtab.store.records import Endpoint

Phase = Literal["announced", "gone", "retired", "cancelled", "revived"]


class Retirement(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's end. Times are microseconds, 0 for what has not come yet.

    `successor` is as a person named it, `link` its address. `erase` says what is erased and from
    when on. `callers` called within the last 30 days when it was announced. `models` are labels,
    `aliases` those that were taken away, each `NAME@ALIAS` with its digest.
    """

    id: str
    endpoint: str
    phase: Phase
    reason: str = ""
    by: str = ""
    successor: str = ""
    link: str = ""
    announced_at: int = 0
    sunset_at: int = 0
    gone_at: int = 0
    until: int = 0
    retired_at: int = 0
    ended_at: int = 0
    callers: int = 0
    models: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    erase: dict[str, int] = {}
    price_per_month: float = 0.0


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint shall end. `within` is a span ("2w") or a moment ("2027-01-31"); empty is now."""

    endpoint: str = ""
    successor: str = ""
    within: str = ""
    reason: str = ""
    by: str = ""
    force: bool = False


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What is erased and when: `at` 0 is as soon as it is gone; `erased_at` is 0 before it was."""

    what: str
    about: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    at: int = 0
    erased_at: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is not erased, and why."""

    what: str
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that retiring means; `refusal` says why it would not be done now.

    `consumers` called in the last 30 days, `recent` of them within `[retire] quiet`. `memory` and
    `disk` are bytes that it frees, `price_per_month` is its share of the machine's price. `newest_row`
    is when a monitor inside another server logged last.
    """

    endpoint: Endpoint
    url: str
    models: list[str]
    retirement: Retirement | None
    consumers: list[Consumer]
    recent: list[str]
    refusal: str
    sunset_at: int
    until: int
    successor: str
    link: str
    open_rollouts: list[str]
    erases: list[Erasure]
    keeps: list[Kept]
    memory: int
    disk: int
    price_per_month: float
    newest_row: int = 0
    done: bool = False
