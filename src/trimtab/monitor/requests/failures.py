"""Requests that the champion failed on (500): clients get no answer, and no row tells of it.

They are counted beside what was answered, by the model that failed. What a candidate fails on is its
rollout's: a guard of it goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from trimtab import ids
from trimtab.config import Config
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.log.traffic import ANSWERED, FAILED
from trimtab.monitor.requests import turned_away
from trimtab.monitor.statistics import rates
from trimtab.serve.logged.frame import Frame
from trimtab.store.workspace import Workspace

FEATURE: Final = "__errors__"
_MARGIN: Final = 0.01
"""The share of requests, beyond what failed before, that is nobody's trouble."""
_LISTED: Final = 3


def arrive(ws: Workspace, config: Config, endpoint: str, frames: Iterable[Frame]) -> None:
    """Count requests as the log is taken in; call it where the log's cursor moves."""
    asked = (
        one
        for one in frames
        if one.role == "champion" and (one.status == ANSWERED or one.status >= FAILED)
    )
    turned_away.count(ws, config, _name(endpoint), asked, lambda one: one.label)


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    moment: int,
    alpha: float,
    *,
    serving: Collection[str] = (),
) -> Finding | None:
    """Errors where far more requests fail than before, the model of each named.

    `serving` is the champion's label, none for that of any: what another failed on is not its own.
    """
    found = turned_away.spell(ws, config, _name(endpoint), moment, alpha, _MARGIN, serving)
    if found is None:
        return None
    failed, asked, was = found.said()
    since, (lo, hi) = found.since(), rates.wilson(failed, asked)
    named = ", ".join(f"{label} on {count:,}" for label, count in found.blamed()[:_LISTED])
    note = f"failed on {failed:,} of {asked:,} requests"
    return Finding(
        kind="errors",
        severity="alarm",
        features=(
            FeatureFinding(
                feature=FEATURE, statistic="errors", p=0.0, effect=failed / asked, lo=lo, hi=hi,
                unit="share", note=note,
            ),
        ),
        since=since,
        text=f"Errors: the endpoint {note} since {ids.iso(since)}: {named}{was}.",
        detail={"failed": float(failed), "asked": float(asked)},
        form="sudden",
        share=failed / asked,
    )  # fmt: skip


def asked(ws: Workspace, endpoint: str) -> set[int]:
    """The windows in which anything was asked, though it failed."""
    return turned_away.asked(ws, _name(endpoint))


def _name(endpoint: str) -> str:
    return f"failed:{endpoint}"
