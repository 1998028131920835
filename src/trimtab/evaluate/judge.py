"""A requirement held against evidence: the verdict that gate, rollout and monitor share.

Pure and light: it reads records and writes one record, imports no numpy, and gives exactly one
status for any input. Measuring, and acting on the verdict, are left to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Requirement
from trimtab.evaluate import holding, wording
from trimtab.evaluate.policy import MIN_ROWS, bonferroni
from trimtab.store.records import Evidence, Place, Status, Verdict

_SLACK: Final = 1e-9


class _Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict in the making. `holds` says whether every value satisfies."""

    status: Status
    reason: str
    shown: Evidence | None = None
    evidence: list[str] = []
    details: dict[str, Any] = {}
    holds: bool = False


def judge(
    requirement: Requirement,
    evidence: Sequence[Evidence],
    *,
    subject: str,
    place: Place,
    strict: bool | None = None,
    now: int | None = None,
    config: str = "",
    run: str = "",
) -> Verdict:
    """The verdict on `subject` from its newest fitting evidence.

    `pass`: the whole interval satisfies. `fail`: the whole interval violates. `undecided`: it holds
    both, and `details["more_rows"]` estimates what is lacking. `missing`: nothing fitting was
    measured, and the reason names what to set or run. At the gate an undecided whose value
    satisfies is `provisional`, unless `strict` (None: the requirement's own) or fairness. Rollout
    and monitor look repeatedly and refuse evidence that is valid for one look.
    """
    batch, missing = _select(requirement, evidence, subject, place)
    if missing:
        found = _Finding(status="missing", reason=missing)
    else:
        found = _slices(requirement, batch) if requirement.by else _one(requirement, batch[0])
    firm = requirement.is_fairness or (requirement.strict if strict is None else strict)
    is_open = found.status == "undecided" and place == "gate"
    provisional, reason = is_open and found.holds and not firm, found.reason
    if is_open:
        reason += wording.gate_note(requirement, provisional=provisional, value_holds=found.holds)
    shown = found.shown
    return Verdict(
        id=ids.new_id(),
        requirement=requirement.digest,
        text=requirement.text,
        metric=requirement.metric,
        statistic=requirement.statistic,
        subject=subject,
        place=place,
        status=found.status,
        provisional=provisional,
        reason=reason,
        value=shown.value if shown else None,
        lo=shown.lo if shown else None,
        hi=shown.hi if shown else None,
        n=shown.n if shown else 0,
        evidence=found.evidence,
        details=found.details,
        config=config,
        run=run,
        decided_at=ids.now() if now is None else now,
    )


def _select(
    requirement: Requirement, evidence: Sequence[Evidence], subject: str, place: Place
) -> tuple[list[Evidence], str]:
    """The newest batch of usable evidence, one record per slice, or why there is none."""
    what = wording.name(requirement)
    found = [one for one in evidence if one.subject == subject and _fits(requirement, one)]
    if not found:
        return [], f"{what} has not been measured; {wording.remedy(requirement, place)}"
    usable = [one for one in found if place == "gate" or one.validity == "anytime"]
    if not usable:
        return [], wording.one_look(requirement, place)
    newest = max(one.measured_at for one in usable)
    batch = [one for one in usable if one.measured_at == newest]
    biased = next((one.details["biased"] for one in batch if one.details.get("biased")), "")
    if biased:
        return [], f"{what} lacks labels of a fair sample of rows: {biased}"
    judged = {one.slice for one in batch if not holding.is_small(one)}
    level = bonferroni(requirement.level, len(judged)) if requirement.by else requirement.level
    chosen: dict[str, Evidence] = {}
    # Of several sufficient levels the lowest has the narrowest interval.
    for one in sorted(batch, key=lambda one: (one.slice, one.level, one.id)):
        if one.level >= level - _SLACK:
            chosen.setdefault(one.slice, one)
    if chosen.keys() != {one.slice for one in batch}:
        highest = max(one.level for one in batch)
        return [], f"{what} was measured at level {highest:.4g}, it must be at least {level:.4g}"
    return list(chosen.values()), ""


def _fits(requirement: Requirement, one: Evidence) -> bool:
    return (
        one.metric == requirement.metric
        and one.statistic == requirement.statistic
        and (one.slice.startswith(f"{requirement.by}=") if requirement.by else not one.slice)
    )


def _one(requirement: Requirement, one: Evidence) -> _Finding:
    details: dict[str, Any] = {"measured": one.details} if one.details else {}
    if why := holding.undefined(one):
        reason = f"{wording.name(requirement)} is undefined: {why}"
        return _Finding(status="undecided", reason=reason, evidence=[one.id], details=details)
    status, reason = holding.status(requirement, one), wording.finding(requirement, one)
    if status == "undecided":
        more = holding.more_rows(requirement, one)
        details, reason = {**details, "more_rows": more}, f"{reason}; {wording.lacking(more)}"
    return _Finding(
        status=status,
        reason=reason,
        shown=one,
        evidence=[one.id],
        details=details,
        holds=holding.holds(requirement, one.value),
    )


def _slices(requirement: Requirement, batch: list[Evidence]) -> _Finding:
    """All judged slices must hold; small and undefined ones are listed and block nothing.

    Where no slice can be judged the requirement is undecided.
    """
    left_out = {
        one.slice: holding.undefined(one) or f"{one.n:,} rows"
        for one in batch
        if holding.is_small(one) or holding.undefined(one)
    }
    judged = {one.slice: _one(requirement, one) for one in batch if one.slice not in left_out}
    status, worst = _worst(requirement, list(judged.values()))
    if worst is None or worst.shown is None:
        reason = f"{wording.name(requirement)}: no slice has the {MIN_ROWS} rows it needs"
    elif status == "pass":
        reason = f"all {len(judged)} slices hold, closest {worst.shown.slice}: {worst.reason}"
    else:
        reason = f"{worst.shown.slice}: {worst.reason}"
    if left_out:
        reason += "; not judged: " + ", ".join(f"{k} ({v})" for k, v in left_out.items())
    details: dict[str, Any] = {
        "slices": {name: _row(found) for name, found in judged.items()},
        "not_judged": left_out,
    }
    if status == "undecided" and judged:
        details["more_rows"] = max(found.details.get("more_rows", 0) for found in judged.values())
    defined = [one for one in batch if not holding.undefined(one)]
    return _Finding(
        status=status,
        reason=reason,
        shown=worst.shown if worst else None,
        evidence=[one.id for one in batch],
        details=details,
        holds=bool(defined)
        and all(holding.holds(requirement, one.value) for one in defined if _counts(one, judged)),
    )


def _counts(one: Evidence, judged: dict[str, _Finding]) -> bool:
    """Without a judged slice the small ones speak for the point estimate."""
    return one.slice in judged or not judged


def _worst(requirement: Requirement, found: list[_Finding]) -> tuple[Status, _Finding | None]:
    """The status of all, and the finding of that status with the least margin."""
    for status in ("fail", "undecided", "pass"):
        of_it = [one for one in found if one.status == status]
        if of_it:
            return status, min(of_it, key=lambda one: _margin(requirement, one))
    return "undecided", None


def _margin(requirement: Requirement, found: _Finding) -> float:
    return holding.margin(requirement, found.shown) if found.shown else float("inf")


def _row(found: _Finding) -> dict[str, Any]:
    one = found.shown
    assert one is not None  # only defined slices are judged
    return {"value": one.value, "lo": one.lo, "hi": one.hi, "n": one.n, "status": found.status}
