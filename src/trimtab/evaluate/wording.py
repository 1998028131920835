"""The sentences of a verdict: what was found, what must be, and what to do about it."""

from __future__ import annotations

from typing import Any

from trimtab.config import Requirement
from trimtab.evaluate import endpoint, text
from trimtab.evaluate.holding import MOST_ROWS
from trimtab.store.records import Evidence, Place


def name(requirement: Requirement) -> str:
    """What is bounded: `selection_rate ratio across group`."""
    said = requirement.metric
    if requirement.quantile:
        said += f" {requirement.quantile}"
    if requirement.is_fairness:
        said += f" {'gap' if requirement.ratio is None else 'ratio'} across {requirement.across}"
    if requirement.better_than:
        said += f" gain over {requirement.better_than}"
    return said + (f" by {requirement.by}" if requirement.by else "")


def finding(requirement: Requirement, one: Evidence) -> str:
    """Value, interval, rows and bound, and for a disparity the two groups that made it."""
    lowest, highest = requirement.bounds
    shown = text.interval(one.value, one.lo, one.hi, lowest, highest)
    said = f"{name(requirement)} is {shown} on {one.n:,} rows, {_must(requirement)}"
    if requirement.is_fairness:
        said += _groups(requirement, one.details)
    return said


def lacking(rows: int) -> str:
    """How much more data would decide."""
    if rows >= MOST_ROWS:
        return "no number of rows would decide, the value sits on the bound"
    return f"about {_rounded(rows):,} more rows would decide"


def gate_note(requirement: Requirement, *, provisional: bool, value_holds: bool) -> str:
    """What an undecided means at the gate."""
    if provisional:
        return "; it passes provisionally, since the value satisfies"
    if not value_holds:
        return "; it does not pass, since no value satisfies"
    why = "a fairness requirement" if requirement.is_fairness else "a strict requirement"
    return f"; it does not pass, since {why} must be sure"


def remedy(requirement: Requirement, place: Place) -> str:
    """What to set or to run so that the requirement gets measured."""
    if how := endpoint.HOW.get(requirement.metric):
        return how
    if requirement.better_than:
        return f"it needs a {requirement.better_than} that scored the same rows"
    if column := requirement.across or requirement.by:
        return (
            f"it needs the column {column!r} beside the scored rows: name it under protected in "
            "[data.NAME], or keep it among the model's inputs"
        )
    if place == "gate":
        return "evaluate the candidate on withheld rows that carry the target"
    return "set labels in [serve] so that truth is joined to predictions"


def one_look(requirement: Requirement, place: Place) -> str:
    """Why a fixed-sample interval is refused."""
    return (
        f"{name(requirement)} was measured for one look only, and the {place} looks again and "
        "again: it needs an interval that holds at every look"
    )


def _must(requirement: Requirement) -> str:
    lowest, highest = requirement.bounds
    if requirement.better_than:
        return "must be > 0"
    if requirement.min is not None and requirement.max is not None:
        return f"must be between {lowest:g} and {highest:g}"
    return f"must be <= {highest:g}" if lowest == float("-inf") else f"must be >= {lowest:g}"


def _groups(requirement: Requirement, details: dict[str, Any]) -> str:
    known = details.get("groups") or {}
    ends = [str(details.get("smallest")), str(details.get("largest"))]
    said = [_group(requirement, end, known[end]) for end in ends if end in known]
    clause = f"; {', '.join(said)}" if said else ""
    left_out = {**(details.get("small") or {}), **(details.get("unmeasured") or {})}
    if left_out:
        listed = (
            f"{k} ({v:,} rows)" if isinstance(v, int) else f"{k} ({v})" for k, v in left_out.items()
        )
        clause += f"; not judged: {', '.join(listed)}"
    return clause


def _group(requirement: Requirement, label: str, group: dict[str, Any]) -> str:
    value, n = group["value"], group["n"]
    if requirement.metric == "selection_rate":
        return f"{label} selects {100 * value:.3g} % of {n:,}"
    return f"{label} has {value:.3g} on {n:,}"


def _rounded(rows: int) -> int:
    # An estimate deserves two digits.
    digits = len(str(rows)) - 2
    return -(-rows // 10**digits) * 10**digits if digits > 0 else rows
