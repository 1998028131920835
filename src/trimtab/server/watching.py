"""What the page of the monitor shows: maps, one window in detail, the course of quality, incidents."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.loop.alerts import severity
from trimtab.loop.project import Project
from trimtab.loop.reports import Delivery
from trimtab.monitor.findings import OUTPUTS
from trimtab.server import course, heat, operations, words
from trimtab.server.answers import WatchedThing
from trimtab.server.course import Course
from trimtab.server.heat import Heat
from trimtab.server.requests import StateFilter, Watched
from trimtab.store import versions
from trimtab.store.records import Incident, Window

_CLOSED: Final = 10


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """One watched thing, drawn."""

    watched: WatchedThing
    heat: Heat
    courses: list[Course]
    doubt: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One window, feature by feature; `more` names the further distances that were measured."""

    name: str
    window: Window
    measures: list[dict[str, Any]]
    more: dict[str, str]
    feature: str
    importance: dict[str, float]


class MonitorPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page."""

    things: list[Thing]
    detail: Detail | None
    open: list[Incident]
    closed: list[Incident]
    occurrences: dict[str, int]
    deliveries: dict[str, list[Delivery]]
    undelivered: list[str]


def page(
    project: Project, name: str = "", model: str = "", window: str = "", feature: str = ""
) -> MonitorPage:
    """Everything that is watched; the chosen window in detail, or else the newest that finds."""
    found = operations.MONITOR_SHOW.call(project, Watched()).watched
    chosen = int(window) if window.lstrip("-").isdigit() else None
    things = [
        Thing(
            watched=one,
            heat=heat.draw(
                one.name,
                one.windows,
                chosen if _is(one, name, model) else None,
                feature,
            ),
            courses=course.draw(one.windows, one.estimates),
            doubt=course.doubt(one.windows, one.estimates),
        )
        for one in found
    ]
    book = operations.INCIDENTS_LS.call(project, StateFilter())
    return MonitorPage(
        things=things,
        detail=_detail(project, found, (name, model), chosen, feature),
        open=[one for one in book.incidents if one.state == "open"],
        closed=[one for one in book.incidents if one.state != "open"][:_CLOSED],
        occurrences=book.occurrences,
        deliveries=book.deliveries,
        undelivered=book.undelivered,
    )


def _is(thing: WatchedThing, name: str, model: str) -> bool:
    return thing.name == name and model in ("", heat.short(thing.model))


def _detail(
    project: Project,
    found: list[WatchedThing],
    asked: tuple[str, str],
    window: int | None,
    feature: str,
) -> Detail | None:
    if not found:
        return None
    thing = next((one for one in found if _is(one, *asked)), max(found, key=_found_last))
    newest = next((one for one in reversed(thing.windows) if one.judged_at), thing.windows[-1])
    shown = next((one for one in thing.windows if one.start == window), newest)
    measures = sorted(
        shown.features.get("measures", []),
        key=lambda one: (str(one["feature"]) not in OUTPUTS, float(one.get("p") or 0)),
    )
    further = words.MEASURES.items()
    more = {one: label for one, label in further if any(m.get(one) for m in measures)}
    return Detail(
        name=thing.name,
        window=shown,
        measures=measures,
        more=more,
        feature=feature,
        importance=_importance(project, thing.model, [str(one["feature"]) for one in measures]),
    )


def _found_last(thing: WatchedThing) -> int:
    """When the newest judged window began, if it shows anything still; 0 if not."""
    last = next((one for one in reversed(thing.windows) if one.judged_at), None)
    if last is None or not any(x.get("detail", {}).get("lasts", 1.0) > 0 for x in last.findings):
        return 0
    return last.start


def _importance(project: Project, model: str, features: list[str]) -> dict[str, float]:
    """How much each feature counts, from 0 to 1; nothing of those for which it was not measured."""
    known = next((one for one in versions.find(project.ws, "model") if one.digest == model), None)
    if known is None:
        return {}
    found = severity.importance_of(project.ws, known)
    return {name: found.of(name) for name in features if found.column(name)}
