"""Several labelled windows held against the requirements as one table: for what one is too small.

After the newest window alone come the last 2, 4, 8, 16 and 32, so that a small violation that lasts
fails before months have passed. Half of a requirement's error level is spent on windows alone, the
other half in equal parts on the sizes of pools, and each part over that size's looks without end:
with any number of looks all of them hold together at the level. A size is looked at again when half
of its windows are new. Windows in which an input was broken belong to no pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import accumulate, chain
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, Requirement
from trimtab.evaluate.scored import Scored
from trimtab.monitor.drift import episodes
from trimtab.monitor.findings import DEFECTS, Finding
from trimtab.monitor.log import traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import completion, joined, proof
from trimtab.monitor.outcomes.joined import Joined
from trimtab.monitor.outcomes.proof import Look, Proof
from trimtab.monitor.watched import Watched
from trimtab.store import evidence, states, verdicts
from trimtab.store.records import Verdict, Window
from trimtab.store.workspace import Workspace

SIZES: Final = (2, 4, 8, 16, 32)
ALONE: Final = 0.5
"""The share of the error level that windows alone have."""
_SHARE: Final = (1 - ALONE) / len(SIZES)
MOST_ROWS: Final = 20_000
"""Larger pools are left out: they would cost much and tell little that smaller ones do not."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The last look at the newest `windows` windows; `newest` is the beginning of the last of them.

    `asked` are the requirements' digests, `failed` verdicts that fail, and `since` when that seems
    to have begun.
    """

    windows: int
    looks: int
    newest: int
    asked: list[str]
    failed: list[dict[str, Any]] = []
    since: int = 0


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    index: Catalogue,
    judged: Sequence[tuple[Window, int]],
    over: int = 0,
) -> Pool | None:
    """Judge the pools that are due; of those that fail at their last look the smallest.

    `judged` are the labelled windows of the model with their numbers of labelled rows, oldest first.
    What began to fail before `over` is a trouble that is gone.
    """
    name = f"pools:{endpoint}:{model.version.digest}"
    kept = msgspec.convert(states.get(ws, name) or {}, dict[str, Pool])
    sound = [(one, rows) for one, rows in judged if not _is_broken(one)]
    asked = sorted(one.digest for one in proof.wanted(config))
    most = _affordable(sound)
    part = cache(partial(joined.window, index, model.version.digest, model.signature))
    read = cache(lambda size: _read(config, model, most[-size:], part))
    for size in (one for one in SIZES if asked and one <= len(most)):
        last, before = most[-size:], kept.get(str(size))
        fresh = sum(one.start > before.newest for one in last) if before else size
        if before is not None and before.asked == asked and fresh < max(size // 2, 1):
            continue
        looks = before.looks + 1 if before else 1
        proved = _prove(config, endpoint, model, read(size), looks)
        failed, since = _lasting(config, proved, size, partial(read, len(most)))
        kept[str(size)] = Pool(windows=size, looks=looks, newest=last[-1].start, asked=asked,
                               failed=failed, since=since)  # fmt: skip
        with ws.transaction():
            evidence.append(ws, proved.evidence)
            verdicts.append(ws, proved.verdicts)
            states.put(ws, name, msgspec.to_builtins(kept))
    failing = [kept[str(size)] for size in SIZES if str(size) in kept]
    gone = max((one.start for one, _ in judged if one.end <= over), default=-1)
    stand = [one for one in failing if one.failed and one.asked == asked and one.since > gone]
    return next((one for one in stand if not _is_over(config, one, most, read)), None)


def span(first: Window, last: Window) -> str:
    """The time from the beginning of one window to the end of another."""
    return f"{ids.iso(first.start)}/{ids.iso(last.end)}"


def as_window(pool: Pool, newest: Window) -> Window:
    """The time since a pool's failing seems to have begun, as a window."""
    return msgspec.structs.replace(newest, start=pool.since)


def _affordable(sound: Sequence[tuple[Window, int]]) -> list[Window]:
    """The newest windows that the largest pool may hold, oldest first; the newest one at least, which
    can say that what failed is over.
    """
    total = [*accumulate(rows for _, rows in reversed(sound[-SIZES[-1] :]))]
    count = max(sum(one <= MOST_ROWS for one in total), min(len(total), 1))
    return [one for one, _ in sound[len(sound) - count :]]


