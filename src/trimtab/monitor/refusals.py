"""Requests that an endpoint refused for what they hold: an input that broke before any row was scored.

A null where training saw none is refused and leaves no row to profile, so the requests themselves
are counted, window by window, with the columns that were to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.monitor import rates
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame
from trimtab.store import states
from trimtab.store.workspace import Workspace

FAILED: Final = 500
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


class Spell(NamedTuple):
    """The windows in which far more requests were turned away than in those `before`."""

    now: list[tuple[int, Window]]
    before: list[tuple[int, Window]]

    def said(self) -> tuple[int, int, str]:
        """How many were turned away of how many, and a half-sentence on before."""
        hits, total = (_sum(self.before, name) for name in ("refused", "asked"))
        was = f"; {hits:,} of {total:,} were before" if total else ""
        return _sum(self.now, "refused"), _sum(self.now, "asked"), was

    def blamed(self) -> list[tuple[str, int]]:
        """What was to blame for how many, the most first."""
        found: dict[str, int] = {}
        for _, one in self.now:
            for name, count in one.columns.items():
                found[name] = found.get(name, 0) + count
        return sorted(found.items(), key=lambda one: (-one[1], one[0]))


def arrive(ws: Workspace, config: Config, endpoint: str, frames: Iterable[Frame]) -> None:
    """Count requests as the log is taken in; call it where the log's cursor moves."""
    asked = (one for one in frames if one.role != "shadow" and one.status < FAILED)
    count(ws, config, _name(endpoint), asked, _blamed)


def count(
    ws: Workspace,
    config: Config,
    name: str,
    frames: Iterable[Frame],
    blamed: Callable[[Frame], str],
) -> None:
    """Count requests under the name of a state, and what was to blame where it is turned away.

    Such a request told no event time that counts: where clients tell it, it is of the window that
    the answers before it have reached.
    """
    kept, span = _kept(ws, name), duration(config.monitor.window)
    told = config.serve.event_time == "client"
    for frame in frames:
        if frame.ids:
            kept.newest = max(kept.newest, *frame.times())
        moment = kept.newest if told and kept.newest else frame.received_at
        window = kept.windows.setdefault(moment // span * span, Window())
        requests = len(frame.requests())
        window.asked += requests
        if frame.status != ANSWERED:
            window.refused += requests
            what = blamed(frame)
            if what in window.columns or len(window.columns) < _COLUMNS:
                window.columns[what] = window.columns.get(what, 0) + requests
    kept.windows = {one: kept.windows[one] for one in sorted(kept.windows)[-_KEPT:]}
    states.put(ws, name, msgspec.to_builtins(kept, str_keys=True))


def look(ws: Workspace, config: Config, endpoint: str, moment: int, alpha: float) -> Finding | None:
    """A broken input where far more requests are refused than before."""
    found = spell(ws, config, _name(endpoint), moment, alpha, _MARGIN)
    return None if found is None else _finding(found)


def spell(
    ws: Workspace, config: Config, name: str, moment: int, alpha: float, margin: float
) -> Spell | None:
    """The newest windows, where more requests by `margin` are turned away than before.

    The newest window counts while it is open too, once it has refused half of what a window is
    usually asked: what refuses everything is not left waiting for midnight. A log that is `sample`d
    holds every refusal and not every answer, so nothing is said of it.
    """
    if config.serve.sample:
        return None
    span, late = duration(config.monitor.window), duration(config.monitor.lateness)
    known = sorted(_kept(ws, name).windows.items())
    least = config.monitor.min_rows
    if known and known[-1][0] + span + late > moment:
        usual = median([one.asked for _, one in known[:-1]]) if known[1:] else 0
        if known[-1][1].refused < max(_LEAST, usual / 2):
            known = known[:-1]
    while known and known[-1][1].asked < _LEAST:  # too few to say that it is over
        known = known[:-1]
    first = len(known)
    while first and _refuses(known[first - 1][1], known[: first - 1], least, alpha, margin):
        first -= 1
    return Spell(known[first:], known[:first]) if first < len(known) else None


def _refuses(
    now: Window, before: Sequence[tuple[int, Window]], least: int, alpha: float, margin: float
) -> bool:
    hits, total = _sum(before, "refused"), _sum(before, "asked")
    if total < least:  # nothing is known to be usual yet
        low = rates.wilson(now.refused, now.asked, 1 - 2 * min(alpha, 0.01))[0]
        return now.asked >= least and low > margin
    if now.refused < _LEAST:
        return False
    grown = rates.difference(now.refused, now.asked, hits, total).lo > margin
    return grown and rates.two_sided(now.refused, now.asked, hits, total) <= alpha


def _finding(found: Spell) -> Finding:
    refused, asked, was = found.said()
    ranked, since = found.blamed(), found.now[0][0]
    features = tuple(_feature(name, count, asked) for name, count in ranked)
    named = ", ".join(f"{name} in {count:,}" for name, count in ranked[:_LISTED] if name != _ANY)
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


def _blamed(frame: Frame) -> str:
    return frame.error.partition(" in ")[2] or _ANY


def _sum(windows: Sequence[tuple[int, Window]], name: str) -> int:
    return sum(getattr(one, name) for _, one in windows)


def _kept(ws: Workspace, name: str) -> _Kept:
    body: dict[str, Any] = states.get(ws, name) or {}
    return msgspec.convert(body, _Kept, strict=False)


def _name(endpoint: str) -> str:
    return f"refused:{endpoint}"
