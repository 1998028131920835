"""What may start a flow, and how often: `[retrain]` and `[trigger.NAME]` of the project file.

Holds the settings, the words of `on` and the moments that a cron expression means; `loop.triggers`
goes by them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from trimtab import ids
from trimtab.errors import ConfigError

Overlap = Literal["skip", "queue", "replace"]
Kind = Literal["drift", "requirement", "data", "webhook", "rows", "cron", "after"]
PLAIN: Final = ("drift", "requirement", "data", "webhook")
VALUED: Final = ("rows", "cron", "after")
_NEVER_YEARS: Final = 9  # 29 February comes at least every eighth year
_LIMIT: Final = re.compile(r"(\d+)/(hour|day|week)")


class RetrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retrain]`: what proposes a new model, and the brakes on it; a trigger of the model's flow.

    A job that is at work for longer than `timeout` is stopped.
    """

    on: tuple[str, ...] = ()
    at_most: str = "1/day"
    code: Literal["champion", "applied"] = "champion"
    min_rows: int = 500
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    cooldown: str = "0s"
    catch_up: str = "1d"
    timeout: str = "6h"
    cost_per_day: float = 0.0
    max_depth: int = 3
    secret: str = ""


class TriggerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[trigger.NAME]`: what starts a flow of the project ("" is the model's), and the brakes on it.

    `at_most` is such as "3/day", "" without a limit; `cost_per_day` in the unit of
    `[serve] price_per_hour`, 0 without a limit. `secret` names what signs a webhook.
    """

    flow: str = ""
    on: tuple[str, ...] = ()
    at_most: str = ""
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    cooldown: str = "0s"
    catch_up: str = "1d"
    timeout: str = "6h"
    cost_per_day: float = 0.0
    max_depth: int = 3
    secret: str = ""


class On(NamedTuple):
    """One word of `on`: its kind and, for `rows:`, `cron:` and `after:`, what stands behind."""

    kind: Kind
    value: str = ""


def parse_on(text: str, where: str, timezone: str = "UTC") -> On:
    """A word of `on`; raises ConfigError where it is none, or never comes."""
    kind, colon, value = text.partition(":")
    if kind in PLAIN and not colon:
        return On(kind)  # type: ignore[arg-type]
    if kind not in VALUED or not value.strip():
        near = difflib.get_close_matches(kind, [*PLAIN, *VALUED], n=1)
        raise ConfigError(
            f"{where}: nothing starts on {text!r}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint="say drift, requirement, data, webhook, rows:10000, cron:0 3 * * * or after:NAME",
        )
    if kind == "rows" and not (value.isdecimal() and int(value)):
        raise ConfigError(
            f"{where}: {text!r} does not say how many rows", hint="such as rows:10000"
        )
    if kind == "cron":
        check_cron(value, timezone, where)
    return On(kind, value.strip())  # type: ignore[arg-type]


def check_cron(expression: str, timezone: str, where: str) -> None:
    """Raises ConfigError where the expression cannot be read or no moment ever fits it."""
    now = ids.to_datetime(ids.now())
    try:
        moment = next(_moments(expression, zone(timezone, where), now))
    except StopIteration:
        moment = now + timedelta(days=366 * (_NEVER_YEARS + 1))
    except ValueError as error:
        raise ConfigError(
            f"{where}: {expression!r} is no cron expression: {error}",
            hint="minute, hour, day of month, month, day of week, such as 0 3 * * 1",
        ) from error
    if moment > now + timedelta(days=366 * _NEVER_YEARS):
        raise ConfigError(f"{where}: {expression!r} never comes", hint="see its day and month")


def zone(name: str, where: str) -> ZoneInfo:
    """A time zone; raises ConfigError where it is not known."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{where}: there is no time zone {name!r}",
            hint="such as Europe/Berlin; where the system knows none: pip install tzdata",
        ) from error


def slots(expression: str, timezone: str, after: int, until: int) -> Iterator[int]:
    """The moments in (after, until] that a cron expression means, in microseconds, ascending.

    Where clocks go forward a moment that is left out comes right after; where they go back it comes
    once, as in Debian's cron; expressions of every hour or minute follow elapsed time.
    """
    begin = datetime.fromtimestamp(after // 1_000_000, UTC)
    for moment in _moments(expression, zone(timezone, "the time zone"), begin):
        found = int(moment.timestamp()) * 1_000_000
        if found > until:
            return
        if found > after:
            yield found


def limit(text: str, where: str) -> tuple[int, str]:
    """How many in which period, (0, "") without a limit; raises ConfigError."""
    if not text:
        return 0, ""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{where} at_most = {text!r} cannot be read",
            hint='write it as "1/day", "3/week" or "2/hour"',
        )
    return int(match[1]), match[2]


def check(settings: RetrainConfig | TriggerConfig, where: str) -> None:
    """Raises ConfigError for what can be told wrong of the settings alone."""
    words = [parse_on(text, f"{where} on", settings.timezone) for text in settings.on]
    zone(settings.timezone, f"{where} timezone")
    limit(settings.at_most, where)
    if settings.max_depth < 1:
        raise ConfigError(f"{where} max_depth = {settings.max_depth} lets nothing start")
    if settings.cost_per_day < 0:
        raise ConfigError(f"{where} cost_per_day = {settings.cost_per_day:g} is less than nothing")
    if any(one.kind == "webhook" for one in words) and not settings.secret:
        raise ConfigError(
            f"{where}: a webhook needs a secret that signs it",
            hint='secret = "env:TRIMTAB_WEBHOOK_SECRET", or the name of a file',
        )


def _moments(expression: str, where: ZoneInfo, after: datetime) -> Iterator[datetime]:
    # Read only where a schedule is: most projects have none.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    try:
        yield from CronSim(expression, after.astimezone(UTC if where.key == "UTC" else where))
    except CronSimError as error:
        raise ValueError(str(error)) from error