def _is_broken(window: Window) -> bool:
    """Whether an input was broken in a window, as it itself showed."""
    found = msgspec.convert(window.findings, list[Finding])
    return any(one.kind in DEFECTS and episodes.lasts(one) for one in found)


class _Rows(NamedTuple):
    """Labelled rows of windows as one table, in order; window i begins at row `starts[i]`."""

    windows: list[Window]
    table: Scored
    starts: list[int]


def _read(
    config: Config, model: Watched, windows: list[Window], part: Callable[[int], Joined]
) -> _Rows:
    parts = [part(one.start) for one in windows]
    rows = traffic.together([one.rows for one in parts])
    labels = list(chain.from_iterable(one.labels for one in parts))
    starts = [0, *accumulate(one.rows.rows for one in parts)][:-1]
    weight = np.concatenate(
        [
            completion.standing(model, window, one.rows.score)
            for window, one in zip(windows, parts, strict=True)
        ]
    )
    return _Rows(windows, proof.table(config, model.signature, rows, labels, weight), starts)


def _prove(config: Config, endpoint: str, model: Watched, rows: _Rows, number: int) -> Proof:
    when, count = span(rows.windows[0], rows.windows[-1]), len(rows.windows)
    first, last = when.split("/")
    return proof.prove(
        config,
        rows.table,
        Look(number, _SHARE),
        subject=f"endpoint:{endpoint}",
        window=when,
        details={"model": model.version.digest, "window": when, "windows": count},
        said=f"; in the last {count} labelled windows together, {first} to {last}",
        shown=False,
    )


def _is_over(
    config: Config, pool: Pool, windows: Sequence[Window], read: Callable[[int], _Rows]
) -> bool:
    """Whether the windows since a pool's last look satisfy what failed in it."""
    fresh = sum(one.start > pool.newest for one in windows)
    if not fresh:
        return False
    failed = {str(one["requirement"]) for one in pool.failed}
    wanted = [one for one in proof.wanted(config) if one.digest in failed]
    found = [(one, _value(config, one, read(fresh), 0)) for one in wanted]
    return all(value is not None and _beyond(one, value) <= 0 for one, value in found)


def _lasting(
    config: Config, proved: Proof, size: int, read: Callable[[], _Rows]
) -> tuple[list[dict[str, Any]], int]:
    """The verdicts that fail and still do in the newer half of the pool, and since when they fail.

    What is over alarms nobody.
    """
    failed, begun = [], []
    for requirement in proof.wanted(config):
        for one in proved.verdicts:
            if one.requirement != requirement.digest or one.status != "fail":
                continue
            rows = read()
            newer = _value(config, requirement, rows, len(rows.windows) - size // 2)
            if newer is None or _beyond(requirement, newer) > 0:
                failed.append(msgspec.to_builtins(one))
                begun.append(_began(config, requirement, rows))
    return failed, min(begun, default=0)


def _began(config: Config, requirement: Requirement, rows: _Rows) -> int:
    """The beginning of the window from which on a requirement is violated most surely."""
    surest, begun = 0.0, rows.windows[-1].start
    for place, window in enumerate(rows.windows):
        found = _value(config, requirement, rows, place)
        if found is not None and (sure := _beyond(requirement, found)) > surest:
            surest, begun = sure, window.start
    return begun


def _value(config: Config, requirement: Requirement, rows: _Rows, place: int) -> Verdict | None:
    """A requirement in the windows from a place on; None where it has no value there."""
    rest = rows.table.take(np.arange(rows.starts[place], rows.table.rows))
    alone = msgspec.structs.replace(config, require=(requirement,))
    look = Look(1, 1.0)
    proved = proof.prove(alone, rest, look, subject="", window="", details={}, shown=False)
    found = proved.verdicts[0] if proved.verdicts else None
    return None if found is None or found.value is None else found


def _beyond(requirement: Requirement, found: Verdict) -> float:
    """How far a value violates the bounds, in widths of its interval; negative where it does not."""
    if found.value is None or found.lo is None or found.hi is None:
        return 0.0
    lowest, highest = requirement.bounds
    width = max(found.hi - found.lo, 1e-12)
    return max(lowest - found.value, found.value - highest) / width
