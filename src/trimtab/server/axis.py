"""Values as places in a drawing."""

from __future__ import annotations

from collections.abc import Callable


def scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """A linear map from [low, high] to pixels, no further than its ends; one value alone lies in the
    middle.
    """
    half = high / 2 - low / 2  # the whole range may be beyond the largest float

    def at(value: float) -> float:
        share = (value / 2 - low / 2) / half if half else 0.5
        return round(begin + min(max(share, 0.0), 1.0) * (end - begin), 1)

    return at
