"""What a candidate may not do to the champion's callers: fail more, answer later, be more wrong.

Each guard holds the candidate against the champion of the same time. It must not fail, and need not
pass: whoever sets no requirement is guarded all the same. Pure: counts and tables in, verdicts out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab import hashing, ids
from trimtab.config import Config, Requirement
from trimtab.errors import UndecidedError
from trimtab.evaluate import anytime, ends, latency, metrics, text
from trimtab.evaluate.estimate import UNKNOWN, Estimate
from trimtab.evaluate.evidence import About, from_estimate
from trimtab.evaluate.holding import undefined
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.policy import bonferroni
from trimtab.evaluate.scored import Scored
from trimtab.monitor.log.progress import Progress
from trimtab.monitor.log.tally import Arm
from trimtab.store.records import Evidence, Rollout, Status, Verdict

OVER = "over:champion"


class Arms(NamedTuple):
    """Labelled answers of both; `links` as `measure_anytime` takes them."""

    candidate: Scored
    champion: Scored
    links: NDArray[np.int64]


class Found(NamedTuple):
    """Evidence and what it says."""

    evidence: Evidence
    verdict: Verdict


def look(config: Config, rollout: Rollout, seen: Progress, arms: Arms | None) -> list[Found]:
    """Every guard that can be asked by now."""
    found = [errors(config, rollout, seen), slowness(config, rollout, seen)]
    if arms is not None:
        found += quality(config, rollout, arms)
    return [one for one in found if one is not None]


def errors(config: Config, rollout: Rollout, seen: Progress) -> Found | None:
    """The share of requests that it fails to answer, less the champion's, at most a margin.

    Few requests suffice for gross failure, and no failure at all proves little early.
    """
    guard, ours, theirs = config.serve.guard, seen.candidate, seen.champion
    if not ours.asked:
        return None
    found = ends.share_arms((ours.failed, ours.asked), (theirs.failed, theirs.asked), guard.level)
    estimate = Estimate(
        value=found.value,
        lo=found.lo,
        hi=found.hi,
        n=found.n,
        method="arms-anytime",
        details={"candidate": [ours.failed, ours.asked], "champion": [theirs.failed, theirs.asked]},
    )
    shown = text.interval(100 * found.value, 100 * found.lo, 100 * found.hi)
    return concluded(
        config,
        rollout,
        from_estimate(
            estimate, "error_rate", OVER, about(rollout), level=guard.level, validity="anytime"
        ),
        _side(estimate, guard.error_margin),
        f"error_rate <= the champion's + {guard.error_margin:g}",
        f"it failed to answer {ours.failed:,} of {ours.asked:,} requests and the champion "
        f"{theirs.failed:,} of {theirs.asked:,}, a difference of {shown} %, must be <= "
        f"{100 * guard.error_margin:g} %",
        bound={"max": guard.error_margin},
    )


def slowness(config: Config, rollout: Rollout, seen: Progress) -> Found | None:
    """A quantile of its latency over the champion's at the stages where both answered clients.

    Each quantile lies between two order statistics at any look (Howard & Ramdas, 2022); their
    ratio's ends hold together. A shadow's latency is not held against the champion's: it waits for
    a quiet moment and is scored in other batches.
    """
    guard, ours, theirs = config.serve.guard, seen.candidate, seen.champion
    if not len(ours.counts) or not len(theirs.counts):
        return None
    asked = [one.quantile for one in config.require if one.metric == "latency_ms" and one.quantile]
    quantile = guard.latency_quantile or (asked[0] if asked else "p95")
    level = bonferroni(guard.level, 2)
    a, b = (_quantile(rollout, arm, quantile, level) for arm in (ours, theirs))
    least = max(b.value, 1e-6)
    estimate = Estimate(
        value=a.value / least,
        lo=0.0 if b.hi >= UNKNOWN else a.lo / max(b.hi, 1e-6),
        hi=UNKNOWN if a.hi >= UNKNOWN or b.lo <= 0 else a.hi / b.lo,
        n=a.n + b.n,
        method="arms-order-statistics",
        details={"candidate_ms": [a.value, a.lo, a.hi], "champion_ms": [b.value, b.lo, b.hi]},
    )
    status = _side(estimate, guard.latency_ratio)
    if status == "fail" and a.lo <= b.hi + guard.latency_floor_ms:
        status = "undecided"
    elif a.hi <= b.lo + guard.latency_floor_ms:
        status = "pass"
    return concluded(
        config,
        rollout,
        from_estimate(
            estimate, "latency_ms", f"{quantile}:{OVER}", about(rollout), level=guard.level,
            validity="anytime",
        ),
        status,
        f"latency_ms {quantile} <= {guard.latency_ratio:g} times the champion's",
        f"its latency {quantile} is {_ms(a)} on {a.n:,} requests and the champion's {_ms(b)} on "
        f"{b.n:,}, {text.interval(estimate.value, estimate.lo, estimate.hi)} times as long, must be "
        f"<= {guard.latency_ratio:g} times (or {guard.latency_floor_ms:g} ms more)",
        bound={"max": guard.latency_ratio},
    )  # fmt: skip


def quality(config: Config, rollout: Rollout, arms: Arms) -> list[Found]:
    """Non-inferiority of each metric with labels that the requirements name."""
    guard = config.serve.guard
    own = {one.metric for one in config.require if one.better_than == "champion"}
    names = dict.fromkeys(one.metric for one in config.require if _compares(one))
    found = []
    for name in [one for one in names if one not in own]:
        metric = metrics.get(name)
        assert isinstance(metric, Metric)
        margin = _margin(metric, arms.champion, guard.quality_margin)
        asked = Requirement(metric=name, better_than="champion", level=guard.level)
        measured = anytime.measure_anytime(
            arms.candidate, [asked], subject=rollout.candidate, window=window(rollout),
            against=arms.champion, links=arms.links, each_end=True,
        )  # fmt: skip
        if margin is None or not measured or undefined(measured[0]):
            continue
        one = measured[0]
        status: Status = (
            "fail" if one.hi < -margin else "pass" if one.lo >= -margin else "undecided"
        )
        shown = text.interval(one.value, one.lo, one.hi)
        found.append(
            concluded(
                config,
                rollout,
                one,
                status,
                f"{name} not worse than the champion's by {margin:.3g}",
                f"{name} gains {shown} over the champion's on {one.n:,} labelled answers of both, "
                f"must be >= {-margin:.3g}",
                bound={"min": -margin},
            )
        )
    return found


def concluded(
    config: Config,
    rollout: Rollout,
    one: Evidence,
    status: Status,
    said: str,
    reason: str,
    *,
    guards: bool = True,
    requirement: str = "",
    bound: dict[str, float] | None = None,
) -> Found:
    """A verdict on the candidate from one piece of evidence; `guards` says it need not pass.

    `bound` is what the value must keep, as `min` or `max`, for whoever draws it.
    """
    details: dict[str, Any] = {"measured": one.details, **({"bound": bound} if bound else {})}
    if guards:
        details["guard"] = True
    biased = one.details.get("biased")
    if biased:
        status, reason = "undecided", f"{reason}; not judged: {biased}"
    return Found(
        one,
        Verdict(
            id=ids.new_id(),
            requirement=requirement or hashing.object_digest("config", {"guard": said}),
            text=said,
            metric=one.metric,
            statistic=one.statistic,
            subject=rollout.candidate,
            place="rollout",
            status=status,
            reason=reason,
            value=one.value,
            lo=one.lo,
            hi=one.hi,
            n=one.n,
            evidence=[one.id],
            details=details,
            config=config.digest,
            decided_at=ids.now(),
        ),
    )


def links(ours: Sequence[str], theirs: Sequence[str]) -> NDArray[np.int64]:
    """For each of our predictions the place of the other's to the same row, -1 for none."""
    place = {name: at for at, name in enumerate(theirs)}
    return np.array([place.get(name, -1) for name in ours], dtype=np.int64)


