"""The pages of rollouts: what each waits for, its verdicts as pictures, a test's arms, the forms."""

from __future__ import annotations

import math

import msgspec

from trimtab.errors import ConflictError
from trimtab.loop.project import Project
from trimtab.loop.releases.shown import (
    Arm,
    ArmsCompared,
    Difference,
    Measured,
    RolloutShown,
    Steered,
)
from trimtab.server import bars, rollouts, words
from trimtab.server.bars import Bar, Scale
from trimtab.server.requests import Advance, ByHand, Identified, RolloutFilter
from trimtab.server.views import Cell

_FINITE = 1e300


class Row(msgspec.Struct, frozen=True):
    """A line of the arms' table: what it is, and what it is of A and of B."""

    name: str
    cells: list[str]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout's own page; the report is that of an A/B test."""

    one: RolloutShown
    cells: list[Cell]
    told: ArmsCompared | None
    rows: list[Row]
    differences: list[tuple[Difference, Bar | None]]


def listed(project: Project) -> list[RolloutShown]:
    """Rollouts, newest first."""
    return rollouts.LS.call(project, RolloutFilter()).rollouts


def page(project: Project, rollout: str) -> Page:
    """A rollout; raises NotFoundError."""
    one = rollouts.SHOW.call(project, Identified(id=rollout))
    known = {x.text: x for x in project.applied().config.require}
    cells = []
    for verdict in one.verdicts:
        on = bars.scale(known.get(verdict.text), [verdict])
        drawn = bars.bar(known.get(verdict.text), verdict, on)
        cells.append(Cell("rollout", verdict, drawn))
    told = None
    if one.ab is not None:
        told = rollouts.REPORT.call(project, Identified(id=one.rollout.id))
    return Page(
        one=one,
        cells=cells,
        told=told,
        rows=_rows(told.arms) if told else [],
        differences=[(x, drawing(x)) for x in told.differences] if told else [],
    )


def act(project: Project, rollout: str, what: str, given: dict[str, str]) -> Steered | None:
    """What a form asks for; None for what there is not. Raises what the operations raise."""
    by, reason = given.get("by", "")[:200], given.get("reason", "")[:2000]
    if what == "advance":
        force = given.get("force") == "1"
        if not given.get("at"):
            raise ConflictError("the form does not say from which stage", hint="reload the page")
        asked = Advance(id=rollout, by=by, reason=reason, at=given["at"], force=force)
        return rollouts.ADVANCE.call(project, asked)
    named = {"hold": rollouts.HOLD, "release": rollouts.RELEASE, "rollback": rollouts.ROLLBACK}
    if what not in named:
        return None
    return named[what].call(project, ByHand(id=rollout, by=by, reason=reason))


def drawing(one: Difference) -> Bar | None:
    """The interval of a difference, with the side on which B is better; None without one."""
    if one.value is None or one.lo is None or one.hi is None or not math.isfinite(one.value):
        return None
    ends = [x for x in (one.lo, one.value, one.hi, 0.0) if abs(x) < _FINITE]
    margin = (max(ends) - min(ends)) * 0.12 or 1.0
    on = Scale(min(ends) - margin, max(ends) + margin)
    return Bar(
        allowed=(on.at(0.0), on.at(on.high)),
        bounds=[on.at(0.0)],
        value=on.at(one.value),
        lo=on.at(one.lo),
        hi=on.at(one.hi),
        cut_lo=one.lo < on.low,
        cut_hi=one.hi > on.high,
        label=one.sentence,
    )


def _rows(arms: list[Arm]) -> list[Row]:
    found = [
        Row("requests", [f"{one.requests:,} ({one.share:.2%})" for one in arms]),
        Row("errors", [_cell(one.failed) for one in arms]),
    ]
    for place, first in enumerate(arms[0].latency):
        found.append(Row(first.metric, [_cell(one.latency[place]) for one in arms]))
    found.append(Row("labelled", [f"{one.labelled:,}" for one in arms]))
    for place, first in enumerate(arms[0].metrics):
        found.append(Row(first.metric, [_cell(one.metrics[place]) for one in arms]))
    return found


def _cell(one: Measured) -> str:
    if one.value is None:
        return one.note or "–"
    return f"{words.number(one.value)} {words.interval(one.lo, one.hi)}"
