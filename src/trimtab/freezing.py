"""`[freeze]`: when nothing is to be changed, in the words that people use for it.

Holds the settings, what a window of time may be written as, and which moments lie in one;
`loop.freeze` goes by them. Windows are half-open and follow the clocks of their time zone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from trimtab import schedule
from trimtab.errors import ConfigError

Kind = Literal["date", "year", "week", "day"]
_DAY: Final = 1440
_WEEK: Final = 7 * _DAY
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_BETWEEN: Final = re.compile(r"\s+(?:-|–|to)\s+")
_END: Final = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)|(?P<year>\d\d-\d\d)|(?P<week>[a-z]{3,9}))?"
    r"(?:[ t]?(?P<time>\d{1,2}:\d\d))?"
)
_LEAP: Final = 2000
_MOST: Final = 400
_HINT: Final = (
    'such as "fri 16:00 - mon 08:00", "22:00 - 06:00", "12-20 - 01-02", "sat" or '
    '"2026-12-20 - 2027-01-02"; a day without a time is the whole day'
)


class FreezeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[freeze]`: windows in which nothing is promoted, advanced, retrained or fired, and why.

    `timezone` is that of the windows, "" for `[project] timezone`.
    """

    windows: tuple[str, ...] = ()
    timezone: str = ""
    reason: str = ""


class Window(NamedTuple):
    """A window as it was written. Ends are moments without a zone: of the year 2000 where it comes
    every year, minutes from Monday or from midnight where it comes every week or day.
    """

    text: str
    kind: Kind
    start: datetime | int
    end: datetime | int


class _Edge(NamedTuple):
    kind: Kind
    day: str
    minutes: int | None


def parse(text: str, where: str = "[freeze] windows") -> Window:
    """A window; raises ConfigError where it cannot be read, is empty, backwards or always."""
    parts = _BETWEEN.split(text.strip().lower())
    if len(parts) > 2 or not parts[0]:
        raise ConfigError(f"{where}: {text!r} is no window of time", hint=_HINT)
    first = _edge(parts[0], text, where)
    last = _edge(parts[-1], text, where)
    if last.kind == "day" and first.kind != "day":  # "fri 16:00 - 20:00": the same day
        last = last._replace(kind=first.kind, day=first.day)
    if first.kind != last.kind or (len(parts) == 1 and first.minutes is not None):
        raise ConfigError(f"{where}: {text!r} does not say from when to when", hint=_HINT)
    if first.kind in ("date", "year"):
        return _checked(Window(text, first.kind, _date(first), _date(last, last=True)), where)
    return _checked(Window(text, first.kind, _minutes(first), _minutes(last, last=True)), where)


def check(settings: FreezeConfig, where: str) -> None:
    """Raises ConfigError for what can be told wrong of the settings alone."""
    if settings.timezone:
        schedule.zone(settings.timezone, f"{where} timezone")
    for text in settings.windows:
        parse(text, f"{where} windows")