def about(rollout: Rollout) -> About:
    """Whose evidence a rollout makes."""
    return About(subject=rollout.candidate, window=window(rollout))


def window(rollout: Rollout) -> str:
    """The window that a rollout's evidence carries."""
    return f"rollout:{rollout.id}"


def _compares(one: Requirement) -> bool:
    metric = metrics.get(one.metric)
    return (
        isinstance(metric, Metric)
        and metric.needs_labels
        and metric.direction != "none"
        and not one.is_fairness
    )


def _margin(metric: Metric, champion: Scored, margin: float) -> float | None:
    """The margin on the metric's own scale: a share of the champion's where there is no range."""
    if all(math.isfinite(bound) for bound in metric.bounds):
        return margin
    try:
        return margin * abs(anytime.value(metric, champion, 0.95).value)
    except UndecidedError:
        return None


def _side(estimate: Estimate, most: float) -> Status:
    if estimate.lo > most:
        return "fail"
    return "pass" if estimate.hi <= most else "undecided"


def _quantile(rollout: Rollout, arm: Arm, quantile: str, level: float) -> Evidence:
    values = np.repeat(arm.latencies, arm.counts) / 1000
    return latency.quantile_evidence(
        values, quantile, subject=rollout.candidate, validity="anytime", level=level
    )


def _ms(one: Evidence) -> str:
    return f"{text.interval(one.value, one.lo, one.hi)} ms"
