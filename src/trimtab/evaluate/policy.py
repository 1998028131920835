"""The numbers that measuring and judging share; light, so that the controller can import it."""

from __future__ import annotations

from typing import Final

# A slice or group with fewer rows is listed and never judged.
MIN_ROWS: Final = 50
# An asymptotic sequential interval needs so many of the rarer kind: positives, or successes.
MIN_UNITS: Final = 20
# A column with more distinct values is measured on its largest ones.
MAX_GROUPS: Final = 100


def bonferroni(level: float, count: int) -> float:
    """The level of each of `count` intervals that hold together with probability `level`."""
    return 1 - (1 - level) / max(count, 1)
