"""Requests that are turned away, counted window by window with what was to blame; when they are more.

What counts as turned away is the caller's to say: `refusals` count what an endpoint refused, `failures`
what its champion failed on. A window is judged by all windows before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.config import Config, duration
from trimtab.monitor.log.traffic import ANSWERED
from trimtab.monitor.statistics import rates
from trimtab.serve.logged.frame import Frame
from trimtab.store import states
from trimtab.store.workspace import Workspace

_KEPT: Final = 57
_LEAST: Final = 5
"""Requests turned away, of any number of rows each, that are worth a test."""
_BLAMED: Final = 20


class Window(msgspec.Struct, kw_only=True):
    """The requests of one window: how many, how many were turned away, and those by what was to blame.

    `by` says the same of each version that was asked. The state of either kind has the others as
    `refused` and `columns`.
    """

    asked: int = 0
    turned: int = msgspec.field(default=0, name="refused")
    blamed: dict[str, int] = msgspec.field(default_factory=dict, name="columns")
    by: dict[str, Window] = {}


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
        blamed = {} if frame.status == ANSWERED else {blame(frame): requests}
        for one in (window, window.by.setdefault(frame.label, Window())):
            _add(one, requests, requests if blamed else 0, blamed)
    kept.windows = {one: kept.windows[one] for one in sorted(kept.windows)[-_KEPT:]}
    states.put(ws, name, msgspec.to_builtins(kept, str_keys=True))


def spell(
    ws: Workspace,
    config: Config,
    name: str,
    moment: int,
    alpha: float,
    margin: float,
    serving: Collection[str] = (),
) -> Spell | None:
    """The newest windows, where more requests by `margin` are turned away than before.

    What a version turned away that answers no longer says nothing of those `serving` now.
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
        if _part(known[-1][1], serving).turned < max(_LEAST, usual / 2):
            known = known[:-1]
    while known and _part(known[-1][1], serving).asked < _LEAST:  # too few to say that it is over
        if known[-1][1].asked >= _LEAST:  # others answered since
            return None
        known = known[:-1]
    first, before = len(known), known
    while first:
        calm = _calm(known[: first - 1], serving, least, alpha, margin)
        if not _is_more(_part(known[first - 1][1], serving), calm, least, alpha, margin):
            break
        first, before = first - 1, calm
    now = [(start, _part(one, serving)) for start, one in known[first:]]
    return Spell(now, before) if now else None


def asked(ws: Workspace, name: str) -> set[int]:
    """The windows in which anything was asked."""
    return {start for start, one in _kept(ws, name).windows.items() if one.asked}


def sides(
    ws: Workspace, name: str, label: str, since: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many requests a version turned away, of how many, since a moment; and all before it."""
    known = sorted(_kept(ws, name).windows.items())
    mine = [(start, one.by[label]) for start, one in known if start >= since and label in one.by]
    return _sums(mine), _sums([one for one in known if one[0] < since])


def _part(window: Window, serving: Collection[str]) -> Window:
    """What versions that serve were asked, and what was of no version; all where that is not known."""
    if not serving or not window.by:
        return window
    found = Window()
    for label, one in window.by.items():
        if not label or label in serving:
            _add(found, one.asked, one.turned, one.blamed)
    return found


def _calm(
    before: list[tuple[int, Window]],
    serving: Collection[str],
    least: int,
    alpha: float,
    margin: float,
) -> list[tuple[int, Window]]:
    """The windows up to a trouble of versions that answer no longer: it is not what is usual."""
    end = len(before)
    while end and serving and not set(before[end - 1][1].by) <= {"", *serving}:
        if not _is_more(before[end - 1][1], before[: end - 1], least, alpha, margin):
            break
        end -= 1
    return before[:end]


def _add(window: Window, asked: int, turned: int, blamed: Mapping[str, int]) -> None:
    window.asked += asked
    window.turned += turned
    for what, count in blamed.items():
        if what in window.blamed or len(window.blamed) < _BLAMED:
            window.blamed[what] = window.blamed.get(what, 0) + count


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
