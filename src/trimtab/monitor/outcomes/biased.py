"""Whether labels are a fair sample of cases: not where outcomes are seen only for selected ones."""

from __future__ import annotations

from typing import Final

from trimtab.config import Config, duration

SELECTED: Final = "outcomes are seen only for selected cases"


def why(config: Config) -> str:
    """Why labels of the prediction log are no fair sample; "" where they are."""
    return SELECTED if config.serve.label_policy == "selected" else ""


def early(config: Config, end: int, moment: int) -> str:
    """Why labels that have come by a moment are none of a window that ended at `end`; "" where they are.

    Within `[monitor] label_delay` they may be of one outcome: no weight mends that.
    """
    delay = config.monitor.label_delay
    if end + duration(delay) <= moment:
        return ""
    return f"no fair sample before the window's end is {delay} ago ([monitor] label_delay)"
