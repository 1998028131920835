"""Labelled answers held against the requirements: evidence and verdicts of one look.

A look gets a level of its own, so that all looks together keep the requirement's. Where labels are
still to come, what has come stands for all rows of its score, and the verdict says how much that is.
Which answers are looked at, and when, is left to `quality` and `pooled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.config import Config, Requirement
from trimtab.evaluate import measure, metrics
from trimtab.evaluate.judge import judge
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.scored import Scored
from trimtab.model.signature import Signature
from trimtab.monitor.log import traffic
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import biased, realised
from trimtab.monitor.statistics import spread
from trimtab.store.records import Evidence, Label, Verdict

SHOWN_LEVEL: Final = 0.95
"""Level of the figures shown to people, which hold for one look; no level spent over looks equals it."""


_COMPLETE: Final = 0.995
"""Where so many labels have come, those that are missing are no matter."""


class Look(NamedTuple):
    """Which look of its kind it is, from 1 on, and the share of the error level that its kind has."""

    number: int
    share: float


class Proof(NamedTuple):
    """What was measured for the requirements, the figures to show, and the verdicts."""

    evidence: list[Evidence]
    shown: list[Evidence]
    verdicts: list[Verdict]


def wanted(config: Config) -> list[Requirement]:
    """The requirements that production alone can be held against."""
    return [one for one in config.require if not one.better_than]


def table(
    config: Config,
    signed: Signature,
    rows: Answers,
    labels: Sequence[Label],
    weight: NDArray[np.float64] | None = None,
) -> Scored:
    """Labelled rows as a scored table, with the columns that requirements group by and, where labels
    are still to come, the `weight` of each.
    """
    found = traffic.scored(
        rows,
        [one.value for one in labels],
        signed,
        slices=traffic.slices(
            rows, labels, {one.across or one.by for one in config.require} - {""}
        ),
        biased=biased.why(config),
    )
    complete = weight is None or len(weight) >= _COMPLETE * float(weight.sum())
    return found if complete else replace(found, weight=weight)


def prove(
    config: Config,
    part: Scored,
    look: Look,
    *,
    subject: str,
    window: str,
    details: dict[str, Any],
    said: str = "",
    shown: bool = True,
) -> Proof:
    """Measure and judge every requirement on a table; verdicts on what it does not have are left out.

    `details` go with evidence and verdicts, `said` ends each verdict's reason. Figures are measured
    where they are to be `shown`.
    """
    asked = wanted(config)
    spent = [
        msgspec.structs.replace(
            one, level=spread.confidence((1 - one.level) * look.share, look.number)
        )
        for one in asked
    ]
    measured = [
        _completed(part, one)
        for one in measure.measure(
            part, spent, subject=subject, window=window, level=SHOWN_LEVEL, defaults=shown
        )
    ]
    looked = [
        msgspec.structs.replace(
            one,
            validity="anytime",
            method=f"{one.method}, level spent over looks",
            details={**one.details, **details, "look": look.number},
        )
        for one in measured
        if one.level != SHOWN_LEVEL
    ]
    judged = [
        judge(one, looked, subject=subject, place="monitor", config=config.digest) for one in asked
    ]
    return Proof(
        evidence=looked,
        shown=[one for one in measured if one.level == SHOWN_LEVEL],
        verdicts=[
            msgspec.structs.replace(
                one,
                reason=one.reason + _completeness(part, requirement, looked) + said,
                details={**one.details, **details},
            )
            for requirement, one in zip(asked, judged, strict=True)
            if one.status != "missing"
        ],
    )


def _completed(part: Scored, one: Evidence) -> Evidence:
    """Evidence of all rows by the labels that have come: moved by what their weights change, and as
    much wider as they cost rows (Kish). What slices and disparities show stays uncorrected.
    """
    metric, weight = metrics.get(one.metric), part.weight
    if weight is None or not one.n or not isinstance(metric, Metric) or not metric.needs_labels:
        return one
    details = {**one.details, "complete": len(weight) / float(weight.sum()), "corrected": False}
    plainly = msgspec.structs.replace(one, details=details)
    if one.slice or one.statistic:
        return plainly
    truth = part.known_truth.astype(np.float64) if part.task == "binary" else part.known_truth
    plain, whole = (
        realised.measure(part.task, part.known_score, part.decision, truth, each, [one.metric]).get(
            one.metric
        )
        for each in (np.ones(len(weight)), weight)
    )
    if plain is None or whole is None:
        return plainly
    widen = (len(weight) * float(weight @ weight)) ** 0.5 / float(weight.sum())
    lowest, highest = metric.bounds
    value = min(max(one.value + whole.value - plain.value, lowest), highest)
    return msgspec.structs.replace(
        one,
        value=value,
        lo=max(lowest, value - (one.value - one.lo) * widen),
        hi=min(highest, value + (one.hi - one.value) * widen),
        method=f"{one.method}, completed by score",
        details={**details, "corrected": True, "uncorrected": one.value},
    )


def _completeness(part: Scored, requirement: Requirement, found: Sequence[Evidence]) -> str:
    """How much of the labels a verdict rests on, where some are still to come."""
    if part.weight is None:
        return ""
    mine = [one for one in found if one.metric == requirement.metric and "complete" in one.details]
    plain = not (requirement.by or requirement.across)
    done = any(one.details["corrected"] for one in mine if plain)
    how = "not corrected for it"
    if done:
        how = "corrected for it by score, not for an outcome that is known sooner"
    return f"; {len(part.weight) / float(part.weight.sum()):.0%} of the labels have come, {how}"
