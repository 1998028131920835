"""A candidate judged without labels: does it answer as the champion does, and what do its own
scores expect?

Both are weak words for quality. Agreement shows that little changes, the expectation follows the
inputs, and neither sees a change of what the truth means; every reason says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trimtab.config import Config, Requirement
from trimtab.evaluate import ends, holding, text
from trimtab.evaluate.estimate import Estimate as Measured
from trimtab.evaluate.evidence import from_estimate
from trimtab.loop.releases import guards
from trimtab.loop.releases.guards import Found
from trimtab.monitor.log import tally
from trimtab.monitor.log.progress import Progress
from trimtab.monitor.outcomes import cbpe
from trimtab.monitor.outcomes.expected import BINARY
from trimtab.monitor.statistics.tails import normal_isf
from trimtab.monitor.watched import Watched
from trimtab.store.records import Rollout

BLIND: Final = (
    "no labels come, so quality itself is not known: a change of what the truth means cannot be "
    "seen without labels"
)
_LEAST: Final = 50


def look(config: Config, rollout: Rollout, seen: Progress, model: Watched | None) -> list[Found]:
    """Agreement with the champion, and the expected value of each metric that a requirement bounds."""
    found = []
    same = agreement(config, rollout, seen)
    if same is not None:
        found.append(same)
    if model is not None:
        found += expectations(config, rollout, seen, model)
    return found


def agreement(config: Config, rollout: Rollout, seen: Progress) -> Found | None:
    """The share of shadowed rows that both answered alike; None where none is asked or possible.

    While the shadow has no answer beside the champion's to the same row it is undecided.
    """
    least, level = config.serve.guard.agreement, config.serve.guard.level
    shadows = rollout.stages[rollout.stage] == "shadow"
    if not least or not (shadows or seen.pairs.compared):
        return None
    share, lo, hi = interval(seen, level)
    estimate = Measured(
        value=share, lo=lo, hi=hi, n=seen.pairs.compared, method="beta-binomial-ends"
    )
    return guards.concluded(
        config,
        rollout,
        from_estimate(
            estimate, "agreement", "with:champion", guards.about(rollout), level=level,
            validity="anytime",
        ),
        "pass" if lo >= least else "fail" if hi < least else "undecided",
        f"agreement with the champion >= {least:g}",
        f"{said(seen, level)}, must be >= {least:g}",
        guards=False,
        bound={"min": least},
    )  # fmt: skip


def interval(seen: Progress, level: float) -> tuple[float, float, float]:
    """The share of shadowed rows that both answered alike, and its ends."""
    pairs = seen.pairs
    if not pairs.compared:
        return 0.5, 0.0, 1.0
    lo, hi = ends.share_ends(pairs.agreed, pairs.compared, level)
    return pairs.agreed / pairs.compared, lo, hi


def said(seen: Progress, level: float) -> str:
    """The agreement in words."""
    if not seen.pairs.compared:
        return "the log holds no row that champion and shadow both answered"
    shown = text.interval(*interval(seen, level))
    return f"it agrees with the champion on {shown} of {seen.pairs.compared:,} shadowed rows"


def expectations(config: Config, rollout: Rollout, seen: Progress, model: Watched) -> list[Found]:
    """What the candidate's calibrated scores expect of the metrics that requirements bound.

    A binary model's only: other estimates need each row's inputs. The estimate's standard error
    gets the factor of an interval that holds at every look.
    """
    known, signature = model.basis.known, model.signature
    asked = [one for one in config.require if _is_expected(one)]
    if signature.task != "binary" or not known or not asked or seen.cell_counts.sum() < _LEAST:
        return []
    score, decided = tally.scores(np.repeat(seen.cells, seen.cell_counts))
    names = list(dict.fromkeys(one.metric for one in asked))
    expected = {one.metric: one for one in cbpe.binary(known[0], score, decided, names, level=0.95)}
    return [
        _expected(config, rollout, one, expected[one.metric])
        for one in asked
        if one.metric in expected
    ]


def _is_expected(one: Requirement) -> bool:
    plain = not (one.across or one.by or one.better_than or one.quantile)
    return plain and one.metric in BINARY


def _expected(config: Config, rollout: Rollout, asked: Requirement, one: cbpe.Estimate) -> Found:
    # The shorter side may have been cut at 0 or 1.
    error = max(one.value - one.lo, one.hi - one.value) / normal_isf((1 - one.level) / 2)
    half = ends.end_factor(one.n, asked.level) * error
    estimate = Measured(
        value=one.value,
        lo=max(one.value - half, 0.0),
        hi=min(one.value + half, 1.0),
        n=one.n,
        method=f"{one.method}-anytime",
        details={"note": one.note},
    )
    evidence = from_estimate(
        estimate, one.metric, "expected", guards.about(rollout), level=asked.level,
        validity="anytime",
    )  # fmt: skip
    lowest, highest = asked.bounds
    shown = text.interval(estimate.value, estimate.lo, estimate.hi, lowest, highest)
    return guards.concluded(
        config,
        rollout,
        evidence,
        holding.status(asked, evidence),
        asked.text,
        f"{one.metric} is expected at {shown} by the scores of {one.n:,} rows, "
        f"it is to be {asked.text.removeprefix(asked.metric).strip()}",
        guards=False,
        requirement=asked.digest,
    )
