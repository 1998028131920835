"""Requests that an endpoint refused for what they hold: an input that broke before any row was scored.

A null where training saw none is refused and leaves no row to profile, so the requests themselves
are counted, with the columns that were to blame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from trimtab import ids
from trimtab.config import Config
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.log.traffic import FAILED
from trimtab.monitor.requests import turned_away
from trimtab.monitor.statistics import rates
from trimtab.serve.logged.frame import Frame
from trimtab.store.workspace import Workspace

_MARGIN: Final = 0.05
"""The share of requests, beyond what was refused before, that is nobody's trouble."""
_LISTED: Final = 3
_ANY: Final = "request"
"""What is to blame where no column is."""


def arrive(ws: Workspace, config: Config, endpoint: str, frames: Iterable[Frame]) -> None:
    """Count requests as the log is taken in; call it where the log's cursor moves."""
    asked = (one for one in frames if one.role != "shadow" and one.status < FAILED)
    turned_away.count(ws, config, _name(endpoint), asked, _column)


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    moment: int,
    alpha: float,
    *,
    serving: Collection[str] = (),
) -> Finding | None:
    """A broken input where far more requests are refused than before.

    `serving` are the labels of the versions that clients are answered by, none for any.
    """
    found = turned_away.spell(ws, config, _name(endpoint), moment, alpha, _MARGIN, serving)
    if found is None:
        return None
    refused, asked, was = found.said()
    ranked, since = found.blamed(), found.since()
    named = ", ".join(f"{name} in {count:,}" for name, count in ranked[:_LISTED] if name != _ANY)
    return Finding(
        kind="broken input",
        severity="alarm",
        features=tuple(_feature(name, count, asked) for name, count in ranked),
        since=since,
        text=f"Broken input (refused): {refused:,} of {asked:,} requests since {ids.iso(since)} were "
        f"refused for what they held{f': {named}' if named else ''}{was}.",
        detail={"rows_touched": refused / asked, "refused": float(refused)},
        form="refused",
        share=refused / asked,
    )


def asked(ws: Workspace, endpoint: str) -> set[int]:
    """The windows in which anything was asked, though it was refused."""
    return turned_away.asked(ws, _name(endpoint))


def accepted(
    ws: Workspace, config: Config, endpoint: str, label: str, since: int
) -> tuple[int, int] | None:
    """How many requests a version refused and was asked since a moment, once these say, at 95 %,
    that it refuses no more than the endpoint did before that moment; None until then.
    """
    if config.serve.sample:
        return None
    (refused, asked), (hits, total) = turned_away.sides(ws, _name(endpoint), label, since)
    if not asked:
        return None
    most = (
        rates.difference(refused, asked, hits, total).hi
        if total
        else rates.wilson(refused, asked)[1]
    )
    return (refused, asked) if most < _MARGIN else None


def _feature(name: str, count: int, asked: int) -> FeatureFinding:
    lo, hi = rates.wilson(count, asked)
    return FeatureFinding(
        feature=name, statistic="refused", p=0.0, effect=count / asked, lo=lo, hi=hi, unit="share",
        note=f"refused in {count:,} of {asked:,} requests",
    )  # fmt: skip


def _column(frame: Frame) -> str:
    return frame.error.partition(" in ")[2] or _ANY


def _name(endpoint: str) -> str:
    return f"refused:{endpoint}"
