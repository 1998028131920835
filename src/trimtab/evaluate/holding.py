"""How an interval stands to the bounds of a requirement: arithmetic on one evidence record.

Total: a malformed record (not a number, ends crossed) counts as undefined and decides nothing.
"""

from __future__ import annotations

import math
from typing import Final

from trimtab.config import Requirement
from trimtab.evaluate.policy import MIN_ROWS
from trimtab.store.records import Evidence, Status

# More rows than this is said as "no number of rows": the value sits on the bound.
MOST_ROWS: Final = 1_000_000_000


def undefined(one: Evidence) -> str:
    """Why the record holds no value, "" where it does."""
    if reason := one.details.get("undefined"):
        return str(reason)
    if not one.lo <= one.value <= one.hi:
        return "the record is no value within an interval"
    return ""


def is_small(one: Evidence) -> bool:
    """Whether a slice has too few rows to be judged."""
    rows = one.details.get("rows")
    return (rows if isinstance(rows, int) else one.n) < MIN_ROWS


def status(requirement: Requirement, one: Evidence) -> Status:
    """Pass, fail or undecided, of a defined record."""
    lowest, highest = requirement.bounds
    if requirement.better_than:
        # To equal the other model is not to be better.
        return "pass" if one.lo > 0 else "fail" if one.hi <= 0 else "undecided"
    if one.lo >= lowest and one.hi <= highest:
        return "pass"
    return "fail" if one.hi < lowest or one.lo > highest else "undecided"


def holds(requirement: Requirement, value: float) -> bool:
    """Whether the value alone satisfies."""
    lowest, highest = requirement.bounds
    return value > 0 if requirement.better_than else lowest <= value <= highest


def margin(requirement: Requirement, one: Evidence) -> float:
    """How far the value lies inside the bounds; negative outside."""
    lowest, highest = requirement.bounds
    return min(one.value - lowest, highest - one.value)


def more_rows(requirement: Requirement, one: Evidence) -> int:
    """About how many more rows would decide, as intervals shrink with the root of the rows.

    `MOST_ROWS` where none would: the value sits on the bound.
    """
    needed = one.details.get("rows_needed")
    if isinstance(needed, int) and needed > one.n:
        return needed - one.n
    value, (lowest, highest) = one.value, requirement.bounds
    if holds(requirement, value):
        ends = [(value - one.lo, value - lowest), (one.hi - value, highest - value)]
    elif value <= lowest:
        ends = [(one.hi - value, lowest - value)]
    else:
        ends = [(value - one.lo, value - highest)]
    ratio = max(_ratio(width, distance) for width, distance in ends)
    more = max(one.n, 1) * (ratio * ratio - 1)
    return max(1, math.ceil(more)) if more < MOST_ROWS else MOST_ROWS


def _ratio(width: float, distance: float) -> float:
    if math.isinf(distance) or width <= 0:
        return 0.0
    return min(width / distance, float(MOST_ROWS)) if distance > 0 else float(MOST_ROWS)
