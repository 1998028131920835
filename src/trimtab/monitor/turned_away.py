"""Requests that are turned away, counted window by window with what was to blame; when they are more.

What counts as turned away is the caller's to say: `refusals` count what an endpoint refused, `failures`
what its champion failed on. A window is judged by all windows before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.config import Config, duration
from trimtab.monitor import rates
from trimtab.monitor.traffic import ANSWERED
from trimtab.serve.frame import Frame
from trimtab.store import states
from trimtab.store.workspace import Workspace

_KEPT: Final = 57
_LEAST: Final = 5
"""Requests turned away, of any number of rows each, that are worth a test."""
_BLAMED: Final = 20


class Window(msgspec.Struct, kw_only=True):
    """The requests of one window: how many, how many were turned away, and those by what was to blame.

    The state of either kind has them as `refused` and `columns`.
    """

    asked: int = 0
    turned: int = msgspec.field(default=0, name="refused")
    blamed: dict[str, int] = msgspec.field(default_factory=dict, name="columns")


class _Kept(msgspec.Struct, kw_only=True):
    newest: int = 0
    windows: dict[int, Window] = {}


class Spell(NamedTuple):
    """The windows in which far more requests were turned away than in those `before`."""

    now: list[tuple[int, Window]]
    before: list[tuple[int, Window]]

    def since(self) -> int:
        """When the first of its windows began."""
        return self.now[0][0]

    def said(self) -> tuple[int, int, str]:
        """How many were turned away of how many, and a half-sentence on before."""
        turned, asked = _sums(self.before)
        was = f"; {turned:,} of {asked:,} were before" if asked else ""
        return *_sums(self.now), was

    def blamed(self) -> list[tuple[str, int]]:
        """What was to blame for how many, the most first."""
        found: dict[str, int] = {}
        for _, one in self.now:
            for name, count in one.blamed.items():
                found[name] = found.get(name, 0) + count
        return sorted(found.items(), key=lambda one: (-one[1], one[0]))


def count(
    ws: Workspace,
    config: Config,
    name: str,
    frames: Iterable[Frame],
    blame: Callable[[Frame], str],
) -> None:
    """Count requests under the name of a state, and what was to `blame` where one was turned away.

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
            window.turned += requests
            what = blame(frame)
            if what in window.blamed or len(window.blamed) < _BLAMED:
                window.blamed[what] = window.blamed.get(what, 0) + requests
    kept.windows = {one: kept.windows[one] for one in sorted(kept.windows)[-_KEPT:]}
    states.put(ws, name, msgspec.to_builtins(kept, str_keys=True))


def spell(
    ws: Workspace, config: Config, name: str, moment: int, alpha: float, margin: float
) -> Spell | None:
    """The newest windows, where more requests by `margin` are turned away than before.

    The newest window counts while it is open too, once it has turned away half of what a window is
    usually asked: what turns everything away is not left waiting for midnight. A log that is
    `sample`d holds every such request and not every answer, so nothing is said of it.
    """
    if config.serve.sample:
        return None
    span, late = duration(config.monitor.window), duration(config.monitor.lateness)
    known = sorted(_kept(ws, name).windows.items())
    least = config.monitor.min_rows
    if known and known[-1][0] + span + late > moment:
        usual = median([one.asked for _, one in known[:-1]]) if known[1:] else 0
        if known[-1][1].turned < max(_LEAST, usual / 2):
            known = known[:-1]
    while known and known[-1][1].asked < _LEAST:  # too few to say that it is over
        known = known[:-1]
    first = len(known)
    while first and _is_more(known[first - 1][1], known[: first - 1], least, alpha, margin):
        first -= 1
    return Spell(known[first:], known[:first]) if first < len(known) else None


def _is_more(
    now: Window, before: Sequence[tuple[int, Window]], least: int, alpha: float, margin: float
) -> bool:
    turned, asked = _sums(before)
    if asked < least:  # nothing is known to be usual yet
        low = rates.wilson(now.turned, now.asked, 1 - 2 * min(alpha, 0.01))[0]
        return now.asked >= least and low > margin
    if now.turned < _LEAST:
        return False
    grown = rates.difference(now.turned, now.asked, turned, asked).lo > margin
    return grown and rates.two_sided(now.turned, now.asked, turned, asked) <= alpha


def _sums(windows: Sequence[tuple[int, Window]]) -> tuple[int, int]:
    """How many were turned away in all, of how many."""
    return sum(one.turned for _, one in windows), sum(one.asked for _, one in windows)


def _kept(ws: Workspace, name: str) -> _Kept:
    body: dict[str, Any] = states.get(ws, name) or {}
    return msgspec.convert(body, _Kept, strict=False)
