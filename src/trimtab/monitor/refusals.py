"""Requests that an endpoint refused for what they hold: an input that broke before any row was scored.

A null where training saw none is refused and leaves no row to profile, so the requests themselves
are counted, window by window, with the columns that were to blame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.monitor import rates
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame
from trimtab.store import states
from trimtab.store.workspace import Workspace

_FAILED: Final = 500
_KEPT: Final = 57
_MARGIN: Final = 0.05
"""The share of requests, beyond what was refused before, that is nobody's trouble."""
_LEAST: Final = 5
"""Refused requests, of any number of rows each, that are worth a test."""
_COLUMNS: Final = 20
_LISTED: Final = 3
_ANY: Final = "request"
"""What is to blame where no column is."""


class Window(msgspec.Struct, kw_only=True):
    """The requests of one window: how many, how many were refused, and those by what was to blame."""

    asked: int = 0
    refused: int = 0
    columns: dict[str, int] = {}


class _Kept(msgspec.Struct, kw_only=True):
    newest: int = 0
    windows: dict[int, Window] = {}


def arrive(ws: Workspace, config: Config, endpoint: str, frames: Iterable[Frame]) -> None:
    """Count requests as the log is taken in; call it where the log's cursor moves.

    A refused request told no event time that counts: where clients tell it, it is of the window
    that the answers before it have reached.
    """
    kept, span = _kept(ws, endpoint), duration(config.monitor.window)
    told = config.serve.event_time == "client"
    for frame in frames:
        if frame.role == "shadow" or frame.status >= _FAILED:
            continue
        if frame.ids:
            kept.newest = max(kept.newest, *frame.times())
        moment = kept.newest if told and kept.newest else frame.received_at
        window = kept.windows.setdefault(moment // span * span, Window())
        requests = len(frame.requests())
        window.asked += requests
        if frame.status != ANSWERED:
            window.refused += requests
            blamed = frame.error.partition(" in ")[2] or _ANY
            if blamed in window.columns or len(window.columns) < _COLUMNS:
                window.columns[blamed] = window.columns.get(blamed, 0) + requests
    kept.windows = {one: kept.windows[one] for one in sorted(kept.windows)[-_KEPT:]}
    states.put(ws, _name(endpoint), msgspec.to_builtins(kept, str_keys=True))


def look(ws: Workspace, config: Config, endpoint: str, moment: int, alpha: float) -> Finding | None:
    """A broken input where far more requests are refused than before.

    The newest window counts while it is open too, once it has refused half of what a window is
    usually asked: what refuses everything is not left waiting for midnight. A log that is `sample`d
    holds every refusal and not every answer, so nothing is said of it.
    """
    if config.serve.sample:
        return None
    span, late = duration(config.monitor.window), duration(config.monitor.lateness)
    known = sorted(_kept(ws, endpoint).windows.items())
    least = config.monitor.min_rows
    if known and known[-1][0] + span + late > moment:
        usual = median([one.asked for _, one in known[:-1]]) if known[1:] else 0
        if known[-1][1].refused < max(_LEAST, usual / 2):
            known = known[:-1]
    while known and known[-1][1].asked < _LEAST:  # too few to say that it is over
        known = known[:-1]
    first = len(known)
    while first and _refuses(known[first - 1][1], known[: first - 1], least, alpha):
        first -= 1
    return _finding(known[first:], known[:first]) if first < len(known) else None


def _refuses(now: Window, before: Sequence[tuple[int, Window]], least: int, alpha: float) -> bool:
    hits, total = sum(one.refused for _, one in before), sum(one.asked for _, one in before)
    if total < least:  # nothing is known to be usual yet
        low = rates.wilson(now.refused, now.asked, 1 - 2 * min(alpha, 0.01))[0]
        return now.asked >= least and low > _MARGIN
    if now.refused < _LEAST:
        return False
    grown = rates.difference(now.refused, now.asked, hits, total).lo > _MARGIN
    return grown and rates.two_sided(now.refused, now.asked, hits, total) <= alpha


def _finding(now: Sequence[tuple[int, Window]], before: Sequence[tuple[int, Window]]) -> Finding:
    asked, refused = sum(one.asked for _, one in now), sum(one.refused for _, one in now)
    hits, total = sum(one.refused for _, one in before), sum(one.asked for _, one in before)
    columns: dict[str, int] = {}
    for _, one in now:
        for name, count in one.columns.items():
            columns[name] = columns.get(name, 0) + count
    ranked = sorted(columns.items(), key=lambda one: (-one[1], one[0]))
    features = tuple(_feature(name, count, asked) for name, count in ranked)
    named = ", ".join(f"{name} in {count:,}" for name, count in ranked[:_LISTED] if name != _ANY)
    was = f"; {hits:,} of {total:,} were before" if total else ""
    since = now[0][0]
    return Finding(
        kind="broken input",
        severity="alarm",
        features=features,
        since=since,
        text=f"Broken input (refused): {refused:,} of {asked:,} requests since {ids.iso(since)} were "
        f"refused for what they held{f': {named}' if named else ''}{was}.",
        detail={"rows_touched": refused / asked, "refused": float(refused)},
        form="refused",
        share=refused / asked,
    )


def _feature(name: str, count: int, asked: int) -> FeatureFinding:
    lo, hi = rates.wilson(count, asked)
    return FeatureFinding(
        feature=name, statistic="refused", p=0.0, effect=count / asked, lo=lo, hi=hi, unit="share",
        note=f"refused in {count:,} of {asked:,} requests",
    )  # fmt: skip


def _kept(ws: Workspace, endpoint: str) -> _Kept:
    body: dict[str, Any] = states.get(ws, _name(endpoint)) or {}
    return msgspec.convert(body, _Kept, strict=False)


def _name(endpoint: str) -> str:
    return f"refused:{endpoint}"
