"""A heat map as SVG: features x windows, the effect as a colour, an alarm as an outline.

The colour shows the effect that is sure, the lower end of its interval: chance alone stays pale. Its
scale has seven steps of growing darkness, so that it reads without telling hues apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from trimtab.monitor.findings import OUTPUTS, called
from trimtab.server import words
from trimtab.store.records import Window

CELL: Final = 22
GAP: Final = 2
LABEL: Final = 172
HEAD: Final = 22
MOST_FEATURES: Final = 60
STEPS: Final = (0.04, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Shares of a full effect at which the next colour begins."""
FULL: Final = {"sd": 0.5, "share": 0.25, "correlation": 0.3}
_DATES: Final = 86_400_000_000


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in one window; `step` is 0 to 6, "none" where it was not measured."""

    x: int
    step: str
    alarm: bool
    chosen: bool
    label: str
    link: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A feature's cells; `output` is what the model said and not what it was asked."""

    name: str
    shown: str
    y: int
    output: bool
    cells: list[Cell]


class Tick(msgspec.Struct, frozen=True):
    """A moment over the columns."""

    x: int
    text: str


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """A whole map; `left_out` counts features beyond the first sixty."""

    width: int
    height: int
    rows: list[Row]
    ticks: list[Tick]
    left_out: int


def draw(
    name: str, windows: Sequence[Window], window: int | None = None, feature: str = ""
) -> Heat:
    """The map of a watched thing's windows, oldest left: outputs first, then what moved most."""
    measures = [_measures(one) for one in windows]
    alarms, over = ([_named(one, lasts=lasts) for one in windows] for lasts in (True, False))
    names = dict.fromkeys([one for column in measures for one in column])
    names |= dict.fromkeys([one for column in (*alarms, *over) for one in column])
    order = sorted(names, key=lambda one: (one not in OUTPUTS, *_rank(one, measures, alarms), one))
    rows = []
    for at, one in enumerate(order[:MOST_FEATURES]):
        cells = [
            _cell(name, place, windows[place], one, measures[place].get(one), alarms[place].get(one),
                  over=over[place].get(one),
                  chosen=windows[place].start == window and one == feature)
            for place in range(len(windows))
        ]  # fmt: skip
        rows.append(
            Row(
                name=one,
                shown=called(one),
                y=HEAD + at * (CELL + GAP),
                output=one in OUTPUTS,
                cells=cells,
            )
        )
    return Heat(
        width=LABEL + len(windows) * (CELL + GAP) + 8,
        height=HEAD + len(rows) * (CELL + GAP) + 4,
        rows=rows,
        ticks=_ticks(windows),
        left_out=max(0, len(order) - MOST_FEATURES),
    )


def short(model: str) -> str:
    """A model's digest by the part that an address needs."""
    return words.short(model)


def step(measure: Mapping[str, Any]) -> int:
    """How dark a measure is: 0 to 6."""
    sure = max(float(measure.get("lo") or 0.0), -float(measure.get("hi") or 0.0), 0.0)
    share = sure / FULL.get(str(measure.get("unit")), 0.25)
    return sum(share >= bound for bound in STEPS)


def _cell(
    name: str,
    place: int,
    window: Window,
    feature: str,
    measure: Mapping[str, Any] | None,
    finding: str | None,
    *,
    over: str | None,
    chosen: bool,
) -> Cell:
    said = f"{called(feature)}, {words.moment(window.start)}"
    if not window.start:
        said = called(feature)
    if measure is None:
        said += f": {window.features.get('reason') or 'not measured'}"
    else:
        effect = words.number(float(measure.get("effect") or 0.0))
        ends = words.interval(measure.get("lo"), measure.get("hi"))
        said += (
            f": effect {effect} {measure.get('unit')} {ends}, p {float(measure.get('p') or 0):.2g}"
        )
    if finding:
        said += f"; {finding}"
    elif over:
        said += f"; {over} that is over"
    chosen_by = {"name": name, "model": short(window.model), "window": window.start}
    asked = urlencode({**chosen_by, "feature": feature})
    return Cell(
        x=LABEL + place * (CELL + GAP),
        step="none" if measure is None else str(step(measure)),
        alarm=finding is not None,
        chosen=chosen,
        label=said,
        link=f"/monitor?{asked}#detail",
    )


def _measures(window: Window) -> dict[str, Mapping[str, Any]]:
    return {str(one["feature"]): one for one in window.features.get("measures", [])}


def _named(window: Window, *, lasts: bool) -> dict[str, str]:
    """The features of a window's findings that it shows still, or that are over there, with the name of
    what was found.
    """
    found: dict[str, str] = {}
    for finding in window.findings:
        if (finding.get("detail", {}).get("lasts", 1.0) > 0) is not lasts:
            continue
        for one in finding.get("features", []):
            found.setdefault(str(one["feature"]), str(finding["kind"]))
    return found


def _rank(
    name: str,
    measures: Sequence[Mapping[str, Mapping[str, Any]]],
    alarms: Sequence[Mapping[str, str]],
) -> tuple[int, int]:
    """What alarmed comes first, then what moved most at any time."""
    alarmed = sum(name in column for column in alarms)
    most = max((step(column[name]) for column in measures if name in column), default=0)
    return -min(alarmed, 1), -most


def _ticks(windows: Sequence[Window]) -> list[Tick]:
    """A date over about every fifth column, the last one always among them."""
    if not windows or not windows[-1].start:
        return []
    every = 3 if windows[-1].end - windows[-1].start >= _DATES else 4
    found = []
    for place in range(len(windows) - 1, -1, -every):
        text = words.moment(windows[place].start)
        short = text[5:10] if every == 3 else text[5:16]
        found.append(Tick(LABEL + place * (CELL + GAP) + CELL // 2, short))
    return found[::-1]
