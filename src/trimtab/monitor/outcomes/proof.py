"""Labelled answers held against the requirements: evidence and verdicts of one look.

A look gets a level of its own, so that all looks together keep the requirement's. Which answers are
looked at, and when, is left to `quality` and `pooled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.config import Config, Requirement
from trimtab.evaluate import measure
from trimtab.evaluate.judge import judge
from trimtab.evaluate.scored import Scored
from trimtab.model.signature import Signature
from trimtab.monitor.log import traffic
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import biased
from trimtab.monitor.statistics import spread
from trimtab.store.records import Evidence, Label, Verdict

SHOWN_LEVEL: Final = 0.95
"""Level of the figures shown to people, which hold for one look; no level spent over looks equals it."""


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


def table(config: Config, signed: Signature, rows: Answers, labels: Sequence[Label]) -> Scored:
    """Labelled rows as a scored table, with the columns that requirements group by."""
    return traffic.scored(
        rows,
        [one.value for one in labels],
        signed,
        slices=traffic.slices(
            rows, labels, {one.across or one.by for one in config.require} - {""}
        ),
        biased=biased.why(config),
    )


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
    measured = measure.measure(
        part, spent, subject=subject, window=window, level=SHOWN_LEVEL, defaults=shown
    )
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
                one, reason=one.reason + said, details={**one.details, **details}
            )
            for one in judged
            if one.status != "missing"
        ],
    )
