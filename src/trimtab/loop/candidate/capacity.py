"""What a model's endpoint can take, measured, kept as evidence of the model and held against the
requirements that bound it.

The load goes to a throwaway twin of the endpoint, with its settings and its model: the live one and
its prediction log are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import NotFoundError
from trimtab.evaluate import latency, throughput
from trimtab.evaluate.judge import judge
from trimtab.loop.gate import CHAMPION
from trimtab.loop.project import Project
from trimtab.loop.releases import release
from trimtab.loop.reports import Report
from trimtab.model.digest import check_digest
from trimtab.serve import folder as endpoint_folder
from trimtab.serve.folder import Settings
from trimtab.serve.measured import bench
from trimtab.serve.measured.capacity import LEVELS, Curve, Level
from trimtab.serve.measured.load import Sent
from trimtab.store import evidence, metrics, runs, verdicts, versions
from trimtab.store.records import Evidence, Point, Verdict, Version

WINDOW: Final = "bench"
MEASURED: Final = ("latency_ms", "cost_per_1000", "capacity", "error_rate")
_QUANTILES: Final = ("p50", "p99", "p99.9")


class Capacity(Report, frozen=True, kw_only=True):
    """A capacity curve. `chosen` is the concurrency of its `capacity`, 0 where no level keeps the
    latency requirements; `cost_per_1000` is None without a price.
    """

    model: str
    digest: str
    endpoint: str
    run: str
    levels: tuple[Level, ...]
    knee: int
    chosen: int
    capacity: float
    cost_per_1000: float | None
    verdicts: list[Verdict]


def measure(
    project: Project,
    name: str,
    *,
    levels: Sequence[int] = LEVELS,
    seconds: float = 5.0,
    tell: Callable[[Level], None] | None = None,
) -> Capacity:
    """Measure an endpoint's champion, or a model version, on a twin of its endpoint.

    Raises NotFoundError where there is neither, ModelError where the twin does not start.
    """
    ws = project.ws
    version, settings = _what(project, name)
    place = local.package_folder(ws, version.digest)
    check_digest(place, version.digest)
    run = runs.start(ws, WINDOW, version.label, cause={"kind": "manual"})
    try:
        curve, first = bench.measure_capacity(
            place, levels=levels, seconds=seconds, settings=settings, tell=tell
        )
        found = evidence_of(project, curve, first, version.digest, run.id)
        judged = [
            judge(
                one,
                found,
                subject=version.digest,
                place="monitor" if settings else "gate",
                config=project.config.digest,
                run=run.id,
            )
            for one in project.config.require
            if one.metric in MEASURED
        ]
        now = ids.now()
        points = [
            Point(key=f"{one.metric}{one.statistic and '_' + one.statistic}", step=0, time=now,
                  value=one.value)
            for one in found
        ]  # fmt: skip
        with ws.transaction():
            evidence.append(ws, found)
            verdicts.append(ws, judged)
            metrics.append(ws, run.id, points)
            runs.link(ws, run.id, "in", "model", version.digest)
            runs.finish(ws, run.id, "done")
    except BaseException as error:
        runs.fail(ws, run.id, error)
        raise
    chosen = curve.within(_bounds(project))
    cost = [one.value for one in found if one.metric == "cost_per_1000"]
    return Capacity(
        model=version.label,
        digest=version.digest,
        endpoint=name if settings else "",
        run=run.id,
        levels=curve.levels,
        knee=curve.knee.concurrency,
        chosen=chosen.concurrency if chosen else 0,
        capacity=chosen.per_second if chosen else 0.0,
        cost_per_1000=cost[0] if cost else None,
        verdicts=judged,
    )


def _what(project: Project, name: str) -> tuple[Version, Settings | None]:
    """The version behind an endpoint with the endpoint's settings, or a version alone."""
    ws = project.ws
    local.check_ours(ws, name)
    if local.find(ws, name) is not None:
        champion = release.champion_of(project, name)
        if champion is None:
            raise NotFoundError(
                f"endpoint {name!r} has no model", hint="`trimtab deploy` gives one"
            )
        return champion, endpoint_folder.read_settings(local.folder(ws, name))
    named = name if "@" in name or ":" in name else f"{name}@{CHAMPION}"
    try:
        return versions.get(ws, "model", named), None
    except NotFoundError as error:
        raise NotFoundError(
            f"there is neither an endpoint nor a model {name!r}",
            hint="see `trimtab endpoints ls` and `trimtab models ls`",
        ) from error


def _bounds(project: Project) -> list[tuple[str, float]]:
    return [
        (one.quantile, one.max)
        for one in project.config.require
        if one.metric == "latency_ms" and one.quantile and one.max is not None
    ]


def evidence_of(
    project: Project, curve: Curve, first: Sent, subject: str, run: str
) -> list[Evidence]:
    """Latencies of the fewest connections; throughput and price where latency still holds.

    `first` is what the lowest level saw. Such measurements are repeated at will, so their intervals
    hold at every look.
    """
    about: dict[str, Any] = {
        "subject": subject, "window": WINDOW, "run": run, "now": ids.now(), "validity": "anytime",
    }  # fmt: skip
    config = project.config
    levels = {one.metric: one.level for one in config.require}
    wanted = [x.quantile for x in config.require if x.metric == "latency_ms" and x.quantile]
    found = [
        latency.quantile_evidence(
            first.latencies, name, level=levels.get("latency_ms", 0.95), **about
        )
        for name in dict.fromkeys((*_QUANTILES, *wanted))
    ]
    failed = sum(one.failed for one in curve.levels)
    handled = failed + sum(one.requests for one in curve.levels)
    found.append(
        latency.rate_evidence(failed, handled, level=levels.get("error_rate", 0.95), **about)
    )
    bounds = _bounds(project)
    chosen = curve.within(bounds)
    shown = chosen or curve.knee
    part = shown.seconds / len(shown.buckets)
    answered = np.array(shown.buckets, dtype=np.float64)
    details = {
        "connections": chosen.concurrency if chosen else 0,
        "kept": dict(bounds),
        "curve": [msgspec.to_builtins(one, str_keys=True) for one in curve.levels],
    }
    found.append(
        throughput.capacity_evidence(
            answered / part if chosen else np.zeros(len(answered)),
            level=levels.get("capacity", 0.95), details=details, **about,
        )
    )  # fmt: skip
    if config.serve.price_per_hour > 0:
        found.append(
            latency.cost_evidence(
                np.full(len(answered), part), answered,
                price_per_hour=config.serve.price_per_hour,
                level=levels.get("cost_per_1000", 0.95), **about,
            )
        )  # fmt: skip
    return found
