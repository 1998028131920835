"""Whether labels are a fair sample of cases: not where outcomes are seen only for selected ones."""

from __future__ import annotations

from typing import Final

from trimtab.config import Config

SELECTED: Final = "outcomes are seen only for selected cases"


def why(config: Config) -> str:
    """Why labels of the prediction log are no fair sample; "" where they are."""
    return SELECTED if config.serve.label_policy == "selected" else ""