def until(windows: Sequence[str], timezone: str, now: int) -> tuple[str, int] | None:
    """The window that a moment (microseconds) lies in, and when the freeze ends; None outside.

    Windows that touch are one freeze; of one that does not end within a year some end is told.
    """
    zone = schedule.zone(timezone or "UTC", "[freeze] timezone")
    parsed = [_parsed(text) for text in windows]
    moment = datetime.fromtimestamp(now // 1_000_000, UTC)
    found = _inside(parsed, zone, moment)
    if found is None:
        return None
    text, end = found
    for _ in range(_MOST):
        after = _inside(parsed, zone, end)
        if after is None:
            break
        end = after[1]
    return text, int(end.timestamp()) * 1_000_000


def _inside(
    windows: Sequence[Window], zone: ZoneInfo, moment: datetime
) -> tuple[str, datetime] | None:
    """The window with the latest end among those that hold a moment, and that end."""
    local = moment.astimezone(zone).replace(tzinfo=None)
    found = [
        (window.text, end)
        for window in windows
        for begin, stop in _occurrences(window, local)
        if _instant(begin, zone, 0) <= moment < (end := _instant(stop, zone, 1))
    ]
    return max(found, key=lambda one: one[1], default=None)


def _occurrences(window: Window, local: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The window's times around a moment, as its clocks show them."""
    start, end = window.start, window.end
    if isinstance(start, datetime) and isinstance(end, datetime):
        if window.kind == "date":
            yield start, end
            return
        for year in (local.year - 1, local.year):
            later = year + (end.year - _LEAP) + (1 if end <= start else 0)
            yield _in_year(start, year), _in_year(end, later)
        return
    assert isinstance(start, int)
    assert isinstance(end, int)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    round_ = _WEEK if window.kind == "week" else _DAY
    first = midnight - timedelta(days=local.weekday() if window.kind == "week" else 0)
    length = end - start if end > start else end + round_ - start
    for begin in (first - timedelta(minutes=round_), first):
        at = begin + timedelta(minutes=start)
        yield at, at + timedelta(minutes=length)


def _instant(local: datetime, zone: ZoneInfo, fold: int) -> datetime:
    """When clocks show this: the first time (fold 0) or the second (1) where they show it twice,
    right after where they leave it out.
    """
    while True:
        found = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if found.astimezone(zone).replace(tzinfo=None) == local:
            return found
        local += timedelta(minutes=1)


def _in_year(moment: datetime, year: int) -> datetime:
    try:
        return moment.replace(year=year)
    except ValueError:  # 29 February
        return datetime(year, 3, 1)  # noqa: DTZ001 - clocks of a zone that comes later


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Window:
    return parse(text)


def _edge(part: str, text: str, where: str) -> _Edge:
    match = _END.fullmatch(part)
    if match is None:
        raise ConfigError(f"{where}: {part!r} in {text!r} is no moment", hint=_HINT)
    minutes = None
    if match["time"]:
        hour, minute = (int(one) for one in match["time"].split(":"))
        minutes = hour * 60 + minute
        if minute > 59 or minutes > _DAY:
            raise ConfigError(f"{where}: there is no time {match['time']} in {text!r}")
    kinds: tuple[Kind, ...] = ("date", "year", "week")
    kind: Kind = next((one for one in kinds if match[one]), "day")
    _check_day(kind, match, text, where)
    return _Edge(kind, match[kind] if kind != "day" else "", minutes)


def _check_day(kind: Kind, match: re.Match[str], text: str, where: str) -> None:
    if kind == "week" and not any(day.startswith(match["week"]) for day in _DAYS):
        raise ConfigError(f"{where}: there is no day {match['week']!r} in {text!r}", hint=_HINT)
    if kind in ("date", "year"):
        said = match["date"] or f"{_LEAP}-{match['year']}"
        try:
            datetime.fromisoformat(said)
        except ValueError as error:
            raise ConfigError(f"{where}: there is no day {match[kind]} in {text!r}") from error


def _minutes(edge: _Edge, *, last: bool = False) -> int:
    minutes = edge.minutes if edge.minutes is not None else (_DAY if last else 0)
    if edge.kind != "week":
        return minutes
    place = next(i for i, day in enumerate(_DAYS) if day.startswith(edge.day))
    return place * _DAY + minutes


def _date(edge: _Edge, *, last: bool = False) -> datetime:
    said = edge.day if edge.kind == "date" else f"{_LEAP}-{edge.day}"
    return datetime.fromisoformat(said) + timedelta(minutes=_minutes(edge, last=last))


def _checked(window: Window, where: str) -> Window:
    start, end, text = window.start, window.end, window.text
    if isinstance(start, datetime) and isinstance(end, datetime):
        if window.kind == "date" and end <= start:
            raise ConfigError(f"{where}: {text!r} ends before it starts")
        if start == end:
            raise ConfigError(f"{where}: {text!r} ends as it starts", hint=_HINT)
        return window
    assert isinstance(start, int)
    assert isinstance(end, int)
    whole = _WEEK if window.kind == "week" else _DAY
    if start % whole == end % whole:
        raise ConfigError(
            f"{where}: {text!r} is always or never",
            hint="`trimtab pause` lets the controller rest until it is told otherwise",
        )
    if window.kind == "week" and end < start and start // _DAY == end // _DAY:
        raise ConfigError(f"{where}: {text!r} ends before it starts, on one day", hint=_HINT)
    return window
