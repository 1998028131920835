"""What the pages show, worked out of the operations' answers before a template sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from trimtab import ids
from trimtab.config import Requirement
from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.loop.releases import rollout
from trimtab.loop.replay import picture, stored
from trimtab.loop.replay.report import Replayed
from trimtab.loop.reports import Overview, RequirementState
from trimtab.server import bars, operations, run_files
from trimtab.server.answers import RunShown
from trimtab.server.bars import Bar
from trimtab.server.chart import STRETCHES, Chart, chart
from trimtab.server.requests import Identified, Nothing
from trimtab.server.run_files import File, Output
from trimtab.store import metrics
from trimtab.store.records import Action, Endpoint, Link, Rollout, Run, Verdict
from trimtab.store.series import chart as curves
from trimtab.store.series.chart import Curve

RECENT = 8
SERIES = 60  # of a run at once: each is drawn
_KEY_METRICS = 3


class Cell(msgspec.Struct, frozen=True):
    """A requirement at one place."""

    place: str
    verdict: Verdict | None
    bar: Bar | None


class RequirementRow(msgspec.Struct, frozen=True):
    """A requirement at the three places that read it, drawn on one scale."""

    text: str
    cells: list[Cell]


class RolloutRow(msgspec.Struct, frozen=True):
    """What the last look at an open rollout found."""

    rollout: Rollout
    judged: list[RequirementRow]


class RunRow(msgspec.Struct, frozen=True):
    """A run in the table with its first metrics."""

    run: Run
    metrics: list[tuple[str, float]]


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """The first page."""

    overview: Overview
    requirements: list[RequirementRow]
    rollouts: list[RolloutRow]
    steps: list[Action]
    runs: list[RunRow]


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A run's own page: of its series, in the order of their names, so many at once.

    `facts` are those of one point, `before` and `after` where the series around these begin, None
    where there are none.
    """

    shown: RunShown
    charts: list[Chart]
    facts: dict[str, float]
    first: int
    before: int | None
    after: int | None
    inputs: list[Link]
    outputs: list[Output]
    pictures: list[File]
    replay: Replayed | None = None
    picture: str = ""


def loop(project: Project) -> Loop:
    """The loop at a glance."""
    overview = operations.OVERVIEW.call(project, Nothing())
    known = _requirements(project)
    return Loop(
        overview=overview,
        requirements=[_row(one, known.get(one.text)) for one in overview.requirements],
        rollouts=[
            RolloutRow(
                one, [_judged(verdict, known) for verdict in rollout.standing(project.ws, one)]
            )
            for one in overview.rollouts
            if one.state == "open"
        ],
        steps=overview.actions[:RECENT],
        runs=_rows(project, overview.runs[:RECENT]),
    )


def run_page(project: Project, run: str, begin: str = "") -> RunPage:
    """A run with its series drawn, those from a place on; raises NotFoundError."""
    shown = operations.RUNS_SHOW.call(project, Identified(id=run))
    replay = stored.read(project.ws, shown.run)
    keys = sorted(shown.metrics)
    links = [link for link in shown.links if link.direction == "out"]
    outputs, pictures = run_files.outputs(project, shown.run.id, links)
    first = int(begin) if begin.isascii() and begin.isdecimal() and len(begin) < 10 else 0
    first = first if first < len(keys) else 0
    some = [] if replay else keys[first : first + SERIES]
    drawn = [one for one in _curves(project, run, some) if one.points > 1]
    lines = {one.key for one in drawn}
    return RunPage(
        shown=shown,
        charts=[chart(one) for one in drawn],
        facts={key: shown.metrics[key] for key in some if key not in lines},
        first=first,
        before=max(first - SERIES, 0) if first else None,
        after=first + SERIES if first + SERIES < len(keys) else None,
        replay=replay,
        picture=picture.svg(replay, style=False) if replay else "",
        inputs=[link for link in shown.links if link.direction == "in"],
        outputs=outputs,
        pictures=pictures,
    )


def _curves(project: Project, run: str, keys: list[str]) -> Iterator[Curve]:
    """Series of a run by step; one that was logged without steps by time."""
    for key in keys:
        by_step = curves.chart(project.ws, run, key, stretches=STRETCHES)
        is_flat = by_step.points > 1 and by_step.start == by_step.end
        yield (
            curves.chart(project.ws, run, key, stretches=STRETCHES, by="time")
            if is_flat
            else by_step
        )


def answering(endpoint: Endpoint) -> list[tuple[str, str, str]]:
    """What an endpoint answers with: label, role, and share of the traffic in percent."""
    routes: list[dict[str, Any]] = endpoint.routes.get("routes", [])
    total = sum(float(route.get("weight", 0)) for route in routes) or 1.0
    found = [
        (str(one["label"]), str(one["role"]), f"{float(one.get('weight', 0)) / total:.0%}")
        for one in routes
    ]
    return found + [
        (str(one["label"]), "shadow", "unseen") for one in endpoint.routes.get("shadow", [])
    ]


def staged(rollout: Rollout) -> list[tuple[str, str]]:
    """A rollout's stages, each "done", "now" or "next"."""
    return [
        (stage, "done" if at < rollout.stage else "now" if at == rollout.stage else "next")
        for at, stage in enumerate(rollout.stages)
    ]


def told(action: Action) -> str:
    """What an action did, in its own words where it has some."""
    said = action.result.get("said") or action.result.get("reason") or action.cause.get("said")
    return str(said) if said else ""


def reference(name: str) -> str:
    """What to ask `why` about a thing that a fact names, "" where nothing can be asked."""
    is_version = "@" in name and " " not in name
    return name if ids.is_id(name) or is_version else ""


def _requirements(project: Project) -> dict[str, Requirement]:
    known = {one.text: one for one in project.config.require}
    try:
        return known | {one.text: one for one in project.applied().config.require}
    except NotFoundError:
        return known


def _row(state: RequirementState, requirement: Requirement | None) -> RequirementRow:
    places = {"gate": state.gate, "rollout": state.rollout, "monitor": state.monitor}
    on = bars.scale(requirement, [one for one in places.values() if one is not None])
    return RequirementRow(
        state.text,
        [
            Cell(place, verdict, bars.bar(requirement, verdict, on))
            for place, verdict in places.items()
        ],
    )


def _judged(verdict: Verdict, known: dict[str, Requirement]) -> RequirementRow:
    """A requirement or a guard as a rollout found it, on a scale of its own."""
    bound = verdict.details.get("bound")
    held = known.get(verdict.text) or (
        Requirement(metric=verdict.metric, **bound) if bound else None
    )
    drawn = bars.bar(held, verdict, bars.scale(held, [verdict]))
    return RequirementRow(verdict.text, [Cell("rollout", verdict, drawn)])


def _rows(project: Project, found: Sequence[Run]) -> list[RunRow]:
    return [RunRow(run, _first(metrics.latest(project.ws, run.id))) for run in found]


def _first(latest: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(latest.items())[:_KEY_METRICS]
