"""Outcomes that are seen only for the cases that the model let through teach and prove nothing.

A loan that was refused is never repaid. Under `[serve] label_policy = "selected"` what needs labels
is marked, wherever it is measured on rows of the prediction log, and no requirement passes on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trimtab.config import Config
from trimtab.loop.project import Project
from trimtab.monitor.outcomes import biased
from trimtab.store import versions

METHOD: Final = "prediction log joined with labels"
"""The provenance of data versions that the loop publishes."""
REASON: Final = (
    f"{biased.SELECTED}; let a random share through whatever the model says, "
    "label those, and train on them with `trimtab data add` and `trimtab run`"
)


def of_log(config: Config) -> str:
    """Why labels of the prediction log are no fair sample of cases; "" where they are."""
    return REASON if biased.why(config) else ""


def bias(project: Project, data: Mapping[str, str]) -> str:
    """Why the truth in these versions (name -> label) is no fair sample of cases; "" where it is."""
    if not biased.why(project.config):
        return ""
    for label in data.values():
        source = versions.get(project.ws, "data", label).meta.get("source", {})
        if (source.get("provenance") or {}).get("method") == METHOD:
            return REASON
    return ""
