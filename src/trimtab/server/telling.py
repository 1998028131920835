"""What the page of the timeline shows: the picture, and the same in words, newest week first."""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.loop.reports import Event
from trimtab.loop.views.timeline import moment
from trimtab.server import lanes, operations
from trimtab.server.lanes import Drawing
from trimtab.server.requests import Between
from trimtab.store import operations as rows

SPANS: Final = {"2w": "2 weeks", "8w": "8 weeks", "26w": "26 weeks", "": "all"}


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a week, oldest first."""

    title: str
    events: list[Event]


class TimelinePage(msgspec.Struct, frozen=True, kw_only=True):
    """The page; `since` is the span that is shown."""

    drawing: Drawing | None
    weeks: list[Week]
    since: str
    spans: dict[str, str]


def page(project: Project, since: str = "") -> TimelinePage:
    """The timeline from a moment on; raises UsageError for what is no moment."""
    whole = operations.TIMELINE.call(project, Between())
    first = moment(since) if since else whole.since
    shown = [one for one in whole.events if one.time >= first]
    config = project.in_force().config
    drawn = None
    if whole.events:
        windows = [one for one in rows.windows(project.ws) if one.role != "shadow"]
        name = next((one.endpoint for one in reversed(whole.events) if one.endpoint), "")
        mine = sorted((one for one in windows if one.endpoint == name), key=lambda one: one.start)
        drawn = lanes.draw(whole.events, mine, config.require, (first, whole.until))
    return TimelinePage(drawing=drawn, weeks=_weeks(shown), since=since, spans=SPANS)


def _weeks(events: list[Event]) -> list[Week]:
    found: dict[str, list[Event]] = {}
    for one in events:
        monday = (one.time // 86_400_000_000 + 3) // 7 * 7 - 3
        found.setdefault(ids.iso(monday * 86_400_000_000)[:10], []).append(one)
    return [Week(title=f"Week from Monday {day}", events=found[day]) for day in reversed(found)]
