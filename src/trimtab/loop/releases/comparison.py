"""The two arms of a test beside each other: shares, metrics, their difference, and what it means.

Every interval holds at any number of looks. Reads what was logged and labelled; changes nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from trimtab import ids
from trimtab.config import Requirement
from trimtab.deploy import local
from trimtab.errors import DataError, UndecidedError
from trimtab.evaluate import anytime, holding, latency, metrics, mismatch, sequential, wording
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.scored import Scored
from trimtab.loop.candidate import selected
from trimtab.loop.project import Project
from trimtab.loop.releases.shown import Arm, ArmsCompared, Difference, Measured, Mismatch, Terms
from trimtab.model import registry
from trimtab.monitor.log import arms, catalogue, progress, tally, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import joined
from trimtab.store import versions
from trimtab.store.records import Evidence, Rollout

LEVEL: Final = 0.95
_DEFAULT: Final = {"regression": "rmse"}
_QUANTILES: Final = ("p50", "p95")
_NO_LABELS: Final = "no answer of {} has its label yet"


class _Side(NamedTuple):
    name: str
    digest: str
    label: str
    role: str
    counted: tally.Arm
    scored: Scored | None


def compare(project: Project, rollout: Rollout, terms: Terms) -> ArmsCompared:
    """The report of a test as it stands now; raises DataError where labels do not fit the models."""
    ws = project.ws
    seen = progress.of(ws, rollout)
    with catalogue.open_catalogue(local.folder(ws, rollout.endpoint)) as index:
        sides = [
            _Side(name, digest, versions.get(ws, "model", digest).label, role, counted,
                  _scored(project, index, rollout, digest, role))
            for name, digest, role, counted in (
                ("A", rollout.champion, "champion", seen.champion),
                ("B", rollout.candidate, "canary", seen.candidate),
            )
        ]  # fmt: skip
    wanted = _wanted(project, sides)
    total = sum(one.counted.requests for one in sides)
    shown = [_arm(project, one, total, wanted) for one in sides]
    off = _mismatch(project, sides, arms.keys(ws, rollout), terms)
    differences = [_difference(one, sides) for one in wanted if one.better_than]
    sentence = _sentence(differences, off)
    return ArmsCompared(
        rollout=rollout,
        terms=terms,
        arms=shown,
        mismatch=off,
        differences=differences,
        agreement="not known: each request was answered by one model alone",
        sentence=sentence,
        asks=_asks(rollout, sides),
    )


def _scored(
    project: Project, index: Catalogue, rollout: Rollout, digest: str, role: str
) -> Scored | None:
    """The labelled answers of an arm since the test began; None where there is none."""
    config = project.config
    signature = registry.signature_of(project.ws, digest)
    known, labels = joined.since(index, digest, signature, rollout.opened_at)
    places = [i for i, one in enumerate(known.roles) if one == role]
    if not places:
        return None
    rows, mine = known.take(places), [labels[i] for i in places]
    biased = selected.of_log(config)
    try:
        return traffic.scored(
            rows,
            [one.value for one in mine],
            signature,
            slices=traffic.slices(rows, mine, joined.columns(config)),
            biased=biased,
        )
    except DataError as error:
        raise DataError(f"labels do not fit the model's classes: {error.message}") from error


def _wanted(project: Project, sides: list[_Side]) -> list[Requirement]:
    """What to measure: each required metric as a gain where it has a better side, and disparities.

    Where none is required that labels tell, the task's plainest one.
    """
    found: dict[str, Requirement] = {}
    for one in project.config.require:
        metric = metrics.get(one.metric)
        if not isinstance(metric, Metric) or metric.is_certain:
            continue
        if one.is_fairness:
            found.setdefault(one.text, one)
        elif metric.direction != "none":
            gain = Requirement(metric=one.metric, better_than="champion", level=LEVEL)
            found.setdefault(one.metric, gain)
    task = next((one.scored.task for one in sides if one.scored), "")
    if task and not any(one.better_than for one in found.values()):
        name = _DEFAULT.get(task, "accuracy")
        found[name] = Requirement(metric=name, better_than="champion", level=LEVEL)
    return list(found.values())


def _arm(project: Project, side: _Side, total: int, wanted: list[Requirement]) -> Arm:
    counted = side.counted
    lo, hi = sequential.share_interval(counted.failed, counted.requests, LEVEL)
    failed = Measured(metric="error_rate", note="no requests yet")
    if counted.requests:
        failed = Measured(
            metric="error_rate", value=counted.failed / counted.requests, lo=lo, hi=hi,
            n=counted.requests,
        )  # fmt: skip
    return Arm(
        name=side.name,
        model=side.label,
        requests=counted.requests,
        rows=counted.rows,
        share=counted.requests / total if total else 0.0,
        labelled=side.scored.rows if side.scored else 0,
        failed=failed,
        latency=[_latency(side, quantile) for quantile in _QUANTILES],
        metrics=[_measured(one, side) for one in wanted],
    )


def _latency(side: _Side, quantile: str) -> Measured:
    name = f"latency_ms {quantile}"
    spent = np.repeat(side.counted.latencies, side.counted.counts) / 1000
    if not spent.size:
        return Measured(metric=name, note="no answers yet")
    found = latency.quantile_evidence(spent, quantile, subject=side.digest, validity="anytime")
    return _told(name, found)


def _measured(wanted: Requirement, side: _Side) -> Measured:
    """A metric of one arm, or a disparity between its groups."""
    name = wanted.text if wanted.is_fairness else wanted.metric
    scored = side.scored
    if scored is None:
        return Measured(metric=name, note=_NO_LABELS.format(side.name))
    if wanted.is_fairness:
        found = anytime.measure_anytime(scored, [wanted], subject=side.digest, window="arms")
        return _told(name, found[0]) if found else Measured(metric=name, note="no groups are known")
    metric = metrics.get(wanted.metric)
    assert isinstance(metric, Metric)
    try:
        one = anytime.value(metric, scored, LEVEL)
    except UndecidedError as error:
        return Measured(metric=name, n=scored.rows, note=error.message)
    return Measured(metric=name, value=one.value, lo=one.lo, hi=one.hi, n=one.n)


def _told(name: str, one: Evidence) -> Measured:
    if why := holding.undefined(one):
        return Measured(metric=name, n=one.n, note=why)
    return Measured(metric=name, value=one.value, lo=one.lo, hi=one.hi, n=one.n)


def _difference(wanted: Requirement, sides: list[_Side]) -> Difference:
    """By how much B is better; the interval of a gain between two arms."""
    a, b = sides[0].scored, sides[1].scored
    if a is None or b is None:
        missing = next(one.name for one in sides if one.scored is None)
        return _unknown(wanted.metric, _NO_LABELS.format(missing), 0)
    n = a.rows + b.rows
    found = anytime.measure_anytime(b, [wanted], subject=sides[1].digest, window="arms", against=a)
    if not found:
        return _unknown(wanted.metric, "it has no interval that holds at any look", n)
    one = found[0]
    if why := holding.undefined(one):
        return _unknown(wanted.metric, why, n)
    more = 0 if one.lo > 0 or one.hi < 0 else holding.more_rows(wanted, one)
    return Difference(
        metric=wanted.metric, value=one.value, lo=one.lo, hi=one.hi, n=one.n, level=one.level,
        sentence=_said(wanted.metric, one, more), more_rows=more,
    )  # fmt: skip


def _unknown(metric: str, why: str, n: int) -> Difference:
    return Difference(
        metric=metric, value=None, lo=None, hi=None, n=n, level=LEVEL,
        sentence=f"{metric}: nothing can be said yet, {why}",
    )  # fmt: skip


def _said(metric: str, one: Evidence, more: int) -> str:
    span = f"[{one.lo:.3g}, {one.hi:.3g}] on {one.n:,} labelled rows"
    if one.lo > 0:
        return f"B is better in {metric} by {one.value:.3g} {span}"
    if one.hi < 0:
        span = f"[{-one.hi:.3g}, {-one.lo:.3g}] on {one.n:,} labelled rows"
        return f"B is worse in {metric} by {-one.value:.3g} {span}"
    return (
        f"{metric} is undecided: B may be worse by up to {-one.lo:.3g} or better by up to "
        f"{one.hi:.3g}, {one.value:.3g} {span}; {wording.lacking(more)}"
    )


def _mismatch(
    project: Project, sides: list[_Side], keys: tuple[int, int] | None, terms: Terms
) -> Mismatch:
    """Held against requests, or where `[serve] sticky` keeps some together, against its keys."""
    sticky = project.config.serve.sticky
    a, b = (one.counted.requests for one in sides)
    counts, what = (keys or (0, 0), f"values of {sticky}") if sticky else ((a, b), "requests")
    n = sum(counts)
    got = counts[1] / n if n else 0.0
    if not n:
        why = (
            f"requests of one {sticky} stay together and it is not logged, so shares are not tested"
            if sticky
            else "no requests yet"
        )
        return Mismatch(expected=terms.share, seen=got, n=0, p=None, fired=False, sentence=why)
    p = mismatch.p_value(counts[1], n, terms.share)
    fired = p < mismatch.ALARM
    said = f"B got {got:.2%} of {n:,} {what}, {100 * terms.share:.4g}% were meant (p = {p:.2g})"
    if fired:
        said += (
            ": the shares are off, so the difference is not to be trusted. Look for clients that "
            "ask again on one arm, retries, bots or routes that were changed; then begin anew"
        )
    return Mismatch(expected=terms.share, seen=got, n=n, p=p, fired=fired, sentence=said)


def _sentence(differences: list[Difference], off: Mismatch) -> str:
    if off.fired:
        return off.sentence
    if not differences:
        return "no requirement has a better side, so neither model can be called the better one"
    sure = [one for one in differences if one.lo is not None and not one.more_rows]
    rest = [one for one in differences if one not in sure]
    return ". ".join(one.sentence for one in (*sure, *rest))


def _asks(rollout: Rollout, sides: list[_Side]) -> str:
    if rollout.state != "open":
        return f"it is {rollout.state.replace('_', ' ')} since {ids.iso(rollout.closed_at)}"
    short = rollout.id[:16]
    return (
        f"Decide: `trimtab rollouts advance {short}` promotes {sides[1].label}, "
        f"`trimtab rollouts rollback {short}` stays with {sides[0].label}."
    )
