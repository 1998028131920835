"""How windows are told: the sentence on an endpoint's newest closed one, and a window's time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trimtab import ids
from trimtab.monitor.drift import episodes
from trimtab.monitor.findings import Finding
from trimtab.store.records import Version, Window


def window(endpoint: str, champion: Version, closed: Sequence[Window]) -> str:
    """What the newest closed window of a model held."""
    if not closed:
        return f"{endpoint}: no window of {champion.label} has closed yet"
    last = closed[-1]
    what = (
        ", ".join(
            one.kind if episodes.lasts(one) else f"{one.kind} that is over"
            for one in msgspec.convert(last.findings, list[Finding])
        )
        or "inputs as in training"
    )
    if last.features.get("reason"):
        what = str(last.features["reason"])
    return (
        f"{endpoint}: {champion.label} answered {last.rows:,} rows in the window from "
        f"{ids.iso(last.start)}: {what}"
    )


def span(one: Window) -> str:
    """A window's beginning and end."""
    return f"{ids.iso(one.start)}/{ids.iso(one.end)}"
